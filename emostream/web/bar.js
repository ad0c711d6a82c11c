/** The bar of emoji buttons: a toolbar with one tab stop, and a sheet for the emoji that have no place in it. */

const SHOWN = 6;
const MAX_RECENT = SHOWN;
// A finger that stays for so long sends a burst: one reaction after the other.
const HOLD_MS = 400;
const BURST_EVERY_MS = 110;
// How long a button shows what became of its last reaction, and how long it goes on to count a burst.
const OUTCOME_SHOWN_MS = 3_000;
const BURST_SHOWN_MS = 1_200;
const VIBRATION_MS = 12;

/** The emoji in the order in which they are offered: the recent ones first. */
export function ordered(palette, recent) {
  const known = recent.filter((emoji) => palette.includes(emoji)).slice(0, MAX_RECENT);
  return [...known, ...palette.filter((emoji) => !known.includes(emoji))];
}

/** Those of the palette that a text names, in the order of the text. U+FE0F makes no difference. */
export function chosen(palette, text) {
  const plain = (emoji) => emoji.replace(/\uFE0F/g, "");
  const spelled = new Map(palette.map((emoji) => [plain(emoji), emoji]));
  return [...new Set(text.split(/[\s,]+/).map((emoji) => spelled.get(plain(emoji))))].filter(Boolean);
}

/** The recent emoji after a viewer has taken this one from the sheet. */
export const withRecent = (recent, emoji) => [emoji, ...recent.filter((each) => each !== emoji)].slice(0, MAX_RECENT);

export class Bar {
  #toolbar;
  #sheet;
  #more;
  #texts;
  #actions;
  #buttons = new Map();

  /**
   * @param {{bar: HTMLElement, sheet: HTMLElement, more: HTMLElement}} parts
   * @param {import("./messages.js").Texts} texts
   * @param {AbortSignal} signal                ends what listens to the parts
   * @param {{send: (emoji: string, from: {x: number, y: number}) => Promise<{outcome: string}>,
   *          onPick: (emoji: string) => void}} actions   `onPick`: a viewer has taken this one from the sheet
   */
  constructor({ bar, sheet, more }, texts, signal, actions) {
    this.#toolbar = bar;
    this.#sheet = sheet;
    this.#more = more;
    this.#texts = texts;
    this.#actions = actions;
    more.addEventListener("click", () => this.#toggle(sheet.hidden), { signal });
    for (const group of [bar, sheet]) {
      group.addEventListener("keydown", (event) => this.#onKey(event, group), { signal });
      group.addEventListener("focusin", ({ target }) => moveTabStop(group, target), { signal });
    }
    document.addEventListener("pointerdown", (event) => this.#closeIfOutside(event), { signal });
  }

  get isFilled() {
    return this.#buttons.size > 0;
  }

  /** The middle of the button of this emoji, in CSS pixels of the window. Null if it is not on the screen. */
  placeOf(emoji) {
    const { left, top, width, height } = this.#buttons.get(emoji)?.button.getBoundingClientRect() ?? { width: 0 };
    return width ? { x: left + width / 2, y: top + height / 2 } : null;
  }

  /** Show these emoji: the first six in the bar, the others in the sheet. */
  fill(emoji) {
    this.#buttons.clear();
    const buttons = emoji.map((each) => this.#newButton(each));
    // A seventh button alone needs no sheet.
    const inBar = emoji.length <= SHOWN + 1 ? buttons : buttons.slice(0, SHOWN);
    for (const old of this.#toolbar.querySelectorAll("[data-emoji]")) old.remove();
    this.#toolbar.prepend(...inBar);
    this.#sheet.replaceChildren(...buttons.slice(inBar.length));
    this.#more.hidden = inBar.length === buttons.length;
    for (const group of [this.#toolbar, this.#sheet]) moveTabStop(group, buttonsOf(group)[0]);
  }

  /** Show on the buttons how often each emoji was sent. */
  showTotals(totals, format) {
    for (const [emoji, { count }] of this.#buttons) count.textContent = totals[emoji] ? format(totals[emoji]) : "";
  }

  set disabled(disabled) {
    for (const { button } of this.#buttons.values()) button.disabled = disabled;
  }

  #toggle(isOpen) {
    this.#sheet.hidden = !isOpen;
    this.#more.setAttribute("aria-expanded", isOpen);
    if (isOpen) buttonsOf(this.#sheet)[0]?.focus();
  }

  #closeIfOutside(event) {
    const isInside = event.composedPath().some((node) => node === this.#sheet || node === this.#more);
    if (!isInside && !this.#sheet.hidden) this.#toggle(false);
  }

  #onKey(event, group) {
    if (event.key === "Escape" && !this.#sheet.hidden) {
      event.stopPropagation();
      this.#toggle(false);
      this.#more.focus();
    }
    const isPlain = !event.repeat && !event.ctrlKey && !event.metaKey && !event.altKey;
    // Only with the focus in the bar: a single key must not do something while a viewer writes elsewhere.
    if (isPlain && /^[1-9]$/.test(event.key)) this.#toolbar.querySelectorAll("[data-emoji]")[event.key - 1]?.click();
    const target = neighbour(group, event.target, event.key);
    if (!target) return;
    event.preventDefault();
    target.focus();
  }

  #newButton(emoji) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.emoji = emoji;
    button.setAttribute("part", "button");
    button.setAttribute("aria-label", this.#texts.reactWith(emoji));
    const [face, badge, count] = ["face", "badge", "count"].map((name) => {
      const span = document.createElement("span");
      span.className = name;
      span.setAttribute("part", name);
      span.setAttribute("aria-hidden", "true");
      return span;
    });
    face.textContent = emoji;
    button.append(face, badge, count);
    this.#buttons.set(emoji, { button, count });
    sendByTap(button, badge, () => {
      // Before the first touch of a page, a browser refuses it.
      if (navigator.userActivation?.isActive) navigator.vibrate?.(VIBRATION_MS);
      if (this.#sheet.contains(button)) this.#actions.onPick(emoji);
      return this.#actions.send(emoji, this.placeOf(emoji));
    });
    return button;
  }
}

/** Send at each tap, and again and again while the button is held. The badge counts what belongs together. */
function sendByTap(button, badge, send) {
  let holding = 0;
  let burst = 0;
  let fading = 0;
  let number = 0;
  const fire = async () => {
    number += 1;
    badge.textContent = number > 1 ? `×${number}` : "";
    clearTimeout(burst);
    burst = setTimeout(() => {
      number = 0;
      badge.textContent = "";
    }, BURST_SHOWN_MS);
    const { outcome } = await send();
    button.dataset.outcome = outcome;
    clearTimeout(fading);
    fading = setTimeout(() => delete button.dataset.outcome, OUTCOME_SHOWN_MS);
  };
  // This ends an interval too.
  const release = () => clearTimeout(holding);
  let isBurst = false;
  button.addEventListener("pointerdown", ({ button: which }) => {
    if (which !== 0 || button.disabled) return;
    isBurst = false;
    holding = setTimeout(() => {
      isBurst = true;
      fire();
      holding = setInterval(() => (button.disabled ? release() : fire()), BURST_EVERY_MS);
    }, HOLD_MS);
  });
  for (const type of ["pointerup", "pointercancel", "pointerleave"]) button.addEventListener(type, release);
  // The finger of a burst must not open the browser's menu.
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  button.addEventListener("click", () => {
    // The click at the end of a burst belongs to it.
    if (isBurst) isBurst = false;
    else fire();
  });
}

const buttonsOf = (group) => [...group.querySelectorAll("button:not([hidden])")];

function moveTabStop(group, target) {
  for (const button of buttonsOf(group)) button.tabIndex = button === target ? 0 : -1;
}

function neighbour(group, from, key) {
  const buttons = buttonsOf(group);
  if (key === "Home") return buttons[0];
  if (key === "End") return buttons[buttons.length - 1];
  const { direction, gridTemplateColumns } = getComputedStyle(group);
  const columns = gridTemplateColumns.split(" ").length;
  const rightwards = direction === "rtl" ? -1 : 1;
  const steps = { ArrowRight: rightwards, ArrowLeft: -rightwards, ArrowDown: columns, ArrowUp: -columns };
  return buttons[buttons.indexOf(from) + steps[key]] ?? null;
}
