/** Draws the pipeline: boxes for processes and topics, and animated lines between them that show the rate of events. */

const SVG = "http://www.w3.org/2000/svg";
const BOX_HEIGHT = 34;
const ROW = 41;
const CLUSTER_GAP = 10;
const TRAVEL_MS = 5_000;
// Even a hop of one millisecond must be visible.
const MIN_HOP_SHARE = 0.06;

/** The arrangement for wide screens: from left to right, and a cluster is a block of rows. */
const WIDE = {
  boxWidths: { viewers: 84, log: 104, subscriber: 168, other: 124 },
  // The gaps before ingest and the aggregator leave room for a rate.
  depths: { viewers: 52, ingest: 234, reactions: 378, aggregator: 570, swarms: 730, publisher: 890, subscriber: 1_086 },
  size: (sizes) => ({ width: 1_180, height: Math.max(300, blocksHeight(sizes) + 24) }),
  spot(kind, across, { height }) {
    return { x: this.depths[kind], y: height / 2 + across * ROW };
  },
  cluster(index, sizes, { height }) {
    const top = height / 2 - blocksHeight(sizes) / 2 + blocksHeight(sizes.slice(0, index)) + (index && CLUSTER_GAP);
    const middle = top + (sizes[index] * ROW) / 2;
    return {
      publisher: (across) => ({ x: this.depths.publisher, y: middle + across * ROW }),
      subscriber: (place) => ({ x: this.depths.subscriber, y: top + (place + 0.5) * ROW }),
    };
  },
  beside: (place, { height }) => ({ x: 234 + place * 336, y: height - 26 }),
};

/** The arrangement for phones: from top to bottom, and a cluster is a column. */
const COLUMN = 121;
const TALL = {
  boxWidths: { viewers: 84, log: 104, subscriber: 116, other: 116 },
  depths: { viewers: 22, ingest: 94, reactions: 166, aggregator: 238, swarms: 310, publisher: 382, subscriber: 448 },
  size(sizes) {
    const height = this.depths.subscriber + Math.max(1, ...sizes) * ROW - 18;
    return { width: Math.max(3, sizes.length) * COLUMN, height };
  },
  spot(kind, across, { width }) {
    return { x: width / 2 + across * COLUMN, y: this.depths[kind] };
  },
  cluster(index, sizes, { width }) {
    const x = width / 2 + (index - (sizes.length - 1) / 2) * COLUMN;
    return {
      publisher: (across) => ({ x, y: this.depths.publisher + across * 6 }),
      subscriber: (place) => ({ x, y: this.depths.subscriber + place * ROW }),
    };
  },
  beside: (place, { width }) => ({ x: width / 2 + COLUMN, y: 22 + place * ROW }),
};

function blocksHeight(sizes) {
  return sizes.reduce((sum, size) => sum + size * ROW, 0) + Math.max(0, sizes.length - 1) * CLUSTER_GAP;
}

/**
 * Compute the positions of all boxes and lines. Their keys stay the same from one layout to the next. Pure.
 * @param {import("./topology.js").Process[]} processes
 * @param {boolean} isZooKeeperAway
 * @param {boolean} isWide
 */
export function layOut(processes, isZooKeeperAway, isWide) {
  const arrangement = isWide ? WIDE : TALL;
  const of = (tier) => processes.filter((process) => process.tier === tier);
  const clusters = [...new Set([...of("publisher"), ...of("subscriber")].map(({ cluster }) => cluster))].sort();
  const members = (tier, cluster) => of(tier).filter((process) => process.cluster === cluster);
  const sizes = clusters.map((cluster) => Math.max(1, members("subscriber", cluster).length));
  const size = arrangement.size(sizes);
  const boxes = new Map();
  const lines = new Map();

  const put = (key, kind, spot, title, figure, more = {}) => {
    const width = arrangement.boxWidths[kind] ?? arrangement.boxWidths.other;
    boxes.set(key, { kind, ...spot, width, title, figure, load: 0, process: null, ...more });
  };
  const join = (from, to, perSecond, isTold = true) =>
    lines.set(`${from} ${to}`, { from: boxes.get(from), to: boxes.get(to), perSecond, isTold, isWide });
  const putAll = (tier, figureOf) => {
    for (const [index, process] of of(tier).entries()) {
      const across = index - (of(tier).length - 1) / 2;
      put(keyOf(process), tier, arrangement.spot(tier, across, size), tier, figureOf(process), { process });
    }
  };

  put("viewers", "viewers", arrangement.spot("viewers", 0, size), "viewers", amount(sum(of("subscriber"), "clients")));
  putAll("ingest", () => "Flask");
  put("reactions", "log", arrangement.spot("reactions", 0, size), "reactions", "Kafka");
  putAll("aggregator", ({ leader }) => (leader ? "Spark" : "standby"));
  put("swarms", "log", arrangement.spot("swarms", 0, size), "swarms", "Kafka");
  for (const process of of("ingest")) {
    join("viewers", keyOf(process), process.perSecond);
    join(keyOf(process), "reactions", process.perSecond, false);
  }
  for (const process of of("aggregator")) {
    join("reactions", keyOf(process), process.leader ? sum(of("ingest"), "perSecond") : 0);
    join(keyOf(process), "swarms", process.perSecond);
  }
  for (const [index, cluster] of clusters.entries()) {
    const spots = arrangement.cluster(index, sizes, size);
    const relays = members("publisher", cluster);
    const working = relays.find(({ leader }) => leader) ?? relays[0];
    for (const [place, process] of relays.entries()) {
      const spot = spots.publisher(place - (relays.length - 1) / 2);
      put(keyOf(process), "publisher", spot, "publisher", cluster, { process });
      join("swarms", keyOf(process), process.perSecond);
    }
    for (const [place, process] of members("subscriber", cluster).entries()) {
      const load = process.capacity ? process.clients / process.capacity : 0;
      const figure = isWide
        ? `${amount(process.clients)} viewers, ${amount(process.perSecond)}/s`
        : `${amount(process.clients)} viewers`;
      put(keyOf(process), "subscriber", spots.subscriber(place), process.name, figure, { process, load });
      if (working) join(keyOf(working), keyOf(process), working.perSecond, false);
    }
  }
  for (const process of of("registry").slice(0, 1)) {
    const zookeeper = isZooKeeperAway ? { state: "gone", reason: "it does not answer" } : { state: "ready", reason: "" };
    put("registry", "registry", arrangement.beside(0, size), "registry", "assigns viewers", { process });
    put("zookeeper", "zookeeper", arrangement.beside(1, size), "ZooKeeper", "knows who lives", { process: zookeeper });
  }
  return { ...size, boxes, lines };
}

const keyOf = ({ tier, name }) => `${tier}/${name}`;

const sum = (processes, field) => processes.reduce((all, process) => all + process[field], 0);

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const amount = (number) => (number < 10 ? fine : whole).format(number);

/** Draws a layout, and updates the drawing where the next layout differs. */
export class PipelineMap {
  #figure;
  #svg = element("svg", { "aria-hidden": "true" });
  #lineLayer = element("g");
  #boxLayer = element("g");
  #boxes = new Map();
  #lines = new Map();
  #layout = { boxes: new Map() };

  constructor(figure) {
    this.#figure = figure;
    this.#svg.append(this.#lineLayer, this.#boxLayer);
    figure.replaceChildren(this.#svg);
  }

  /** @param {import("./topology.js").Process[]} processes  @param {boolean} isZooKeeperAway */
  show(processes, isZooKeeperAway) {
    this.#layout = layOut(processes, isZooKeeperAway, this.#figure.clientWidth > 640);
    const { width, height, boxes, lines } = this.#layout;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    reconcile(this.#boxes, boxes, newBox, updateBox, this.#boxLayer);
    reconcile(this.#lines, lines, newLine, updateLine, this.#lineLayer);
  }

  /**
   * Animate an emoji along its way over the map.
   * @param {{ms: number}[]} hops        from `splitIntoHops` in follow.js
   * @param {string} subscriber          the subscriber that sent it to this page
   */
  travel(emoji, hops, cluster, subscriber) {
    const stations = this.#stations(cluster, subscriber);
    if (!stations) return;
    const total = sum(hops, "ms");
    const shares = hops.map(({ ms }) => Math.max(ms / total, MIN_HOP_SHARE));
    const all = shares.reduce((before, share) => before + share, 0);
    let offset = 0;
    const frames = [{ offset, transform: at(stations[0]) }];
    for (const [index, share] of shares.entries()) {
      offset = Math.min(1, offset + share / all);
      frames.push({ offset, transform: at(stations[index + 1]) });
    }
    const traveller = element("text", { class: "traveller" }, emoji);
    this.#svg.append(traveller);
    traveller.animate(frames, { duration: TRAVEL_MS }).onfinish = () => traveller.remove();
  }

  /** The boxes at the start and at the end of each hop. Null if one of them is not on the map. */
  #stations(cluster, subscriber) {
    const { boxes } = this.#layout;
    const find = (matches) => [...boxes.values()].find(({ process }) => process && matches(process));
    const viewers = boxes.get("viewers");
    const ingest = find(({ tier, state }) => tier === "ingest" && state === "ready");
    const kafka = boxes.get("reactions");
    const relay = find((process) => process.tier === "publisher" && process.cluster === cluster);
    const edge = boxes.get(`subscriber/${subscriber}`);
    const stations = [viewers, ingest, kafka, kafka, boxes.get("swarms"), relay, edge, viewers];
    return stations.every(Boolean) ? stations : null;
  }
}

const at = ({ x, y }) => `translate(${x}px, ${y}px)`;

function reconcile(drawn, wanted, create, update, layer) {
  for (const [key, { root }] of drawn) {
    if (wanted.has(key)) continue;
    root.remove();
    drawn.delete(key);
  }
  for (const [key, item] of wanted) {
    if (!drawn.has(key)) {
      drawn.set(key, create(item));
      layer.append(drawn.get(key).root);
    }
    update(drawn.get(key), item);
  }
}

function newBox({ kind }) {
  const root = element("g", { class: `box ${kind}` });
  const [shape, load] = ["shape", "load"].map((name) =>
    element("rect", { class: name, y: -BOX_HEIGHT / 2, height: BOX_HEIGHT, rx: kind === "log" ? BOX_HEIGHT / 2 : 8 }),
  );
  const title = element("text", { class: "title", y: -2 });
  const figure = element("text", { class: "figure", y: 11 });
  const dot = element("circle", { class: "dot", r: 4 });
  const hint = element("title");
  root.append(hint, shape, load, title, figure, dot);
  return { root, shape, load, title, figure, dot, hint };
}

function updateBox({ root, shape, load, title, figure, dot, hint }, box) {
  root.style.transform = at(box);
  root.dataset.state = box.process?.state ?? "ready";
  root.dataset.title = box.title;
  for (const rect of [shape, load]) {
    rect.setAttribute("x", -box.width / 2);
    rect.setAttribute("width", box.width);
  }
  load.style.transform = `scaleX(${box.load})`;
  for (const text of [title, figure]) text.setAttribute("x", -box.width / 2 + 11);
  dot.setAttribute("cx", box.width / 2 - 11);
  title.textContent = box.title;
  figure.textContent = box.figure;
  hint.textContent = box.process?.reason || box.process?.url || box.title;
}

function newLine() {
  const root = element("g", { class: "line" });
  const path = element("path", { class: "flow" });
  const label = element("text", { class: "rate" });
  root.append(path, label);
  return { root, path, label };
}

function updateLine({ root, path, label }, { from, to, perSecond, isTold, isWide }) {
  path.setAttribute("d", isWide ? sideways(from, to) : downwards(from, to));
  root.dataset.flowing = perSecond > 0 ? "yes" : "no";
  // The speed doubles for each factor of ten in the rate. A linear scale would be a blur at a thousand a second.
  path.style.animationDuration = `${(2.4 / 2 ** Math.log10(1 + perSecond)).toFixed(2)}s`;
  label.setAttribute("x", isWide ? to.x - to.width / 2 - 5 : to.x + 6);
  label.setAttribute("y", isWide ? to.y - 8 : (from.y + to.y) / 2 + 4);
  label.setAttribute("text-anchor", isWide ? "end" : "start");
  label.textContent = isTold && perSecond > 0 ? `${amount(perSecond)}/s` : "";
}

function sideways(from, to) {
  const [start, end] = [from.x + from.width / 2, to.x - to.width / 2];
  const bend = (start + end) / 2;
  return `M${start} ${from.y} C${bend} ${from.y} ${bend} ${to.y} ${end} ${to.y}`;
}

function downwards(from, to) {
  const [start, end] = [from.y + BOX_HEIGHT / 2, to.y - BOX_HEIGHT / 2];
  const bend = (start + end) / 2;
  return `M${from.x} ${start} C${from.x} ${bend} ${to.x} ${bend} ${to.x} ${end}`;
}

function element(tag, attributes = {}, text = "") {
  const created = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) created.setAttribute(name, value);
  created.textContent = text;
  return created;
}
