/** Measures the time from a tap until the swarm that counted it arrives at this page. */

// Each tap costs requests to the subscriber, and the page shows only one time. A newer tap replaces the oldest one.
const MAX_TAPS = 4;
// After this time, a tap that no swarm has counted is dropped.
const MAX_WAIT_MS = 60_000;
const MAX_ARRIVALS = 128;

/** Matches the user's own reactions with the swarms that counted them. Times are in ms, by one clock of the caller. */
export class EndToEndLatency {
  #taps = [];
  #arrivals = new Map();

  /** Note an accepted tap. @param {{record: object, emoji: string, tappedAt: number}} tap */
  accepted(tap) {
    this.#taps = [...this.#taps, tap].slice(-MAX_TAPS);
  }

  /** Note the arrival of a swarm. */
  arrived(sequence, at) {
    this.#arrivals.set(sequence, at);
    if (this.#arrivals.size > MAX_ARRIVALS) this.#arrivals.delete(this.#arrivals.keys().next().value);
  }

  /** The time at which this swarm arrived. Undefined if it has not arrived, or if too many arrived after it. */
  arrivalOf(sequence) {
    return this.#arrivals.get(sequence);
  }

  /**
   * Return and remove the taps that a swarm has counted by now.
   * @param {(record: object) => Promise<?{sequence: number}>} trace
   * @param {number} now
   * @returns {Promise<{emoji: string, latencyMs: number}[]>}
   */
  async settle(trace, now) {
    const seen = [];
    const open = this.#taps.filter(({ tappedAt }) => now - tappedAt < MAX_WAIT_MS);
    this.#taps = [];
    for (const tap of open) {
      const arrivedAt = this.arrivalOf((await trace(tap.record))?.sequence);
      if (arrivedAt === undefined) this.accepted(tap);
      else seen.push({ emoji: tap.emoji, latencyMs: arrivedAt - tap.tappedAt });
    }
    return seen;
  }
}
