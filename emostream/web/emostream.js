/**
 * The EmoStream client: sends reactions, and watches the swarms without gaps or repeats.
 *
 * It watches over a WebSocket. If no WebSocket can be opened, it uses server-sent events (SSE). A browser allows many
 * WebSockets, but only six HTTP/1.1 connections to a server, so over SSE the seventh tab would wait forever.
 *
 * It needs Safari 15, Firefox 100, a Chromium of the same age, or Node 18, which has SSE alone before version 22.
 *
 * It needs no other package. example.html is a complete page; for npm, it is the package emostream-client:
 *
 *     import { EmoStream } from "http://localhost:8001/static/emostream.js";
 *
 *     const stream = new EmoStream({ registryUrl: "http://localhost:8001", event: "final" });
 *     stream.addEventListener("swarm", ({ detail }) => console.log(detail.counts));
 *     stream.start();
 *     const { outcome } = await stream.react("🔥");
 *
 * Events, each with its message as `detail`:
 *
 *   snapshot  {Totals message}  the first message: the totals so far
 *   swarm     {Swarm}           one for each micro-batch, in order, each once
 *   reset     {Totals message}  swarms were missed and cannot be sent again: these totals replace the old ones
 *   end       {Totals message}  the event has ended: these totals are final, and the client does not connect again
 *   state     {State}           the state of the connection has changed
 *   repeat    {Swarm}           a swarm came twice; it was dropped. Its totals may be wrong, as may those of a gap
 *   gap       {Swarm}           a swarm before this one is missing; the stream resumes from the last one received
 *
 * After each of the first four, `stream.totals` holds the total of every emoji.
 *
 * @typedef {Object<string, number>} Counts           emoji → number
 * @typedef {{id: string, sequence: number, totals: Counts}} TotalsMessage
 * @typedef {{id: string, sequence: number, window: {start: number, end: number}, reactions: number,
 *            counts: Counts, swarm: Counts, totals: Counts}} Swarm   times in ms since the epoch
 * @typedef {{name: "connecting"|"live"|"waiting"|"ended"|"stopped", subscriber: string, cluster: string,
 *            reason: string, retryInMs: number}} State   `retryInMs` is set while waiting. When `ended` or `stopped`,
 *                                                    the client does not connect again; `stopped` has a reason if
 *                                                    there is no such event
 * @typedef {{snapshot: TotalsMessage, swarm: Swarm, reset: TotalsMessage, end: TotalsMessage, state: State,
 *            repeat: Swarm, gap: Swarm}} Details   event → its `detail`
 * @typedef {{event: string, title: string, viewers: number, reactions: number,
 *            reactions_per_second: number}} OpenEvent
 * @typedef {{partition: number, offset: number, timestamp: number}} KafkaRecord
 * @typedef {{sequence: number, window_end: number, swarms_timestamp: number, cluster_timestamp: number,
 *            received_timestamp: number, counted: Object<string, number>}} Trace   times in ms since the epoch
 * @typedef {{outcome: "accepted"|"refused"|"unknown", reason: string, record: ?KafkaRecord}} Outcome
 */

import { Outbox } from "./outbox.js";

const REQUEST_TIMEOUT_MS = 10_000;
// A proxy that blocks WebSockets may just not answer.
const WEBSOCKET_START_TIMEOUT_MS = 5_000;
// If SSE works but a WebSocket does not, only SSE is used for this long.
const WEBSOCKET_PAUSE_MS = 600_000;
// After this silence, a stream counts as dead, although it is not closed. The time is much shorter for a subscriber
// that announces its heartbeat: see `Link`.
const SILENCE_TIMEOUT_MS = 45_000;
// The mean pause after a WebSocket is lost. For SSE, the server sends `retry:`.
const LOST_RETRY_MS = 2_000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 15_000;
const MAX_SENDS_OF_A_REACTION = 4;
// Of this many swarms, the client keeps up to which records they count.
const MAX_COUNTED = 32;
const MIN_RESEND_MS = 500;
// At most this many subscribers are avoided. Past that, the one that failed first is allowed again.
const MAX_EXCLUDED = 8;
// Any other text is never part of a path: browsers take `/v1/events/..` for `/v1`, where `main` is.
const EVENT_ID = /^[a-z0-9][a-z0-9-]{0,47}$/;
// The code with which a subscriber closes a WebSocket when the event has ended and the viewer has seen all of it.
const CLOSE_ENDED = 4410;

const NO_MESSAGE = "the subscriber sent what is no message";

/** An incremental parser of server-sent events: it takes text in pieces of any size and returns complete events. */
export class EventStreamParser {
  #rest = "";
  #type = "";
  #data = [];
  /** How long the server asks the client to wait before it connects again, in ms: its last `retry:`. */
  retryMs = 0;

  /** @param {string} text  @returns {{type: string, data: string}[]} the events that this piece completes */
  push(text) {
    // A carriage return at the end may be the first half of a CRLF.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    return lines.map((line) => this.#takeLine(line)).filter(Boolean);
  }

  #takeLine(line) {
    if (line === "") {
      const event = this.#data.length ? { type: this.#type || "message", data: this.#data.join("\n") } : null;
      this.#type = "";
      this.#data = [];
      return event;
    }
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    if (field === "event") this.#type = value;
    if (field === "data") this.#data.push(value);
    if (field === "retry" && /^\d{1,9}$/.test(value)) this.retryMs = Number(value);
    return null;
  }
}

/** The position and the totals of a viewer. It checks whether the next message follows the last one. */
export class Progress {
  id = "";
  sequence = -1;
  /** @type {Counts} */
  totals = {};

  /**
   * Check and take a message. Throws for what is no message.
   * @param {string} type  @param {object} message  @returns {"next"|"repeat"|"gap"} a repeat or a gap changes nothing
   */
  take(type, message) {
    if (!isWhole(message)) throw new Loss(NO_MESSAGE);
    if (type === "swarm" || type === "end") {
      const isSameStream = streamOf(message.id) === streamOf(this.id);
      if (isSameStream && message.sequence <= this.sequence) return "repeat";
      if (!isSameStream || message.sequence !== this.sequence + 1) return "gap";
    }
    // A swarm has the totals of its own emoji only.
    this.totals = type === "swarm" ? { ...this.totals, ...message.totals } : { ...message.totals };
    this.id = message.id;
    this.sequence = message.sequence;
    return "next";
  }
}

/**
 * Make a swarm whole that came in the compact form, without what follows from its counts and from the totals before it.
 * A whole one stays as it is. `swarm` holds the numbers that differ from those of the default rule, ⌈count ÷ 1000⌉.
 * @param {object} message  @param {Counts} totals before it  @returns {Swarm}
 */
export function expand(message, totals) {
  const { id, counts, swarm } = message;
  if (message.totals || !counts) return message;
  const each = (of) => Object.fromEntries(Object.entries(counts).map(([emoji, count]) => [emoji, of(count, emoji)]));
  return {
    ...message,
    sequence: Number(String(id).split("-").pop()),
    reactions: Object.values(counts).reduce((sum, count) => sum + count, 0),
    swarm: { ...each((count) => Math.ceil(count / 1000)), ...swarm },
    totals: each((count, emoji) => (totals[emoji] ?? 0) + count),
  };
}

/**
 * The delay before the next try, with full jitter: a random time up to a bound that doubles with each failure in a row.
 * The jitter keeps viewers from reconnecting at the same time. `failures` is 1 after the first failure.
 * @param {number} failures  @param {() => number} random from 0 to 1
 */
export function backoffMs(failures, random = Math.random) {
  return random() * Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** (failures - 1));
}

/**
 * An event of the stream. `CustomEvent` is too new for Node 18.
 * @template Detail
 */
export class StreamEvent extends Event {
  /** @type {Detail} */
  detail;

  /** @param {string} type  @param {Detail} detail */
  constructor(type, detail) {
    super(type);
    this.detail = detail;
  }
}

export class EmoStream extends EventTarget {
  #registryUrl;
  #ingestUrl;
  #userId;
  #event;
  #random;
  #progress = new Progress();
  #excluded = [];
  #failures = 0;
  #counted = new Map();
  #running = null;
  #assignment = null;
  #config = null;
  #sseAloneUntilMs = 0;
  #bearer = null;
  #outbox = new Outbox((reactions) => this.#send(reactions));
  /**
   * Where the viewer's token comes from, if the service wants one: a text, or a function that returns it, or a promise
   * of it. It is asked again when the token has expired. Without one, the viewer is a guest where guests are allowed.
   */
  token;
  /** How often a swarm came twice (`repeats`) or was missing (`gaps`). Both stay 0 unless a server is broken. */
  repeats = 0;
  gaps = 0;
  /** @type {State} */
  state = { name: "stopped", subscriber: "", cluster: "", reason: "", retryInMs: 0 };

  /**
   * @param {{registryUrl?: string, ingestUrl?: string, event?: string, userId?: string, random?: () => number,
   *          token?: string|(() => string|Promise<string>)}} options
   *   The default of `registryUrl` is the page's own server. The default of `ingestUrl` comes from the registry. The
   *   default of `event` is `main`. `userId` has 1 to 64 characters; the default is a random one.
   */
  constructor({ registryUrl = "", ingestUrl, userId, event = "main", random = Math.random, token } = {}) {
    super();
    this.#registryUrl = registryUrl;
    this.#ingestUrl = ingestUrl;
    this.#userId = userId ?? `web-${[0, 0].map(() => Math.floor(Math.random() * 2 ** 32)).join("-")}`;
    this.#event = event;
    this.#random = random;
    this.token = token;
  }

  /**
   * Listen to an event of the list above.
   * @template {keyof Details} Type
   * @param {Type} type
   * @param {((event: StreamEvent<Details[Type]>) => void) | EventListenerObject | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   */
  addEventListener(type, listener, options) {
    super.addEventListener(type, listener, options);
  }

  /** The total of every emoji as of the last message. */
  get totals() {
    return this.#progress.totals;
  }

  /** The sequence of the last message. It is -1 before the first one. */
  get sequence() {
    return this.#progress.sequence;
  }

  /** Connect, and stay connected until the event ends or until `stop()`. */
  start() {
    if (this.#running) return;
    this.#running = new AbortController();
    this.#run(this.#running.signal);
  }

  /** Disconnect. A later `start()` resumes from the last message. */
  stop() {
    this.#running?.abort();
    this.#running = null;
    this.#enter({ name: "stopped" });
  }

  /**
   * The emoji that may be sent. Rejects if ingest does not answer, or if the event is closed or does not exist.
   * @returns {Promise<string[]>}
   */
  async palette() {
    return (await this.#getJson(`${await this.#ingest()}/palette`)).emoji;
  }

  /**
   * The open events that are listed, `main` first. Rejects if the registry does not answer.
   * @returns {Promise<OpenEvent[]>}
   */
  async events() {
    return (await this.#getJson(`${this.#registryUrl}/v1/events`)).events;
  }

  /**
   * Send one reaction. Reactions that follow within 150 ms share a request. Never rejects: the result says whether the
   * reaction was accepted, was refused for a reason, or has an unknown outcome. Do not send it again after an unknown
   * outcome, because it may count twice.
   * @param {string} emoji one of the palette
   * @returns {Promise<Outcome>}
   */
  react(emoji) {
    return this.#outbox.add({ user_id: this.#userId, emoji_type: emoji, timestamp: Date.now() });
  }

  /**
   * Ask which swarm counted this record, and when it passed each hop. Null if no swarm has counted it yet (ask again
   * after the next swarm), or if the page is not connected to a subscriber.
   * @param {KafkaRecord} record of an accepted reaction
   * @returns {Promise<?Trace>}
   */
  async trace({ partition, offset }) {
    const counted = await this.countedBy(this.sequence);
    const isCounted = offset < (counted?.[partition] ?? 0);
    return isCounted ? this.#askTrace(`partition=${partition}&offset=${offset}`) : null;
  }

  /**
   * By partition of `reactions`: the offset up to which this swarm and those before it count. The subscriber is asked
   * once for a swarm. Null if it does not know.
   * @param {number} sequence
   * @returns {Promise<?Object<string, number>>}
   */
  async countedBy(sequence) {
    this.#counted.set(sequence, this.#counted.get(sequence) ?? this.#askTrace(`sequence=${sequence}`));
    if (this.#counted.size > MAX_COUNTED) this.#counted.delete(this.#counted.keys().next().value);
    const trace = await this.#counted.get(sequence);
    if (!trace) this.#counted.delete(sequence);
    return trace?.counted ?? null;
  }

  /**
   * The registry's settings for clients, from GET /v1/config. Rejects if the registry does not answer.
   * @returns {Promise<{ingest_url: string, live_topology: boolean}>}
   */
  async config() {
    this.#config ??= await this.#getJson(`${this.#registryUrl}/v1/config`);
    return this.#config;
  }

  /** All processes, their states and metrics, from GET /v1/topology/live. Rejects if the registry does not answer. */
  topology() {
    return this.#getJson(`${this.#registryUrl}/v1/topology/live`);
  }

  async #askTrace(query) {
    if (!this.#assignment) return null;
    const answer = await this.#ask(new URL(`trace?${query}`, this.#assignment.sse_url)).catch(() => null);
    return answer?.ok ? answer.json : null;
  }

  /** Ask with the viewer's token, and if it is refused once more: with a new one, or with that of a guest. */
  async #ask(url, options) {
    this.#bearer ??= await this.#ownToken();
    const answer = await ask(url, { ...options, token: this.#bearer });
    if (answer.status !== 401 && answer.status !== 403) return answer;
    const old = this.#bearer;
    this.#bearer = (await this.#ownToken()) ?? (await this.#askGuestToken());
    return [old, undefined].includes(this.#bearer) ? answer : ask(url, { ...options, token: this.#bearer });
  }

  async #ownToken() {
    try {
      let { token } = this;
      while (typeof token === "function") token = await token();
      return token;
    } catch {
      return null;
    }
  }

  async #askGuestToken() {
    const answer = await ask(`${this.#registryUrl}/v1/guests`, { post: {} }).catch(() => null);
    return answer?.json?.token;
  }

  async #run(signal) {
    while (!signal.aborted) {
      try {
        await this.#connectOnce(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Over) {
          this.#running = null;
          this.#enter({ name: error.state, reason: error.message });
          return;
        }
        await this.#pauseAfter(error, signal);
      }
    }
  }

  #pauseAfter({ message, retryAfterMs = 0 }, signal) {
    this.#failures += 1;
    // Extend the wait that the server asked for by up to a half, because it may have told many viewers the same.
    const askedMs = retryAfterMs * (1 + this.#random() / 2);
    const retryInMs = Math.max(askedMs, backoffMs(this.#failures, this.#random));
    this.#enter({ name: "waiting", reason: message, retryInMs });
    return this.#pause(retryInMs, signal);
  }

  /**
   * Ask the registry, then watch until the stream ends. Returns after a goodbye. Rejects with Over if there is nothing
   * to connect to any more, and with another Loss otherwise.
   */
  async #connectOnce(signal) {
    this.#enter({ name: "connecting", reason: this.state.reason });
    this.#assignment = await this.#assign(signal);
    try {
      await this.#watch(this.#assignment, signal);
    } catch (error) {
      if (!(error instanceof Over)) this.#exclude(this.#assignment.subscriber);
      throw error;
    } finally {
      this.#assignment = null;
    }
  }

  async #assign(signal) {
    const body = { user_id: this.#userId, event: this.#event, exclude: this.#excluded };
    const answer = await this.#ask(`${this.#registryUrl}/v1/assignments`, { post: body, signal }).catch(() => {
      throw new Loss("the registry does not answer");
    });
    if (answer.ok && answer.json?.subscriber && answer.json.sse_url) {
      // A guest's.
      this.#bearer ??= answer.json.token;
      return answer.json;
    }
    // A 404 that names no event may come from a proxy while the registry is away.
    if (answer.status === 404 && answer.json?.event === this.#event) throw new Over("stopped", reasonOf(answer));
    // Perhaps the only subscribers left are the excluded ones.
    this.#excluded = [];
    throw new Loss(answer.ok ? "the registry's answer is no assignment" : reasonOf(answer), answer.retryAfterMs);
  }

  /** Watch until the subscriber says goodbye. Rejects with a Loss if the stream ends in another way. */
  async #watch(assignment, signal) {
    const { sse_url, ws_url } = assignment;
    const triesWebSocket = Boolean(ws_url) && performance.now() >= this.#sseAloneUntilMs;
    if (triesWebSocket) {
      const retryMs = LOST_RETRY_MS * (0.5 + this.#random());
      const link = new Link(WEBSOCKET_START_TIMEOUT_MS, retryMs, signal);
      if (await this.#watchOver(overWebSocket, ws_url, link, assignment)) return;
    }
    // A browser does not tell JavaScript why a WebSocket was refused. So try SSE: it works if a proxy blocks
    // WebSockets, and gives the reason otherwise.
    try {
      await this.#watchOver(overSse, sse_url, new Link(REQUEST_TIMEOUT_MS, 0, signal), assignment);
    } finally {
      const isSseAlone = triesWebSocket && this.state.name === "live";
      if (isSseAlone) this.#sseAloneUntilMs = performance.now() + WEBSOCKET_PAUSE_MS;
    }
  }

  async #watchOver(transport, address, link, assignment) {
    const url = new URL(address);
    url.searchParams.set("heartbeats", "1");
    url.searchParams.set("form", "compact");
    if (this.#progress.id) url.searchParams.set("last_event_id", this.#progress.id);
    try {
      return await transport(url, link, this.#bearer, (type, message) => this.#take(type, message, link, assignment));
    } catch (error) {
      const reason = link.isOver ? "the subscriber is silent" : "the subscriber is gone";
      const loss = error instanceof Loss ? error : new Loss(reason);
      loss.retryAfterMs ||= link.retryMs;
      throw loss;
    } finally {
      link.end();
    }
  }

  /** Process one message of the stream. @returns {boolean} whether to leave the stream */
  #take(type, message, link, { subscriber, cluster }) {
    if (this.state.name !== "live") this.#enter({ name: "live", subscriber, cluster });
    if (type === "hello") link.expectHeartbeatEvery(message.heartbeat_ms);
    if (["snapshot", "swarm", "reset", "end"].includes(type)) this.#deliver(type, message);
    // The server spreads its goodbyes over time, so the client need not wait before it connects again.
    if (message.reason === "expired") this.#bearer = null;
    else if (type === "goodbye") this.#exclude(subscriber);
    return type === "goodbye";
  }

  #deliver(type, received) {
    const message = type === "swarm" ? expand(received, this.totals) : received;
    const continuity = this.#progress.take(type, message);
    if (continuity === "next") {
      if (type !== "swarm") this.#counted.clear();
      this.#failures = 0;
      this.#excluded = [];
      this.#emit(type, message);
      if (type === "end") throw new Over("ended");
    } else if (continuity === "repeat") {
      this.repeats += 1;
      this.#emit("repeat", message);
    } else {
      this.gaps += 1;
      this.#emit("gap", message);
      throw new Loss("a swarm is missing");
    }
  }

  #exclude(subscriber) {
    const others = this.#excluded.filter((name) => name !== subscriber);
    this.#excluded = [...others, subscriber].slice(-MAX_EXCLUDED);
  }

  async #send(reactions) {
    let ingestUrl;
    try {
      ingestUrl = await this.#ingest();
    } catch (error) {
      return refused(error instanceof Over ? error.message : "the registry does not say where to send it");
    }
    for (let sends = 1; ; sends += 1) {
      let answer;
      try {
        answer = await this.#ask(`${ingestUrl}/reactions`, { post: reactions.length === 1 ? reactions[0] : reactions });
      } catch {
        return unknown("no answer came");
      }
      const record = answer.json?.record;
      if (answer.status === 202) return record ? { outcome: "accepted", reason: "", record } : unknown("the answer is not ingest's");
      if (answer.status === 422) return { ...refused(reasonOf(answer)), isInvalid: true };
      if (answer.status !== 503) return (answer.status < 500 ? refused : unknown)(reasonOf(answer));
      // Only 503 guarantees that nothing was accepted, so only then may it be sent again.
      if (sends === MAX_SENDS_OF_A_REACTION) return refused(reasonOf(answer));
      await sleep(Math.max(answer.retryAfterMs, MIN_RESEND_MS) * (1 + this.#random() / 2));
    }
  }

  /**
   * The address of the event at ingest. Rejects with Over if there cannot be such an event, and with another error if
   * the registry does not answer.
   */
  async #ingest() {
    if (!EVENT_ID.test(this.#event)) throw new Over("stopped", `There is no event ${this.#event}.`);
    const ingestUrl = this.#ingestUrl ?? (await this.config()).ingest_url;
    return this.#event === "main" ? `${ingestUrl}/v1` : `${ingestUrl}/v1/events/${this.#event}`;
  }

  async #getJson(url) {
    const answer = await ask(url);
    if (!answer.ok || !answer.json) throw new Error(reasonOf(answer));
    return answer.json;
  }

  /** Wait for the delay, or until the network is back. */
  #pause(delayMs, signal) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        globalThis.removeEventListener?.("online", done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, delayMs);
      globalThis.addEventListener?.("online", done);
      signal.addEventListener("abort", done);
    });
  }

  #enter(state) {
    this.state = { subscriber: "", cluster: "", reason: "", retryInMs: 0, ...state };
    this.#emit("state", this.state);
  }

  #emit(type, detail) {
    this.dispatchEvent(new StreamEvent(type, detail));
  }
}

/** The stream ended or never began. `retryAfterMs` is the wait that the server asked for, or 0 if it did not ask. */
class Loss extends Error {
  constructor(message, retryAfterMs = 0) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** There is nothing to connect to any more: the event has ended ("ended"), or there is no such event ("stopped"). */
class Over extends Loss {
  constructor(state, reason = "") {
    super(reason);
    this.state = state;
  }
}

/** Aborts its signal when its time is over or when another signal aborts. AbortSignal.any and .timeout are too new. */
class Deadline extends AbortController {
  #abort = () => this.abort();
  #outer;
  #timer = 0;
  /** Whether the time is over. */
  isOver = false;

  /** @param {number} delayMs  @param {?AbortSignal} outer */
  constructor(delayMs, outer = null) {
    super();
    this.#outer = outer;
    outer?.addEventListener("abort", this.#abort);
    if (outer?.aborted) this.abort();
    this.postpone(delayMs);
  }

  /** Move the deadline to `delayMs` from now. */
  postpone(delayMs) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.isOver = true;
      this.abort();
    }, delayMs);
  }

  /** Abort the signal and stop the timer. */
  end() {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#abort);
    this.abort();
  }
}

/** The time limits of one connection to a subscriber: its longest silence, and the wait after it is lost. */
class Link extends Deadline {
  #silenceMs = SILENCE_TIMEOUT_MS;
  retryMs;

  /** @param {number} startMs until the first message  @param {number} retryMs  @param {AbortSignal} outer */
  constructor(startMs, retryMs, outer) {
    super(startMs, outer);
    this.retryMs = retryMs;
  }

  /** Set the longest silence. It allows for one lost or late heartbeat, and for a slow network. */
  expectHeartbeatEvery(heartbeatMs) {
    this.#silenceMs = 2 * heartbeatMs + 1_000;
  }

  heard() {
    this.postpone(this.#silenceMs);
  }
}

/**
 * Read a stream over a WebSocket. `take(type, message)` gets each message, and returns whether to leave.
 * @returns {Promise<boolean>} false if the WebSocket never worked: it ended without a message and without a reason
 */
function overWebSocket(url, link, token, take) {
  return new Promise((resolve, reject) => {
    let socket;
    let hasSpoken = false;
    try {
      socket = new WebSocket(url, token ? ["emostream", token] : []);
    } catch {
      // A page over https may not open a WebSocket without TLS, and Node before 22 has none.
      resolve(false);
      return;
    }
    socket.onmessage = ({ data }) => {
      hasSpoken = true;
      try {
        const message = decoded(data);
        if (take(message.type, message)) resolve(true);
        else link.heard();
      } catch (error) {
        reject(error);
      }
    };
    socket.onclose = ({ code, reason }) => {
      if (code === CLOSE_ENDED) reject(new Over("ended"));
      else if (reason) reject(new Loss(reason));
      else if (hasSpoken) reject(new Error("closed"));
      else resolve(false);
    };
    link.signal.addEventListener("abort", () => {
      socket.close();
      if (hasSpoken) reject(new Error("aborted"));
      else resolve(false);
    });
  });
}

/** Read a stream of server-sent events. `take(type, message)` gets each message, and returns whether to leave. */
async function overSse(url, link, token, take) {
  const response = await fetch(url, { cache: "no-store", signal: link.signal, headers: authorization(token) });
  if (response.status === 204) throw new Over("ended");
  if (!response.ok) {
    const answer = await wholeAnswer(response);
    throw new Loss(reasonOf(answer), answer.retryAfterMs);
  }
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const parser = new EventStreamParser();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    const events = parser.push(decoder.decode(piece.value, { stream: true }));
    link.retryMs = parser.retryMs;
    for (const { type, data } of events) if (take(type, decoded(data))) return;
    link.heard();
  }
  throw new Error("ended");
}

/** The JSON of a message. Throws a Loss if it is none. */
function decoded(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw new Loss(NO_MESSAGE);
  }
}

const isWhole = ({ id, sequence, totals }) =>
  /^.+-\d{1,18}$/s.test(id) && Number.isInteger(sequence) && typeof totals === "object" && totals !== null;

const refused = (reason) => ({ outcome: "refused", reason, record: null });
const unknown = (reason) => ({ outcome: "unknown", reason, record: null });

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const streamOf = (id) => id.slice(0, id.lastIndexOf("-"));

/**
 * @typedef {{ok: boolean, status: number, json: ?object, retryAfterMs: number}} Answer
 *   `json` is null if the body is not JSON; `retryAfterMs` is 0 if the server named no time
 */

/** Send a GET, or a POST with `post` as JSON. Rejects if no answer comes in time. @returns {Promise<Answer>} */
async function ask(url, { post, signal, token } = {}) {
  const deadline = new Deadline(REQUEST_TIMEOUT_MS, signal);
  const headers = authorization(token);
  if (post) headers["Content-Type"] = "application/json";
  const options = post ? { method: "POST", body: JSON.stringify(post) } : {};
  try {
    return await wholeAnswer(await fetch(url, { ...options, headers, signal: deadline.signal }));
  } finally {
    deadline.end();
  }
}

const authorization = (token) => (token ? { Authorization: `Bearer ${token}` } : {});

async function wholeAnswer(response) {
  const { ok, status, headers } = response;
  const json = await response.json().catch(() => null);
  const retryAfter = headers.get("Retry-After") ?? "";
  return { ok, status, json, retryAfterMs: /^\d{1,9}$/.test(retryAfter) ? Number(retryAfter) * 1000 : 0 };
}

/** The explanation in a problem+json answer, or a sentence with the status if there is none. */
const reasonOf = ({ status, json }) => json?.detail ?? json?.title ?? `the answer was ${status}`;
