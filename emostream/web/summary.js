/** Announcements for screen readers: changes of the connection, and a regular summary of the reactions. */

// An announcement for each swarm would be too much.
const SUMMARY_EVERY_MS = 30_000;

export class Summary {
  #element;
  #counts = {};
  #lastAt = 0;
  #phrase;

  /** @param {(reactions: number, seconds: number, most: string) => string} phrase   one sentence about the last seconds */
  constructor(element, now, phrase) {
    this.#element = element;
    this.#lastAt = now;
    this.#phrase = phrase;
  }

  /** Announce a text at once, unless it was the last one. */
  say(text) {
    if (this.#element.textContent !== text) this.#element.textContent = text;
  }

  /** Add the counts of a swarm to the next summary, and announce the summary if it is due. */
  add(counts, now) {
    for (const [emoji, count] of Object.entries(counts)) this.#counts[emoji] = (this.#counts[emoji] ?? 0) + count;
    if (now - this.#lastAt < SUMMARY_EVERY_MS) return;
    const { reactions, most } = summarise(this.#counts);
    this.say(this.#phrase(reactions, Math.round((now - this.#lastAt) / 1000), most));
    this.#counts = {};
    this.#lastAt = now;
  }
}

/** How many reactions these are, and which emoji are the most frequent. */
export function summarise(counts) {
  const entries = Object.entries(counts).sort(([, a], [, b]) => b - a);
  const most = entries.slice(0, 3).map(([emoji]) => emoji);
  return { reactions: entries.reduce((sum, [, count]) => sum + count, 0), most: most.join(" ") };
}
