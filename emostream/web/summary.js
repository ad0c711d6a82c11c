/** Announcements for screen readers: changes of the connection, and a regular summary of the reactions. */

const format = new Intl.NumberFormat("en");
// An announcement for each swarm would be too much.
const SUMMARY_EVERY_MS = 30_000;

export class Summary {
  #element;
  #counts = {};
  #lastAt = 0;

  constructor(element, now) {
    this.#element = element;
    this.#lastAt = now;
  }

  /** Announce a text at once. */
  say(text) {
    this.#element.textContent = text;
  }

  /** Add the counts of a swarm to the next summary, and announce the summary if it is due. */
  add(counts, now) {
    for (const [emoji, count] of Object.entries(counts)) this.#counts[emoji] = (this.#counts[emoji] ?? 0) + count;
    if (now - this.#lastAt < SUMMARY_EVERY_MS) return;
    this.say(summarise(this.#counts, Math.round((now - this.#lastAt) / 1000)));
    this.#counts = {};
    this.#lastAt = now;
  }
}

/** One sentence about the reactions of the last seconds. */
export function summarise(counts, seconds) {
  const entries = Object.entries(counts).sort(([, a], [, b]) => b - a);
  const total = entries.reduce((sum, [, count]) => sum + count, 0);
  const most = entries.slice(0, 3).map(([emoji]) => emoji);
  return `${format.format(total)} reactions in the last ${seconds} seconds, most of them ${most.join(", ")}.`;
}
