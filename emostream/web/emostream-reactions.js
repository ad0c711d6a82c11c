/**
 * `<emostream-reactions>`: live reactions on any page. docs/embedding.md tells of its attributes, events and parts.
 *
 * It fills its parent with a sky that takes no taps, and puts a bar that does at an edge of it. It shows nothing until
 * it can react and watch, and nothing again if that fails for good.
 */

import { Bar, chosen, ordered, withRecent } from "./bar.js";
import { spritesOf } from "./crowd.js";
import { hubOf } from "./hub.js";
import { languagesOf, textsOf } from "./messages.js";
import { Sky } from "./sky.js";
import { keep, kept } from "./storage.js";

// A swarm is shown over the length of its window, until the next swarm comes, but no longer than this.
const MAX_SPREAD_MS = 2_500;
const MAX_DELAY_MS = 600_000;
// How long a note stays. A success does not replace a refusal meanwhile.
const NOTE_MS = 6_000;
const PALETTE_RETRY_MS = 3_000;
const prefersStill = matchMedia("(prefers-reduced-motion: reduce)");

export class EmoStreamReactions extends HTMLElement {
  static observedAttributes = ["src", "event", "emoji", "layout", "lang", "counts", "paused", "disabled"];

  #parts = buildIn(this.attachShadow({ mode: "open" }));
  #member = {
    launch: (emoji, from) => this.#launch(emoji, from),
    pause: (isPaused) => this.toggleAttribute("paused", isPaused),
    token: () => this.token ?? this.getAttribute("token"),
  };
  #watcher = new IntersectionObserver((entries) => this.#see(entries[entries.length - 1].isIntersecting));
  #onVisibility = () => this.#see(this.#isOnScreen);
  #isOnScreen = true;
  #isStyled = false;
  #renewal = null;
  /** What there is while the element is in a page: `life` ends it, and takes the listeners with it. */
  #life = null;
  #hub = null;
  #sky = null;
  #bar = null;
  #texts = null;
  #format = null;
  #compact = null;
  #totals = {};
  #note = { timer: 0, isBad: false };

  constructor() {
    super();
    const { style, motion } = this.#parts;
    style.addEventListener("load", () => {
      this.#isStyled = true;
      this.#showParts();
    });
    motion.addEventListener("click", () => (this.paused ? this.resume() : this.pause()));
  }

  /** The total of every emoji as of the last swarm that was shown. */
  get totals() {
    return this.#totals;
  }

  /** The sky, for measurements. Null in a bar. */
  get sky() {
    return this.#sky;
  }

  get paused() {
    return this.hasAttribute("paused");
  }

  /** Stop the motion here and in the other elements of the event. The counts go on. */
  pause() {
    this.#remember("motion", "paused");
    this.#hub?.pause(true);
  }

  resume() {
    this.#remember("motion", "");
    this.#hub?.pause(false);
  }

  /**
   * Send a reaction. Never rejects.
   * @returns {Promise<import("./emostream.js").Outcome>}
   */
  async react(emoji) {
    if (!this.#hub) return { outcome: "refused", reason: "the element is in no page", record: null };
    const { left, bottom, width } = this.getBoundingClientRect();
    return this.#hub.react(emoji, this.#bar?.placeOf(emoji) ?? { x: left + width / 2, y: bottom });
  }

  connectedCallback() {
    this.#watcher.observe(this);
    document.addEventListener("visibilitychange", this.#onVisibility);
    this.#renewSoon();
  }

  disconnectedCallback() {
    this.#watcher.disconnect();
    document.removeEventListener("visibilitychange", this.#onVisibility);
    this.#renewSoon();
  }

  attributeChangedCallback(name) {
    if (name === "paused") this.#showMotion();
    else if (name === "disabled") this.#showDisabled();
    else if (name === "counts") this.#showTotals(this.#totals);
    else this.#renewSoon();
  }

  /** Begin anew after the current task, so that attributes that change together are read together. */
  #renewSoon() {
    this.#renewal ??= Promise.resolve().then(async () => {
      this.#renewal = null;
      this.#end();
      const life = (this.#life = new AbortController());
      const texts = await textsOf(languagesOf(this));
      if (this.isConnected && !life.signal.aborted) this.#begin(texts, life);
    });
  }

  #begin(texts, life) {
    this.#texts = texts;
    this.#format = new Intl.NumberFormat(texts.lang);
    this.#compact = new Intl.NumberFormat(texts.lang, { notation: "compact" });
    this.#hub = hubOf(this.getAttribute("src"), this.getAttribute("event") || "main");
    const layout = this.getAttribute("layout");
    if (layout !== "bar") this.#sky = new Sky(this.#parts.sky);
    if (layout !== "display-only") this.#bar = this.#newBar();
    this.#listen(this.#hub, life.signal);
    prefersStill.addEventListener("change", () => this.#showMotion(), { signal: life.signal });
    if (this.#remembers && kept("motion") === "paused") this.setAttribute("paused", "");
    this.#hub.join(this.#member, this.#isVisible);
    this.#showMotion();
    this.#showTotals({ ...this.#hub.stream.totals });
    if (this.#bar) this.#loadPalette(life.signal);
    this.#showParts();
  }

  #end() {
    this.#life?.abort();
    this.#hub?.leave(this.#member);
    this.#sky?.close();
    this.#bar?.fill([]);
    this.#life = this.#hub = this.#sky = this.#bar = null;
    this.#showParts();
  }

  #newBar() {
    const { bar, motion, more, dock } = this.#parts;
    const texts = this.#texts;
    dock.dir = texts.dir;
    dock.lang = texts.lang;
    bar.setAttribute("aria-label", texts.bar);
    more.setAttribute("aria-label", texts.more);
    motion.title = texts.stop;
    return new Bar(this.#parts, texts, this.#life.signal, {
      send: (emoji, from) => this.#hub.react(emoji, from),
      onPick: (emoji) => this.#remember("recent", withRecent(this.#recent, emoji).join(" ")),
    });
  }

  #listen({ stream }, signal) {
    const on = (target, type, act) => target.addEventListener(type, ({ detail }) => act(detail), { signal });
    for (const type of ["snapshot", "reset", "end"]) {
      on(stream, type, () => {
        const totals = stream.totals;
        this.#later(signal, () => this.#showTotals(totals));
      });
    }
    on(stream, "swarm", (swarm) => {
      const totals = stream.totals;
      this.#later(signal, () => this.#showSwarm(swarm, totals));
    });
    on(stream, "state", (state) => this.#showState(state));
    on(this.#hub, "counted", (counted) => {
      this.#say(this.#texts.counted(counted.emoji, this.#shareOf(counted)), false);
      this.#emit("counted", counted);
    });
    on(this.#hub, "refused", (refused) => {
      const text = refused.outcome === "refused" ? this.#texts.refused : this.#texts.unknown;
      this.#say(text(refused.emoji, refused.reason), true);
      this.#emit("refused", refused);
    });
  }

  /** Do it after `delay`, which matches the sky to a video that is behind. */
  #later(signal, act) {
    const delayMs = Math.min(Math.max(0, Number(this.getAttribute("delay")) * 1000 || 0), MAX_DELAY_MS);
    if (delayMs === 0) act();
    else setTimeout(() => signal.aborted || act(), delayMs);
  }

  #showSwarm(swarm, totals) {
    const { id, window, counts } = swarm;
    const density = this.getAttribute("density");
    const sprites = density === "rule" ? swarm.swarm : spritesOf(counts, Number(density ?? 1) || 0);
    if (!this.paused) this.#sky?.add(id, counts, sprites, Math.min(window.end - window.start, MAX_SPREAD_MS));
    this.#showTotals(totals);
    this.#emit("swarm", swarm);
  }

  #showTotals(totals) {
    this.#totals = totals;
    const shown = this.hasAttribute("counts") ? totals : {};
    this.#bar?.showTotals(shown, (count) => this.#compact.format(count));
  }

  #showState(state) {
    if (state.name === "ended") this.#say(this.#texts.ended, false);
    this.#showDisabled();
    this.#showParts();
    this.#emit("state", state);
  }

  #showParts() {
    const { all, dock } = this.#parts;
    const isThere = this.#hub !== null && !(this.#hub.isOver && this.#hub.stream.state.name === "stopped");
    all.hidden = !this.#isStyled || !isThere;
    dock.hidden = !this.#bar?.isFilled;
  }

  #showDisabled() {
    if (this.#bar) this.#bar.disabled = this.hasAttribute("disabled") || this.#hub.isOver;
  }

  #showMotion() {
    const { motion } = this.#parts;
    motion.setAttribute("aria-pressed", this.paused);
    motion.setAttribute("aria-label", this.#texts?.stop ?? "");
    if (!this.#sky) return;
    this.#sky.still = prefersStill.matches;
    if (this.paused) this.#sky.clear();
  }

  /** Load the emoji of the event, again and again until they come or there is no hope of it. */
  async #loadPalette(signal) {
    try {
      const palette = await this.#hub.palette();
      if (signal.aborted) return;
      const wanted = chosen(palette, this.getAttribute("emoji") ?? "");
      const emoji = wanted.length > 0 ? wanted : ordered(palette, this.#recent);
      this.#bar.fill(emoji);
      this.#sky?.prepare(emoji);
      this.#showTotals(this.#totals);
      this.#showDisabled();
      this.#showParts();
    } catch {
      if (signal.aborted || this.#hub.isOver) return;
      setTimeout(() => signal.aborted || this.#loadPalette(signal), PALETTE_RETRY_MS);
    }
  }

  #launch(emoji, from) {
    if (!this.#sky || this.paused || !this.#isVisible) return null;
    const flight = this.#sky.addOwn(emoji, from);
    return { end: (how, counted) => flight.end(how, counted ? this.#shareOf(counted) + ` ${emoji}` : "") };
  }

  #shareOf({ own, count }) {
    const of = this.#format.format(count);
    return own === 1 ? this.#texts.one(of) : this.#texts.some(this.#format.format(own), of);
  }

  #say(text, isBad) {
    const { note } = this.#parts;
    if (this.#note.isBad && !isBad) return;
    clearTimeout(this.#note.timer);
    note.textContent = text;
    note.classList.toggle("bad", isBad);
    this.#note = { isBad, timer: setTimeout(() => this.#unsay(), NOTE_MS) };
  }

  #unsay() {
    this.#parts.note.textContent = "";
    this.#note.isBad = false;
  }

  get #isVisible() {
    return this.#isOnScreen && !document.hidden;
  }

  #see(isOnScreen) {
    this.#isOnScreen = isOnScreen;
    if (this.#sky) this.#sky.isShown = this.#isVisible;
    this.#hub?.join(this.#member, this.#isVisible);
  }

  /** Nothing is stored unless the page allows it. */
  get #remembers() {
    return this.hasAttribute("remember");
  }

  #remember(name, value) {
    if (this.#remembers) keep(name, value);
  }

  get #recent() {
    return this.#remembers ? (kept("recent") ?? "").split(" ") : [];
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** The parts of an element. They are built node by node, because a strict policy forbids to set HTML. */
function buildIn(root) {
  const make = (tag, attributes, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const style = make("link", { rel: "stylesheet", href: new URL("reactions.css", import.meta.url) });
  const sky = make("canvas", { part: "sky", "aria-hidden": "true" });
  const note = make("p", { part: "note", role: "status" });
  const sheet = make("div", { part: "sheet", id: "sheet", role: "group", hidden: "" });
  const sign = () => make("span", { "aria-hidden": "true", class: "sign" });
  const more = make("button", { part: "more", type: "button", "aria-expanded": "false", "aria-controls": "sheet" }, sign());
  const motion = make("button", { part: "motion", type: "button" }, sign());
  const bar = make("div", { part: "bar", role: "toolbar" }, more, motion);
  const dock = make("div", { part: "dock", hidden: "" }, make("div", { class: "above" }, note, sheet), bar);
  const all = make("div", { class: "all", hidden: "" }, sky, dock);
  root.append(style, all);
  return { style, all, sky, dock, note, sheet, bar, more, motion };
}

if (!customElements.get("emostream-reactions")) customElements.define("emostream-reactions", EmoStreamReactions);
