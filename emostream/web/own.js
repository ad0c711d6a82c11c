/** The viewer's own reactions: which swarm counted each of them, and how long that took. */

// At most this many wait to be counted. Past that, the oldest is counted as well, but the page does not say so.
const MAX_WAITING = 256;
// After this time, the page does not look for a reaction any more.
const MAX_WAIT_MS = 60_000;
const MAX_ARRIVALS = 128;

/**
 * @typedef {import("./emostream.js").KafkaRecord} KafkaRecord
 * @typedef {{emoji: string, tappedAt: number, after: number, record: KafkaRecord}} Tap
 *   `after` is the last swarm that the page had at the tap; times are in ms, by one clock of the caller
 */

export class OwnReactions {
  #countedBy;
  #waiting = [];
  #arrivals = new Map();

  /** @param {(sequence: number) => Promise<?Object<string, number>>} countedBy   that of the stream */
  constructor(countedBy) {
    this.#countedBy = countedBy;
  }

  /** Note an accepted reaction. @param {Tap} tap */
  accepted(tap) {
    this.#waiting = [...this.#waiting, tap].slice(-MAX_WAITING);
  }

  /** Note the arrival of a swarm. */
  arrived(swarm, at) {
    this.#arrivals.set(swarm.sequence, { swarm, at });
    if (this.#arrivals.size > MAX_ARRIVALS) this.#arrivals.delete(this.#arrivals.keys().next().value);
  }

  /** The time at which this swarm arrived. Undefined if it has not arrived, or if too many arrived after it. */
  arrivalOf(sequence) {
    return this.#arrivals.get(sequence)?.at;
  }

  /** Forget all: what comes now has other numbers. @returns {Tap[]} the reactions that nobody looks for any more */
  forget() {
    const forgotten = this.#waiting;
    this.#waiting = [];
    this.#arrivals.clear();
    return forgotten;
  }

  /**
   * Return and remove the reactions that a swarm has counted by now. It asks once for each swarm, and only while a
   * reaction waits.
   * @returns {Promise<{tap: Tap, swarm: import("./emostream.js").Swarm, latencyMs: number}[]>}
   */
  async settle(head, now) {
    const open = this.#waiting.filter(({ tappedAt }) => now - tappedAt < MAX_WAIT_MS);
    this.#waiting = [];
    const settled = [];
    for (const tap of open) {
      const sequence = await this.#swarmOf(tap, head);
      const arrival = this.#arrivals.get(sequence);
      if (arrival) settled.push({ tap, swarm: arrival.swarm, latencyMs: arrival.at - tap.tappedAt });
      else if (sequence === null) this.accepted(tap);
    }
    return settled;
  }

  /** No swarm that the page had at the tap can count it. So it is the first one after them that has its offset. */
  async #swarmOf(tap, head) {
    const { partition, offset } = tap.record;
    while (tap.after < head) {
      const counted = await this.#countedBy(tap.after + 1);
      if (counted === null) return null;
      if (offset < (counted[partition] ?? 0)) return tap.after + 1;
      tap.after += 1;
    }
    return null;
  }
}
