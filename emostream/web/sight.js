/** The time from a tap to its sight: when the swarm that counted it arrived here. */

// Each costs a question to the subscriber, and the page shows one time only: newer taps push out older ones.
const MAX_TAPS = 4;
// A tap that no swarm has counted by then is no longer asked for.
const MAX_WAIT_MS = 60_000;
const MAX_ARRIVALS = 128;

/** Matches own reactions with the swarms that counted them. Times are in ms on one clock of the caller's. */
export class SightTimes {
  #taps = [];
  #arrivals = new Map();

  /** A tap was accepted. @param {{record: object, emoji: string, tappedAt: number}} tap */
  accepted(tap) {
    this.#taps = [...this.#taps, tap].slice(-MAX_TAPS);
  }

  /** A swarm came in. */
  arrived(sequence, at) {
    this.#arrivals.set(sequence, at);
    if (this.#arrivals.size > MAX_ARRIVALS) this.#arrivals.delete(this.#arrivals.keys().next().value);
  }

  /** When this swarm came in; undefined where it has not, or too many have since. */
  arrivalOf(sequence) {
    return this.#arrivals.get(sequence);
  }

  /**
   * Settle the taps that a swarm has counted by now.
   * @param {(record: object) => Promise<?{sequence: number}>} trace
   * @param {number} now
   * @returns {Promise<{emoji: string, sightMs: number}[]>}
   */
  async settle(trace, now) {
    const seen = [];
    const open = this.#taps.filter(({ tappedAt }) => now - tappedAt < MAX_WAIT_MS);
    this.#taps = [];
    for (const tap of open) {
      const arrivedAt = this.arrivalOf((await trace(tap.record))?.sequence);
      if (arrivedAt === undefined) this.accepted(tap);
      else seen.push({ emoji: tap.emoji, sightMs: arrivedAt - tap.tappedAt });
    }
    return seen;
  }
}
