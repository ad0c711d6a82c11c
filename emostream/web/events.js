/** The dialog of the events: which are open, and how busy each one is. Its links open the page of an event. */

import { LiveDialog } from "./dialog.js";

// The registry asks every subscriber for these figures.
const POLL_EVERY_MS = 5_000;
const MAX_NAME_CHARACTERS = 64;

/**
 * What the `#` of the page's address names: `#final` an event, and `#final/topology` what is behind its scenes.
 * `#topology` is that of `main`. Without a `#`, the viewer has not chosen an event.
 * @returns {{event: string, isChosen: boolean, showsScenes: boolean}}
 */
export function addressed(hash) {
  const [event, view] = hash === "#topology" ? ["main", "topology"] : hash.slice(1).split("/");
  return {
    event: event.slice(0, MAX_NAME_CHARACTERS) || "main",
    isChosen: event !== "",
    showsScenes: view === "topology",
  };
}

/** The `#` of an event. */
export const hashOf = (event) => (event === "topology" ? "#topology/" : `#${event}`);

export class Chooser {
  #live;
  #list;
  #note;
  #event;
  #format;
  #phrase;
  #rows = new Map();

  /**
   * @param {HTMLDialogElement} dialog
   * @param {() => Promise<import("./emostream.js").OpenEvent[]>} ask   GET /v1/events
   * @param {string} event                                              that this page shows
   * @param {string} lang
   * @param {(viewers: string, isOne: boolean, perSecond: string) => string} phrase   how busy an event is
   */
  constructor(dialog, ask, event, lang, phrase) {
    this.#format = new Intl.NumberFormat(lang, { maximumFractionDigits: 1 });
    this.#phrase = phrase;
    this.#list = dialog.querySelector("ul");
    this.#note = dialog.querySelector("#events-note");
    this.#event = event;
    this.#live = new LiveDialog(dialog, POLL_EVERY_MS, ask, (events) => this.#show(events));
    this.#list.addEventListener("click", (click) => {
      if (!click.target.closest("[aria-current]")) return;
      click.preventDefault();
      this.close();
    });
  }

  /** @param {string} note   why the viewer must choose, if there is a reason */
  open(note = "") {
    this.#note.textContent = note;
    this.#live.open();
  }

  close() {
    this.#live.close();
  }

  #show(events) {
    const gone = new Set(this.#rows.keys());
    for (const { event } of events) gone.delete(event);
    for (const event of gone) {
      this.#rows.get(event).item.remove();
      this.#rows.delete(event);
    }
    for (const [index, each] of events.entries()) {
      const row = this.#rows.get(each.event) ?? this.#newRow(each.event);
      // A row that is in its place already is not moved, because it would lose the focus.
      const there = this.#list.children[index] ?? null;
      if (there !== row.item) this.#list.insertBefore(row.item, there);
      row.title.textContent = each.title;
      row.figures.textContent = this.#figuresOf(each);
    }
  }

  #figuresOf({ viewers, reactions_per_second }) {
    return this.#phrase(this.#format.format(viewers), viewers === 1, this.#format.format(reactions_per_second));
  }

  #newRow(event) {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = hashOf(event);
    if (event === this.#event) link.setAttribute("aria-current", "page");
    const title = document.createElement("b");
    const figures = document.createElement("span");
    link.append(title, " ", figures);
    item.append(link);
    const row = { item, title, figures };
    this.#rows.set(event, row);
    return row;
  }
}
