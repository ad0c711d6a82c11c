/**
 * EmoStream in a browser: sends reactions, and watches the swarms without a gap or a repeat.
 *
 * It watches over a WebSocket, of which a browser allows many. Over HTTP/1.1 a browser allows six connections to a server,
 * so the seventh tab would wait for ever. Server-sent events (SSE) are used where no WebSocket can be opened.
 *
 * It needs Safari 15, Firefox 100 or a Chromium of their time.
 *
 * One module without dependencies, for any page (example.html is a whole one):
 *
 *     import { EmoStream } from "http://localhost:8001/static/emostream.js";
 *
 *     const stream = new EmoStream({ registryUrl: "http://localhost:8001" });
 *     stream.addEventListener("swarm", ({ detail }) => console.log(detail.counts));
 *     stream.start();
 *     const { outcome } = await stream.react("🔥");
 *
 * Events, each with its message as `detail`:
 *
 *   snapshot  {Totals message}  the first message: what was counted before we came
 *   swarm     {Swarm}           one for each micro-batch, in order, each once
 *   reset     {Totals message}  swarms were missed for good: forget the past, go on from these totals
 *   state     {State}           the connection's state has changed
 *   repeat    {Swarm}           a swarm came again; it was dropped
 *   gap       {Swarm}           a swarm was missing before this one; the stream is resumed from the last one seen
 *
 * After each of the first three, `stream.totals` holds every emoji's total.
 *
 * @typedef {Object<string, number>} Counts           emoji → number
 * @typedef {{id: string, sequence: number, totals: Counts}} TotalsMessage
 * @typedef {{id: string, sequence: number, window: {start: number, end: number}, reactions: number,
 *            counts: Counts, swarm: Counts, totals: Counts}} Swarm   times in ms since the epoch
 * @typedef {{name: "connecting"|"live"|"waiting"|"stopped", subscriber: string, cluster: string, reason: string,
 *            retryInMs: number}} State               `retryInMs` is set while waiting
 * @typedef {{partition: number, offset: number, timestamp: number}} KafkaRecord
 * @typedef {{sequence: number, window_end: number, swarms_timestamp: number, cluster_timestamp: number,
 *            received_timestamp: number, counted: Object<string, number>}} Trace   times in ms since the epoch
 * @typedef {{outcome: "accepted"|"refused"|"unknown", reason: string, record: ?KafkaRecord}} Outcome
 */

const REQUEST_TIMEOUT_MS = 10_000;
// A proxy that stops WebSockets may do it by silence.
const WEBSOCKET_START_TIMEOUT_MS = 5_000;
// Where SSE works and a WebSocket does not, SSE is used alone for this long.
const WEBSOCKET_PAUSE_MS = 600_000;
// A stream this silent is dead, although nobody has closed it. A subscriber that says how often it sends a heartbeat
// is given up much sooner: see `Link`.
const SILENCE_TIMEOUT_MS = 45_000;
// The mean pause after a WebSocket is lost. SSE has the server's `retry:` for it.
const LOST_RETRY_MS = 2_000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 15_000;
// Past this many reactions without an answer, a further one is refused at once.
const MAX_REACTIONS_IN_FLIGHT = 32;
const MAX_SENDS_OF_A_REACTION = 4;
const MIN_RESEND_MS = 500;
// Past this many, the subscriber that failed first is forgiven.
const MAX_EXCLUDED = 8;

/** Incremental parser of server-sent events: text in any pieces in, whole events out. */
export class EventStreamParser {
  #rest = "";
  #event = { type: "message", data: "" };
  /** The server's last `retry:`, in ms: how long to wait before connecting again. */
  retryMs = 0;

  /** @returns {{type: string, data: string}[]} the events that this piece completes */
  push(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    return lines.map((line) => this.#takeLine(line.replace(/\r$/, ""))).filter((event) => event !== null);
  }

  #takeLine(line) {
    if (line === "") {
      const event = this.#event;
      this.#event = { type: "message", data: "" };
      return event.data ? event : null;
    }
    const [, field, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    if (field === "event") this.#event.type = value;
    if (field === "data") this.#event.data += (this.#event.data && "\n") + value;
    if (field === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    return null;
  }
}

/** What a viewer has seen, and whether the next message fits to it. */
export class Progress {
  id = "";
  sequence = -1;
  /** @type {Counts} */
  totals = {};

  /** Take a message in. @returns {"next"|"repeat"|"gap"} a repeat or a gap leaves everything as it was. */
  take(type, message) {
    if (type === "swarm") {
      const isSameStream = streamOf(message.id) === streamOf(this.id);
      if (isSameStream && message.sequence <= this.sequence) return "repeat";
      if (!isSameStream || message.sequence !== this.sequence + 1) return "gap";
      Object.assign(this.totals, message.totals);
    } else {
      this.totals = { ...message.totals };
    }
    this.id = message.id;
    this.sequence = message.sequence;
    return "next";
  }
}

/**
 * Full jitter: any delay up to a bound that doubles with each failure in a row, so that viewers lose their step.
 * `failures` is 1 after the first one.
 */
export function backoffMs(failures, random = Math.random) {
  return random() * Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** (failures - 1));
}

export class EmoStream extends EventTarget {
  #registryUrl;
  #ingestUrl;
  #userId;
  #random;
  #progress = new Progress();
  #excluded = [];
  #failures = 0;
  #head = { sequence: -1, counted: null };
  #running = null;
  #assignment = null;
  #config = null;
  #sseAloneUntilMs = 0;
  #reactionsInFlight = 0;
  /** How often a swarm came twice, or one was missing: both stay 0 unless a server is broken. */
  repeats = 0;
  gaps = 0;
  /** @type {State} */
  state = { name: "stopped", subscriber: "", cluster: "", reason: "", retryInMs: 0 };

  /**
   * @param {{registryUrl?: string, ingestUrl?: string, userId?: string, random?: () => number}} options
   *   The URLs are of the page's own server where they are left out; `userId` is a random one, 1 to 64 characters.
   */
  constructor({ registryUrl = "", ingestUrl, userId, random = Math.random } = {}) {
    super();
    this.#registryUrl = registryUrl;
    this.#ingestUrl = ingestUrl;
    this.#userId = userId ?? `web-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
    this.#random = random;
  }

  /** Every emoji's total as of the last message. */
  get totals() {
    return this.#progress.totals;
  }

  /** The sequence of the last message; -1 before the first. */
  get sequence() {
    return this.#progress.sequence;
  }

  /** Connect, and stay connected until `stop()`. */
  start() {
    if (this.#running) return;
    this.#running = new AbortController();
    this.#run(this.#running.signal);
  }

  /** Leave. A later `start()` goes on where this ended. */
  stop() {
    this.#running?.abort();
    this.#running = null;
    this.#enter({ name: "stopped" });
  }

  /** The emoji that may be sent. Rejects when ingest does not answer. @returns {Promise<string[]>} */
  async palette() {
    return (await this.#getJson(`${await this.#ingest()}/v1/palette`)).emoji;
  }

  /**
   * Send one reaction. Never rejects: a refusal has a reason, and an outcome that nobody knows is told as such; sending
   * that one again could count it twice.
   * @returns {Promise<Outcome>}
   */
  async react(emoji) {
    if (this.#reactionsInFlight >= MAX_REACTIONS_IN_FLIGHT) return refused("too many reactions are on their way");
    this.#reactionsInFlight += 1;
    try {
      return await this.#send({ user_id: this.#userId, emoji_type: emoji, timestamp: Date.now() });
    } finally {
      this.#reactionsInFlight -= 1;
    }
  }

  /**
   * Which swarm counted this record, and when it passed each hop; null while no swarm has (ask again after the next one),
   * and while there is no subscriber to ask.
   * @param {KafkaRecord} record of an accepted reaction
   * @returns {Promise<?Trace>}
   */
  async trace({ partition, offset }) {
    const counted = await this.#countedByHead();
    const isCounted = offset < (counted?.[partition] ?? 0);
    return isCounted ? this.#askTrace(`partition=${partition}&offset=${offset}`) : null;
  }

  /**
   * What the registry tells clients, as GET /v1/config does. Rejects when the registry is away.
   * @returns {Promise<{ingest_url: string, live_topology: boolean}>}
   */
  async config() {
    this.#config ??= await this.#getJson(`${this.#registryUrl}/v1/config`);
    return this.#config;
  }

  /** Every process with its state and figures now, as GET /v1/topology/live tells. Rejects when the registry is away. */
  topology() {
    return this.#getJson(`${this.#registryUrl}/v1/topology/live`);
  }

  async #askTrace(query) {
    if (!this.#assignment) return null;
    const answer = await ask(new URL(`trace?${query}`, this.#assignment.sse_url)).catch(() => null);
    return answer?.ok ? answer.json : null;
  }

  /** By partition, the offset up to which the newest swarm has counted; asked for once a swarm. */
  #countedByHead() {
    const { sequence } = this;
    if (this.#head.sequence !== sequence) {
      const counted = this.#askTrace(`sequence=${sequence}`).then((trace) => trace?.counted);
      this.#head = { sequence, counted };
    }
    return this.#head.counted;
  }

  async #run(signal) {
    while (!signal.aborted) {
      try {
        await this.#connectOnce(signal);
      } catch (error) {
        if (signal.aborted) return;
        await this.#pauseAfter(error, signal);
      }
    }
  }

  #pauseAfter({ message, retryAfterMs = 0 }, signal) {
    this.#failures += 1;
    // What the server wished for is stretched by up to a half: many may have been told the same.
    const wishedMs = retryAfterMs * (1 + this.#random() / 2);
    const retryInMs = Math.max(wishedMs, backoffMs(this.#failures, this.#random));
    this.#enter({ name: "waiting", reason: message, retryInMs });
    return this.#pause(retryInMs, signal);
  }

  /** Ask the registry, then watch until the stream ends: by a goodbye (returns), or by a Loss. */
  async #connectOnce(signal) {
    this.#enter({ name: "connecting", reason: this.state.reason });
    this.#assignment = await this.#assign(signal);
    try {
      await this.#watch(this.#assignment, signal);
    } catch (error) {
      this.#exclude(this.#assignment.subscriber);
      throw error;
    } finally {
      this.#assignment = null;
    }
  }

  async #assign(signal) {
    const wish = { user_id: this.#userId, exclude: this.#excluded };
    const answer = await ask(`${this.#registryUrl}/v1/assignments`, { post: wish, signal }).catch(() => {
      throw new Loss("the registry does not answer");
    });
    if (answer.ok && answer.json) return answer.json;
    // Perhaps nobody is left but those that have failed us.
    this.#excluded = [];
    throw new Loss(reasonOf(answer), answer.retryAfterMs);
  }

  /** Watch until the subscriber says goodbye. Rejects with a Loss where the stream ends in another way. */
  async #watch(assignment, signal) {
    const { sse_url, ws_url } = assignment;
    const triesWebSocket = Boolean(ws_url) && performance.now() >= this.#sseAloneUntilMs;
    if (triesWebSocket) {
      const retryMs = LOST_RETRY_MS * (0.5 + this.#random());
      const link = new Link(WEBSOCKET_START_TIMEOUT_MS, retryMs, signal);
      if (await this.#watchOver(overWebSocket, ws_url, link, assignment)) return;
    }
    // JavaScript is not told why a WebSocket was refused. SSE tells the reason, or works where a proxy stops WebSockets.
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
    if (this.#progress.id) url.searchParams.set("last_event_id", this.#progress.id);
    try {
      return await transport(url, link, (type, message) => this.#take(type, message, link, assignment));
    } catch (error) {
      const reason = link.isOver ? "the subscriber is silent" : "the subscriber is gone";
      const loss = error instanceof Loss ? error : new Loss(reason);
      loss.retryAfterMs ||= link.retryMs;
      throw loss;
    } finally {
      link.end();
    }
  }

  /** Take one message of the stream. @returns {boolean} whether to leave the stream */
  #take(type, message, link, { subscriber, cluster }) {
    if (this.state.name !== "live") this.#enter({ name: "live", subscriber, cluster });
    if (type === "hello") link.expectHeartbeatEvery(message.heartbeat_ms);
    if (["snapshot", "swarm", "reset"].includes(type)) this.#deliver(type, message);
    // Goodbyes are spread over time by the server, so we need not wait as well.
    if (type === "goodbye") this.#exclude(subscriber);
    return type === "goodbye";
  }

  #deliver(type, message) {
    const verdict = this.#progress.take(type, message);
    if (verdict === "next") {
      this.#failures = 0;
      this.#excluded = [];
      this.#emit(type, message);
    } else if (verdict === "repeat") {
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

  async #send(reaction) {
    const ingestUrl = await this.#ingest().catch(() => null);
    if (ingestUrl === null) return refused("the registry does not say where to send it");
    for (let sends = 1; ; sends += 1) {
      let answer;
      try {
        answer = await ask(`${ingestUrl}/v1/reactions`, { post: reaction });
      } catch {
        return unknown("no answer came");
      }
      if (answer.status === 202) return accepted(answer.json ?? {});
      if (answer.status !== 503) return (answer.status < 500 ? refused : unknown)(reasonOf(answer));
      // 503 alone says for certain that it was not taken, so it alone may be sent again.
      if (sends === MAX_SENDS_OF_A_REACTION) return refused(reasonOf(answer));
      await sleep(Math.max(answer.retryAfterMs, MIN_RESEND_MS) * (1 + this.#random() / 2));
    }
  }

  async #ingest() {
    return this.#ingestUrl ?? (await this.config()).ingest_url;
  }

  async #getJson(url) {
    const answer = await ask(url);
    if (!answer.ok || !answer.json) throw new Error(reasonOf(answer));
    return answer.json;
  }

  /** Wait, but no longer than until the network is back. */
  #pause(delayMs, signal) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        removeEventListener("online", done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, delayMs);
      addEventListener("online", done);
      signal.addEventListener("abort", done);
    });
  }

  #enter(state) {
    this.state = { subscriber: "", cluster: "", reason: "", retryInMs: 0, ...state };
    this.#emit("state", this.state);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** The stream ended, or never began; `retryAfterMs` is what the server wished for, 0 where it told nothing. */
class Loss extends Error {
  constructor(message, retryAfterMs = 0) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** Aborts its signal when its time is over, and when another signal aborts. (AbortSignal.any and .timeout are too new.) */
class Deadline {
  #controller = new AbortController();
  #abort = () => this.#controller.abort();
  #outer;
  #timer = 0;
  /** Whether the time is over. */
  isOver = false;

  /** @param {number} delayMs  @param {?AbortSignal} outer */
  constructor(delayMs, outer = null) {
    this.#outer = outer;
    outer?.addEventListener("abort", this.#abort);
    if (outer?.aborted) this.#abort();
    this.postpone(delayMs);
  }

  get signal() {
    return this.#controller.signal;
  }

  /** The time is over `delayMs` from now. */
  postpone(delayMs) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.isOver = true;
      this.#abort();
    }, delayMs);
  }

  /** Abort what is left. */
  end() {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#abort);
    this.#abort();
  }
}

/** One connection to a subscriber: how long it may be silent, and how long to stay away after it is lost. */
class Link extends Deadline {
  #silenceMs = SILENCE_TIMEOUT_MS;
  retryMs;

  /** @param {number} startMs until the first message  @param {number} retryMs  @param {AbortSignal} outer */
  constructor(startMs, retryMs, outer) {
    super(startMs, outer);
    this.retryMs = retryMs;
  }

  /** One heartbeat may be lost or late, and the network takes its time. */
  expectHeartbeatEvery(heartbeatMs) {
    this.#silenceMs = 2 * heartbeatMs + 2_000;
  }

  heard() {
    this.postpone(this.#silenceMs);
  }
}

/**
 * A stream over a WebSocket. `take(type, message)` gets each message, and says whether to leave.
 * @returns {Promise<boolean>} false where it never worked: it ended without a message and without a reason
 */
function overWebSocket(url, link, take) {
  return new Promise((resolve, reject) => {
    let socket;
    let hasSpoken = false;
    try {
      socket = new WebSocket(url);
    } catch {
      resolve(false); // a page over https may not open a WebSocket without TLS
      return;
    }
    socket.onmessage = ({ data }) => {
      hasSpoken = true;
      try {
        const message = JSON.parse(data);
        if (take(message.type, message)) resolve(true);
        else link.heard();
      } catch (error) {
        reject(error);
      }
    };
    socket.onclose = ({ reason }) => {
      if (reason) reject(new Loss(reason));
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

/** A stream of server-sent events. `take(type, message)` gets each message, and says whether to leave. */
async function overSse(url, link, take) {
  const response = await fetch(url, { cache: "no-store", signal: link.signal });
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
    for (const { type, data } of events) if (take(type, JSON.parse(data))) return;
    link.heard();
  }
  throw new Error("ended");
}

const accepted = ({ record = null }) => ({ outcome: "accepted", reason: "", record });
const refused = (reason) => ({ outcome: "refused", reason, record: null });
const unknown = (reason) => ({ outcome: "unknown", reason, record: null });

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const streamOf = (id) => id.slice(0, id.lastIndexOf("-"));

/**
 * @typedef {{ok: boolean, status: number, json: ?object, retryAfterMs: number}} Answer
 *   `json` is null where the body is no JSON; `retryAfterMs` is 0 where the server named no time
 */

/** Send a request: a GET, or a POST of `post` as JSON. Rejects when no answer comes in time. @returns {Promise<Answer>} */
async function ask(url, { post, signal } = {}) {
  const deadline = new Deadline(REQUEST_TIMEOUT_MS, signal);
  const headers = { "Content-Type": "application/json" };
  const options = post ? { method: "POST", headers, body: JSON.stringify(post) } : {};
  try {
    return await wholeAnswer(await fetch(url, { ...options, signal: deadline.signal }));
  } finally {
    deadline.end();
  }
}

async function wholeAnswer(response) {
  const { ok, status, headers } = response;
  const json = await response.json().catch(() => null);
  return { ok, status, json, retryAfterMs: (Number(headers.get("Retry-After")) || 0) * 1000 };
}

/** The sentence of a problem+json answer. */
const reasonOf = ({ status, json }) => json?.detail ?? json?.title ?? `the answer was ${status}`;
