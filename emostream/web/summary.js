/** What a screen reader is told, without being asked: changes of the connection, and now and then what the room does. */

const format = new Intl.NumberFormat("en");
// A live region that speaks with each swarm would be noise.
const SUMMARY_EVERY_MS = 30_000;

export class Summary {
  #element;
  #counts = {};
  #lastAt = 0;

  constructor(element, now) {
    this.#element = element;
    this.#lastAt = now;
  }

  /** Something that matters now. */
  say(text) {
    this.#element.textContent = text;
  }

  /** A swarm came in: it is part of the next summary. */
  add(counts, now) {
    for (const [emoji, count] of Object.entries(counts)) this.#counts[emoji] = (this.#counts[emoji] ?? 0) + count;
    if (now - this.#lastAt < SUMMARY_EVERY_MS) return;
    this.say(summarise(this.#counts, Math.round((now - this.#lastAt) / 1000)));
    this.#counts = {};
    this.#lastAt = now;
  }
}

/** One sentence about what came in. */
export function summarise(counts, seconds) {
  const entries = Object.entries(counts).sort(([, a], [, b]) => b - a);
  const total = entries.reduce((sum, [, count]) => sum + count, 0);
  const most = entries.slice(0, 3).map(([emoji]) => emoji);
  return `${format.format(total)} reactions in the last ${seconds} seconds, most of them ${most.join(", ")}.`;
}
