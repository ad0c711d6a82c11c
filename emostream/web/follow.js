/** Follows one reaction, and shows as a bar how long each hop took between the tap and its arrival. */

const HOPS = [
  ["ingest", "to ingest, and into a group"],
  ["kafka", "Kafka writes it down and confirms"],
  ["trigger", "waiting for the next micro-batch"],
  ["spark", "Spark counts the batch"],
  ["relay", "the publisher relays the swarm"],
  ["subscriber", "the subscriber reads it"],
  ["browser", "to this page"],
];

/**
 * Split the way of a reaction into its hops. Each hop begins where the one before ends, so their sum is the total time.
 *
 * All times are in ms since the epoch. The servers' clocks agree with each other, but may differ from this device's
 * clock. So all server times are shifted by the same amount: the smallest one that puts Kafka's timestamp of the record
 * between the tap and the answer.
 *
 * @param {{tappedAt: number, answeredAt: number, seenAt: number}} here           by this device's clock
 * @param {{recorded: number, window_end: number, swarms_timestamp: number, cluster_timestamp: number,
 *          received_timestamp: number}} there                                    by the servers' clock
 * @returns {{name: string, what: string, ms: number}[]}
 */
export function splitIntoHops({ tappedAt, answeredAt, seenAt }, there) {
  const shift = clamp(there.recorded, tappedAt, answeredAt) - there.recorded;
  const ends = [
    there.recorded + shift,
    answeredAt,
    there.window_end + shift,
    there.swarms_timestamp + shift,
    there.cluster_timestamp + shift,
    there.received_timestamp + shift,
    seenAt,
  ];
  let start = tappedAt;
  return HOPS.map(([name, what], index) => {
    // Hops may overlap: a batch may begin before Kafka's answer is back. Then the later hop takes no time.
    const end = clamp(ends[index], start, seenAt);
    const hop = { name, what, ms: end - start };
    start = end;
    return hop;
  });
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** The button, the bar and the list of hops. */
export class FollowOne {
  #stream;
  #own;
  #elements;
  #isFollowing = false;

  /**
   * @param {import("./emostream.js").EmoStream} stream
   * @param {import("./own.js").OwnReactions} own   knows when each swarm arrived
   * @param {{button: Element, status: Element, bar: Element, list: Element}} elements
   */
  constructor(stream, own, elements) {
    this.#stream = stream;
    this.#own = own;
    this.#elements = elements;
  }

  /** Send one reaction and show its way. @returns {Promise<?object[]>} the hops, or null if it could not be followed */
  async follow(emoji) {
    if (this.#isFollowing) return null;
    this.#isFollowing = true;
    this.#elements.button.disabled = true;
    try {
      return await this.#followNow(emoji);
    } finally {
      this.#isFollowing = false;
      this.#elements.button.disabled = false;
    }
  }

  async #followNow(emoji) {
    const tappedAt = epochMs();
    this.#say(`${emoji} is on its way to ingest …`);
    const { outcome, reason, record } = await this.#stream.react(emoji);
    const answeredAt = epochMs();
    if (outcome !== "accepted") return this.#giveUp(`${emoji} was not followed: ${reason}`);
    this.#say(`${emoji} is in Kafka, partition ${record.partition}, offset ${record.offset}. Waiting for its swarm …`);
    const found = await this.#whenSeen(record);
    if (!found) return this.#giveUp(`${emoji} is safe in Kafka, but its swarm is late`);
    const hops = splitIntoHops(
      { tappedAt, answeredAt, seenAt: found.seenAt },
      { recorded: record.timestamp, ...found.trace },
    );
    this.#show(emoji, found.trace.sequence, hops);
    return hops;
  }

  /** Wait for the swarm that counts the record, for up to a minute. Ask for the trace after each swarm that arrives. */
  async #whenSeen(record) {
    const deadline = performance.now() + 60_000;
    while (performance.now() < deadline) {
      const arrived = nextEvent(this.#stream, "swarm", deadline - performance.now());
      const trace = await this.#stream.trace(record);
      const seenAt = this.#own.arrivalOf(trace?.sequence);
      if (seenAt !== undefined) return { trace, seenAt: performance.timeOrigin + seenAt };
      await arrived;
    }
    return null;
  }

  #show(emoji, sequence, hops) {
    const total = hops.reduce((sum, { ms }) => sum + ms, 0);
    this.#say(`${emoji} was seen after ${seconds(total)}, in swarm ${sequence}:`);
    const { bar, list } = this.#elements;
    bar.replaceChildren(...hops.map(({ name, ms }) => newSegment(name, ms / total)));
    list.replaceChildren(...hops.map(newHop));
    list.dataset.totalMs = total;
  }

  #giveUp(reason) {
    this.#say(reason);
    return null;
  }

  #say(text) {
    this.#elements.status.textContent = text;
  }
}

const epochMs = () => performance.timeOrigin + performance.now();

const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;

function nextEvent(target, type, timeoutMs) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, timeoutMs);
    const settle = () => {
      clearTimeout(timer);
      resolve();
    };
    target.addEventListener(type, settle, { once: true });
  });
}

function newSegment(name, share) {
  const segment = document.createElement("span");
  segment.dataset.hop = name;
  segment.style.flexGrow = share;
  return segment;
}

function newHop({ name, what, ms }) {
  const item = document.createElement("li");
  item.dataset.hop = name;
  item.dataset.ms = ms;
  const duration = document.createElement("b");
  duration.textContent = `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  item.append(duration, ` ${what}`);
  return item;
}
