/** The servers of a case of clients/cases.json, and a clock that stands still until a case moves it. */

import assert from "node:assert/strict";

const real = { fetch: globalThis.fetch, WebSocket: globalThis.WebSocket, setTimeout, clearTimeout };
// What a client does without waiting takes few turns of the event loop.
const MAX_TURNS = 1_000;

const turn = () => new Promise((resolve) => setImmediate(resolve));

export class Servers {
  #case;
  #transport;
  #steps;
  #timers = new Map();
  #nowMs = 0;
  #names = 0;
  #faults = [];

  constructor(each, transport) {
    this.#case = each;
    this.#transport = transport;
    this.#steps = [...each.steps];
    const servers = this;
    globalThis.fetch = async (url, options = {}) => this.#guarded(() => this.#answer(new URL(url), options));
    globalThis.WebSocket = class {
      constructor(url) {
        queueMicrotask(() => servers.#guarded(() => servers.#serve(this, new URL(url))));
      }
      close() {}
    };
    globalThis.setTimeout = (run, ms = 0) => {
      this.#names += 1;
      this.#timers.set(this.#names, { run, at: this.#nowMs + ms });
      return this.#names;
    };
    globalThis.clearTimeout = (name) => this.#timers.delete(name);
  }

  close() {
    Object.assign(globalThis, real);
  }

  /** Play all steps of the case. */
  async playFor(stream) {
    while (this.#steps.length > 0) {
      const [step] = this.#steps;
      if ("waits_ms" in step) await this.#expectWait(stream, this.#steps.shift());
      else if ("silent_for_ms" in step) await this.#beSilent(stream, this.#steps.shift().silent_for_ms);
      else await this.#until(() => this.#steps[0] !== step, `the client does not do what ${JSON.stringify(step)} says`);
    }
    await this.#until(() => stream.state.name === this.#case.ends, `it is ${this.#case.ends}`);
    // It does nothing more by itself.
    for (let turns = 0; turns < 20; turns += 1) await turn();
    assert.deepEqual(this.#faults, []);
  }

  /** The result of a promise that may need time to pass. */
  async waitFor(promise) {
    let isDone = false;
    promise.finally(() => (isDone = true));
    for (let turns = 0; !isDone && turns < MAX_TURNS; turns += 1) {
      await turn();
      await this.#advance(1_000);
    }
    return promise;
  }

  async #expectWait(stream, { waits_ms, because }) {
    await this.#until(() => stream.state.name === "waiting", `it waits because ${because}`);
    const { reason, retryInMs } = stream.state;
    assert.ok(reason.startsWith(because), `${reason} and not ${because}`);
    assert.ok(Math.abs(retryInMs - waits_ms) < 1e-6, `it waits ${retryInMs} ms and not ${waits_ms}`);
    await this.#advance(retryInMs);
  }

  async #beSilent(stream, ms) {
    for (let turns = 0; turns < 20; turns += 1) await turn();
    const before = stream.state.name;
    await this.#advance(ms - 1);
    assert.equal(stream.state.name, before, "it gives up too soon");
    await this.#advance(1);
  }

  async #advance(ms) {
    this.#nowMs += ms;
    for (const [name, { run, at }] of [...this.#timers]) if (at <= this.#nowMs && this.#timers.delete(name)) run();
    await turn();
  }

  async #until(isSo, what) {
    for (let turns = 0; !isSo(); turns += 1) {
      if (turns > MAX_TURNS || this.#faults.length > 0) assert.fail(`${what}; ${this.#faults.join("; ")}`);
      await turn();
    }
  }

  async #guarded(act) {
    try {
      return await act();
    } catch (error) {
      if (error instanceof assert.AssertionError) this.#faults.push(error.message);
      throw error;
    }
  }

  #answer(url, { body, signal }) {
    const told = body ? JSON.parse(body) : null;
    if (url.pathname.endsWith("/reactions")) {
      this.#case.onReaction(told);
      return answerOf(this.#case.reaction);
    }
    return url.pathname.endsWith("/assignments") ? this.#assign(told) : this.#stream(url, signal);
  }

  #next(kind) {
    const step = this.#steps[0] ?? {};
    assert.ok(kind in step, `the client ${kind}, and not ${JSON.stringify(step)}`);
    return this.#steps.shift();
  }

  #assign({ user_id, event, exclude }) {
    const step = this.#next("asks");
    assert.deepEqual([user_id, event, exclude], ["u1", this.#case.event ?? "main", step.asks]);
    if ("status" in step) return answerOf(step);
    const name = this.#steps[0].opens;
    const ws_url = this.#transport === "ws" ? `ws://${name}/v1/ws` : undefined;
    return new Response(
      JSON.stringify({ subscriber: name, cluster: "c", sse_url: `http://${name}/v1/stream`, ws_url }),
    );
  }

  #opened(url) {
    const step = this.#next("opens");
    assert.deepEqual([url.hostname, url.searchParams.get("last_event_id")], [step.opens, step.resume]);
    assert.deepEqual([url.searchParams.get("heartbeats"), url.searchParams.get("form")], ["1", "compact"]);
    return step;
  }

  #stream(url, signal) {
    const step = this.#opened(url);
    const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
    if (step.status === null) return aborted;
    aborted.catch(() => {});
    if (step.status) return answerOf(step);
    const retry = step.retry_ms === undefined ? "" : `retry: ${step.retry_ms}\n\n`;
    const text = retry + step.messages.map(sseOf).join("");
    return new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode(text));
          if (step.then === "open") aborted.catch((error) => controller.error(error));
          else controller.close();
        },
      }),
    );
  }

  #serve(socket, url) {
    const { messages, then } = this.#opened(url);
    for (const told of messages) socket.onmessage({ data: jsonOf(told) });
    if (then !== "open") socket.onclose({ code: then?.closes ?? 1006, reason: then?.reason ?? "" });
  }
}

function answerOf({ status, body = "", retry_after }) {
  if (status === null) throw new TypeError("fetch failed");
  const headers = retry_after === undefined ? {} : { "Retry-After": retry_after };
  return new Response(status === 204 ? null : typeof body === "string" ? body : JSON.stringify(body), {
    status,
    headers,
  });
}

function sseOf(told) {
  const json = jsonOf(told);
  const type = /"type":"(\w+)"/.exec(json)[1];
  return `event: ${type}\ndata: ${json}\n\n`;
}

function jsonOf(told) {
  if (told.raw) return told.raw;
  const [[type, value]] = Object.entries(told);
  if (type === "compact") {
    return JSON.stringify({ type: "swarm", id: value, window: { start: 0, end: 1 }, counts: told.counts });
  }
  if (type === "hello") return JSON.stringify({ type, heartbeat_ms: value });
  if (type === "heartbeat") return JSON.stringify({ type });
  if (type === "goodbye") return JSON.stringify({ type, reason: value });
  return JSON.stringify({ type, id: value, sequence: Number(value.split("-")[1]), totals: told.totals });
}
