/** Shows the totals: the sum as a running number, and the emoji as a bar chart. */

// The most rows of the chart. A palette of `any` may have hundreds of emoji.
const MAX_ROWS = 40;

/** A number that counts up to its next value over some time, as if the reactions came one by one. */
export class RunningNumber {
  #element;
  #from = 0;
  #to = 0;
  #shown = null;
  #startedAt = 0;
  #durationMs = 0;
  #frameRequest = 0;

  #format;

  /** @param {Intl.NumberFormat} format */
  constructor(element, format) {
    this.#element = element;
    this.#format = format;
  }

  /** Count to `value`. @param {number} durationMs 0 shows the value at once */
  runTo(value, durationMs) {
    this.#from = this.#shown ?? value;
    this.#to = value;
    this.#startedAt = performance.now();
    this.#durationMs = durationMs;
    this.#frameRequest ||= requestAnimationFrame((now) => this.#frame(now));
  }

  #frame(now) {
    this.#frameRequest = 0;
    const share = this.#durationMs ? Math.min(1, Math.max(0, (now - this.#startedAt) / this.#durationMs)) : 1;
    const value = Math.round(this.#from + (this.#to - this.#from) * share);
    if (value !== this.#shown) this.#element.textContent = this.#format.format(value);
    this.#shown = value;
    if (share < 1) this.#frameRequest = requestAnimationFrame((next) => this.#frame(next));
  }
}

/** The emoji and their totals, the largest first. @returns {[string, number][]} */
export function ranked(totals) {
  return Object.entries(totals)
    .filter(([, count]) => count > 0)
    .sort(([first, a], [second, b]) => b - a || (first < second ? -1 : 1));
}

/** A bar chart of the totals. Rows change places when their ranks change. */
export class BarRace {
  #list;
  #format;
  #rows = new Map();

  /** @param {Intl.NumberFormat} format */
  constructor(list, format) {
    this.#list = list;
    this.#format = format;
  }

  /** @param {Object<string, number>} totals the total of every emoji */
  show(totals) {
    const ranking = ranked(totals).slice(0, MAX_ROWS);
    const most = ranking[0]?.[1] ?? 1;
    const leftOver = new Set(this.#rows.keys());
    for (const [rank, [emoji, count]] of ranking.entries()) {
      leftOver.delete(emoji);
      const row = this.#rows.get(emoji) ?? this.#newRow(emoji);
      row.item.style.setProperty("--rank", rank);
      row.bar.style.setProperty("--share", count / most);
      row.count.textContent = this.#format.format(count);
      row.item.dataset.count = count;
    }
    for (const emoji of leftOver) {
      this.#rows.get(emoji).item.remove();
      this.#rows.delete(emoji);
    }
    this.#list.style.setProperty("--rows", ranking.length);
  }

  #newRow(emoji) {
    const item = document.createElement("li");
    item.dataset.emoji = emoji;
    const name = document.createElement("span");
    name.className = "emoji";
    name.textContent = emoji;
    const bar = document.createElement("span");
    bar.className = "bar";
    const count = document.createElement("span");
    count.className = "count";
    item.append(name, bar, count);
    this.#list.append(item);
    const row = { item, bar, count };
    this.#rows.set(emoji, row);
    return row;
  }
}
