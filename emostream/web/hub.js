/** What the elements of one event on a page share: the connection, and the viewer's own reactions. */

import { EmoStream } from "./emostream.js";
import { OwnReactions } from "./own.js";

// While no element has been visible for so long, the page is not connected. It resumes without a gap.
const UNSEEN_MS = 30_000;

// The registry that serves this module.
const OWN_REGISTRY = import.meta.url.replace(/(\/static)?\/[^/]*$/, "");
const hubs = new Map();

/** The hub of an event. Elements of the same registry (`src`) and event get the same one. */
export function hubOf(src, event) {
  const registryUrl = (src || OWN_REGISTRY).replace(/\/+$/, "");
  const key = `${event} ${registryUrl}`;
  if (!hubs.has(key)) hubs.set(key, new Hub(new EmoStream({ registryUrl, event })));
  return hubs.get(key);
}

/**
 * @typedef {{launch: (emoji: string, from: {x: number, y: number}) => ?Flight, pause: (isPaused: boolean) => void,
 *            token: () => *}} Member   an element, and where its token comes from
 * @typedef {{emoji: string, own: number, count: number, sequence: number, latencyMs: number}} Counted
 *   `own` of the `count` reactions with this emoji in the swarm `sequence` are the viewer's
 * @typedef {{end: (how: "counted"|"refused"|"lost", counted?: Counted) => void}} Flight
 *
 * Events: `counted` {Counted}, and `refused` {emoji, outcome, reason}. Those of the connection are the stream's.
 */
export class Hub extends EventTarget {
  stream;
  own;
  #members = new Map();
  #resting = 0;
  #palette = null;

  /** @param {EmoStream} stream */
  constructor(stream) {
    super();
    this.stream = stream;
    stream.token = () => [...this.#members.keys()].map((member) => member.token()).find(Boolean);
    this.own = new OwnReactions((sequence) => stream.countedBy(sequence));
    stream.addEventListener("swarm", ({ detail }) => this.#settle(detail));
    for (const type of ["reset", "end"]) {
      stream.addEventListener(type, () => {
        for (const { flights } of this.own.forget()) endAll(flights, "lost");
      });
    }
  }

  /** Whether there is nothing to watch any more: the event has ended, or there is none. */
  get isOver() {
    const { name, reason } = this.stream.state;
    return name === "ended" || (name === "stopped" && reason !== "");
  }

  /** The emoji that may be sent. It is asked for once. Rejects as that of the stream. */
  palette() {
    this.#palette ??= this.stream.palette().catch((error) => {
      this.#palette = null;
      throw error;
    });
    return this.#palette;
  }

  pause(isPaused) {
    for (const member of this.#members.keys()) member.pause(isPaused);
  }

  /** Connect for this element. @param {Member} member  @param {boolean} isVisible */
  join(member, isVisible) {
    this.#members.set(member, isVisible);
    this.#connectIfSeen();
  }

  /** The last one closes the connection, unless an element comes in the same task, as one whose attributes change. */
  leave(member) {
    this.#members.delete(member);
    this.#connectIfSeen();
  }

  #connectIfSeen() {
    clearTimeout(this.#resting);
    if (this.isOver) return;
    if ([...this.#members.values()].includes(true)) this.stream.start();
    else this.#resting = setTimeout(() => this.stream.stop(), this.#members.size > 0 ? UNSEEN_MS : 0);
  }

  /**
   * Send a reaction. The viewer's emoji flies at once; what becomes of it shows later.
   * @param {{x: number, y: number}} from   the place of the tap, in CSS pixels of the window
   */
  async react(emoji, from) {
    const tappedAt = performance.now();
    const after = this.stream.sequence;
    const flights = [...this.#members.keys()].map((member) => member.launch(emoji, from)).filter(Boolean);
    const result = await this.stream.react(emoji);
    const { outcome, reason, record } = result;
    if (outcome === "accepted" && record) {
      this.own.accepted({ emoji, tappedAt, after, record, flights });
      // Its swarm may be here before the answer.
      if (this.stream.sequence > after) this.#settleOwn();
    } else {
      endAll(flights, outcome === "refused" ? "refused" : "lost");
      if (outcome !== "accepted") this.#emit("refused", { emoji, outcome, reason });
    }
    return result;
  }

  #settle(swarm) {
    this.own.arrived(swarm, performance.now());
    this.#settleOwn();
  }

  async #settleOwn() {
    const settled = await this.own.settle(this.stream.sequence, performance.now());
    const groups = new Map();
    for (const each of settled) {
      const key = `${each.swarm.sequence} ${each.tap.emoji}`;
      groups.set(key, [...(groups.get(key) ?? []), each]);
    }
    for (const group of groups.values()) {
      const [{ tap, swarm, latencyMs }] = group;
      const { emoji } = tap;
      const counted = { emoji, own: group.length, count: swarm.counts[emoji], sequence: swarm.sequence, latencyMs };
      // One of them says it for all.
      for (const [index, each] of group.entries()) endAll(each.tap.flights, "counted", index ? null : counted);
      this.#emit("counted", counted);
    }
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

const endAll = (flights, how, counted = null) => flights.forEach((flight) => flight.end(how, counted));
