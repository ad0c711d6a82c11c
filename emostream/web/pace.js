/** The reactions a second of the last ten seconds. It falls while nobody reacts. Times are arguments. */

const OVER_MS = 10_000;

export class Pace {
  #swarms = [];
  #since = null;

  /** Note a swarm that arrived now. @param {number} windowMs   the time that it covers */
  add(reactions, windowMs, now) {
    this.#since ??= now - windowMs;
    this.#swarms = [...this.#swarms.filter(({ at }) => now - at < OVER_MS), { at: now, reactions }];
  }

  /** Begin anew: nothing is known of the time before. */
  clear() {
    this.#swarms = [];
    this.#since = null;
  }

  perSecond(now) {
    const recent = this.#swarms.filter(({ at }) => now - at < OVER_MS);
    const overMs = Math.min(OVER_MS, Math.max(now - (this.#since ?? now), 1_000));
    return (recent.reduce((sum, { reactions }) => sum + reactions, 0) * 1_000) / overMs;
  }
}
