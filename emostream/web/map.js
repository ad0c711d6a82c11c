/** Draws the pipeline: boxes for processes and logs, and lines between them that move as the events do. */

import { waitingIn } from "./depth.js";

const SVG = "http://www.w3.org/2000/svg";
export const BOX_HEIGHT = 48;
const ROW = 58;
const CLUSTER_GAP = 12;
const TRAVEL_MS = 5_000;
// Even a hop of one millisecond must be visible.
const MIN_HOP_SHARE = 0.06;

/** The arrangement for wide screens: from left to right, and a cluster is a block of rows. */
const WIDE = {
  isWide: true,
  boxWidths: { viewers: 134, ingest: 128, log: 146, aggregator: 172, publisher: 136, subscriber: 190, other: 150 },
  depths: {
    viewers: 81,
    ingest: 242,
    reactions: 409,
    aggregator: 598,
    swarms: 787,
    publisher: 958,
    log: 1_129,
    subscriber: 1_327,
  },
  /** The space above for the way back to the viewers, and below for the registry and ZooKeeper. */
  above: 44,
  below: 104,
  size(sizes) {
    return { width: 1_436, height: this.above + Math.max(3 * ROW, blocksHeight(sizes)) + this.below };
  },
  middle({ height }) {
    return (this.above + height - this.below) / 2;
  },
  spot(kind, across, size) {
    return { x: this.depths[kind], y: this.middle(size) + across * ROW };
  },
  cluster(index, sizes, size) {
    const before = blocksHeight(sizes.slice(0, index)) + (index && CLUSTER_GAP);
    const top = this.middle(size) - blocksHeight(sizes) / 2 + before;
    const middle = top + (sizes[index] * ROW) / 2;
    return {
      publisher: (across) => ({ x: this.depths.publisher, y: middle + across * ROW }),
      log: { x: this.depths.log, y: middle },
      subscriber: (place) => ({ x: this.depths.subscriber, y: top + (place + 0.5) * ROW }),
    };
  },
  registry: ({ height }) => ({ x: 409, y: height - 30 }),
  zookeeper: ({ height }) => ({ x: 787, y: height - 30 }),
  nameOf: ({ name }) => name,
  bucket: ({ width }) => `translate(${width / 2 - 40} 0)`,
  path: sideways,
};

/** The arrangement for phones: from top to bottom, and a cluster is a column. */
const COLUMN = 121;
const TALL = {
  isWide: false,
  boxWidths: { viewers: 112, log: 112, other: 116 },
  depths: {
    viewers: 26,
    ingest: 98,
    reactions: 170,
    aggregator: 242,
    swarms: 314,
    publisher: 386,
    log: 458,
    subscriber: 530,
  },
  size(sizes) {
    const height = this.depths.subscriber + Math.max(1, ...sizes) * ROW - ROW + 26;
    return { width: Math.max(3, sizes.length) * COLUMN, height };
  },
  spot(kind, across, { width }) {
    return { x: width / 2 + across * COLUMN, y: this.depths[kind] };
  },
  cluster(index, sizes, { width }) {
    const x = width / 2 + (index - (sizes.length - 1) / 2) * COLUMN;
    return {
      publisher: (across) => ({ x, y: this.depths.publisher + across * 6 }),
      log: { x, y: this.depths.log },
      subscriber: (place) => ({ x, y: this.depths.subscriber + place * ROW }),
    };
  },
  registry: ({ width }) => ({ x: width / 2 - COLUMN, y: 26 }),
  zookeeper: ({ width }) => ({ x: width / 2 + COLUMN, y: 26 }),
  // The log above it names the cluster.
  nameOf: ({ name }) => name.slice(name.lastIndexOf("/") + 1),
  bucket: ({ width }) => `translate(${width / 2 - 11} 7) scale(0.65)`,
  path: downwards,
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
  const plan = new Plan(processes, isWide ? WIDE : TALL);
  plan.addPipeline();
  for (const [index, cluster] of plan.clusters.entries()) plan.addCluster(index, cluster);
  plan.addWatchers(isZooKeeperAway);
  const { width, height } = plan.size;
  return { width, height, boxes: plan.boxes, lines: plan.lines };
}

/** A layout that grows. */
class Plan {
  boxes = new Map();
  lines = new Map();
  #processes;
  #arrangement;
  #waiting;

  constructor(processes, arrangement) {
    this.#processes = processes;
    this.#arrangement = arrangement;
    this.#waiting = waitingIn(processes);
    const members = [...this.#of("publisher"), ...this.#of("subscriber")];
    this.clusters = [...new Set(members.map(({ cluster }) => cluster))].sort();
    this.sizes = this.clusters.map((cluster) => Math.max(1, this.#of("subscriber", cluster).length));
    this.size = arrangement.size(this.sizes);
  }

  #of(tier, cluster) {
    return this.#processes.filter((each) => each.tier === tier && (!cluster || each.cluster === cluster));
  }

  #put(key, kind, spot, title, figure, more = {}) {
    const width = this.#arrangement.boxWidths[kind] ?? this.#arrangement.boxWidths.other;
    this.boxes.set(key, {
      key,
      kind,
      ...spot,
      width,
      title,
      figure,
      load: 0,
      process: null,
      bucket: this.#arrangement.bucket({ width }),
      ...more,
    });
  }

  #putLog(key, spot, title, waiting) {
    const figure = waiting === null ? "Kafka" : `${amount(waiting)} waiting`;
    // The gauge is full at ten thousand.
    this.#put(key, "log", spot, title, figure, { load: Math.min(1, Math.log10(1 + (waiting ?? 0)) / 4), waiting });
  }

  #putAll(tier, figureOf) {
    const all = this.#of(tier);
    for (const [index, process] of all.entries()) {
      const across = index - (all.length - 1) / 2;
      this.#put(keyOf(process), tier, this.#arrangement.spot(tier, across, this.size), tier, figureOf(process), {
        process,
      });
    }
  }

  #join(from, to, perSecond) {
    const [start, end] = [this.boxes.get(from), this.boxes.get(to)];
    this.lines.set(`${from} ${to}`, { kind: "flow", perSecond, d: this.#arrangement.path(start, end), label: null });
  }

  /** A line that is no part of the pipeline, through these points. */
  #tie(name, kind, perSecond, points, label = null) {
    this.lines.set(name, { kind, perSecond, d: through(points), label });
  }

  addPipeline() {
    const spot = (kind) => this.#arrangement.spot(kind, 0, this.size);
    const accepted = sum(this.#of("ingest"), "perSecond");
    this.#put(
      "viewers",
      "viewers",
      spot("viewers"),
      "viewers",
      `${amount(sum(this.#of("subscriber"), "clients"))} connected`,
    );
    this.#putAll("ingest", ({ perSecond }) => paceOf(perSecond));
    this.#putLog("reactions", spot("reactions"), "reactions", this.#waiting.reactions);
    this.#putAll("aggregator", standingOf);
    this.#putLog("swarms", spot("swarms"), "swarms", this.#waiting.swarms);
    for (const process of this.#of("ingest")) {
      this.#join("viewers", keyOf(process), process.perSecond);
      this.#join(keyOf(process), "reactions", process.perSecond);
    }
    for (const process of this.#of("aggregator")) {
      this.#join("reactions", keyOf(process), process.leader ? accepted : 0);
      this.#join(keyOf(process), "swarms", process.perSecond);
    }
  }

  addCluster(index, cluster) {
    const spots = this.#arrangement.cluster(index, this.sizes, this.size);
    const relays = this.#of("publisher", cluster);
    const log = `log/${cluster}`;
    this.#putLog(log, spots.log, cluster, this.#waiting.clusters.get(cluster) ?? null);
    for (const [place, process] of relays.entries()) {
      const spot = spots.publisher(place - (relays.length - 1) / 2);
      this.#put(keyOf(process), "publisher", spot, "publisher", standingOf(process), { process });
      this.#join("swarms", keyOf(process), process.perSecond);
      this.#join(keyOf(process), log, process.perSecond);
    }
    const relayed = sum(relays, "perSecond");
    for (const [place, process] of this.#of("subscriber", cluster).entries()) {
      const load = process.capacity ? process.clients / process.capacity : 0;
      const viewers = `${amount(process.clients)} viewers`;
      const figure = this.#arrangement.isWide ? `${viewers}, ${amount(process.perSecond)}/s` : viewers;
      this.#put(keyOf(process), "subscriber", spots.subscriber(place), this.#arrangement.nameOf(process), figure, {
        process,
        load,
      });
      this.#join(log, keyOf(process), relayed);
    }
  }

  /** The registry and ZooKeeper, which are beside the pipeline, and the way of the swarms back to the viewers. */
  addWatchers(isZooKeeperAway) {
    const [process] = this.#of("registry");
    if (process) {
      const zookeeper = isZooKeeperAway
        ? { state: "gone", reason: "it does not answer" }
        : { state: "ready", reason: "" };
      this.#put("registry", "registry", this.#arrangement.registry(this.size), "registry", "assigns viewers", {
        process,
      });
      this.#put("zookeeper", "zookeeper", this.#arrangement.zookeeper(this.size), "ZooKeeper", "knows who lives", {
        process: zookeeper,
      });
    }
    if (this.#arrangement.isWide) this.#tieWide(Boolean(process));
    else if (process) this.#tieTall();
  }

  #tieWide(hasRegistry) {
    const viewers = this.boxes.get("viewers");
    const subscribers = this.#lowestFirst("subscriber");
    const delivered = sum(this.#of("subscriber"), "perSecond");
    if (subscribers.length > 0) {
      const top = subscribers[subscribers.length - 1];
      const points = [
        [top.x, top.y - BOX_HEIGHT / 2],
        [top.x, 14],
        [viewers.x, 14],
        [viewers.x, viewers.y - BOX_HEIGHT / 2],
      ];
      const text = `every swarm to every viewer: ${amount(delivered)}/s`;
      this.#tie("delivery", "flow", delivered, points, { x: (top.x + viewers.x) / 2, y: 34, text });
    }
    if (!hasRegistry) return;
    const [registry, zookeeper] = ["registry", "zookeeper"].map((key) => this.boxes.get(key));
    const bus = zookeeper.y - BOX_HEIGHT / 2 - 12;
    for (const tier of ["ingest", "aggregator", "publisher", "subscriber"]) {
      const [lowest] = this.#lowestFirst(tier);
      if (!lowest) continue;
      const points = [
        [lowest.x, lowest.y + BOX_HEIGHT / 2],
        [lowest.x, bus],
        [zookeeper.x, bus],
        [zookeeper.x, zookeeper.y - BOX_HEIGHT / 2],
      ];
      this.#tie(`zookeeper ${tier}`, "watch", 0, points);
    }
    const [left, right] = [registry.x - registry.width / 2, registry.x + registry.width / 2];
    const between = (right + zookeeper.x - zookeeper.width / 2) / 2;
    this.#tie(
      "zookeeper registry",
      "watch",
      0,
      [
        [zookeeper.x - zookeeper.width / 2, registry.y],
        [right, registry.y],
      ],
      { x: between, y: registry.y + 20, text: "who is there" },
    );
    this.#tie(
      "registry viewers",
      "watch",
      0,
      [
        [left, registry.y],
        [viewers.x, registry.y],
        [viewers.x, viewers.y + BOX_HEIGHT / 2],
      ],
      { x: (left + viewers.x) / 2, y: registry.y + 20, text: "to which subscriber?" },
    );
  }

  #tieTall() {
    const [registry, viewers, zookeeper] = ["registry", "viewers", "zookeeper"].map((key) => this.boxes.get(key));
    const edge = viewers.width / 2;
    this.#tie("registry viewers", "watch", 0, [
      [registry.x + registry.width / 2, registry.y],
      [viewers.x - edge, viewers.y],
    ]);
    const channel = viewers.y + BOX_HEIGHT / 2 + 8;
    const bottom = viewers.y + BOX_HEIGHT / 2;
    this.#tie("zookeeper registry", "watch", 0, [
      [zookeeper.x, bottom],
      [zookeeper.x, channel],
      [registry.x, channel],
      [registry.x, bottom],
    ]);
  }

  #lowestFirst(kind) {
    return [...this.boxes.values()].filter((box) => box.kind === kind).sort((a, b) => b.y - a.y);
  }
}

const keyOf = ({ tier, name }) => `${tier}/${name}`;

const sum = (processes, field) => processes.reduce((all, process) => all + process[field], 0);

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const amount = (number) => (number < 10 ? fine : whole).format(number);

/** A rate in words. Swarms are rarer than one a second, and "0.5/s" says that to nobody. */
export function paceOf(perSecond) {
  if (perSecond <= 0) return "idle";
  const seconds = 1 / perSecond;
  if (seconds < 1.05) return `${amount(perSecond)}/s`;
  return `one every ${seconds < 1.75 ? fine.format(seconds) : whole.format(seconds)} s`;
}

/** What one of several does, of which one leads. */
function standingOf({ state, leader, perSecond }) {
  if (state === "gone") return "gone";
  return leader ? paceOf(perSecond) : "stand-by";
}

/** Draws a layout, and updates the drawing where the next layout differs. */
export class PipelineMap {
  #figure;
  #svg;
  #lineLayer = element("g");
  #boxLayer = element("g");
  #boxes = new Map();
  #lines = new Map();
  #layout = { boxes: new Map() };
  #choose;
  #isStill;

  /**
   * @param {HTMLElement} figure
   * @param {{choose?: (key: string) => void, isStill?: () => boolean}} options
   *   `choose` is called when a box is clicked; without it, the picture is hidden from screen readers
   */
  constructor(figure, { choose = null, isStill = () => false } = {}) {
    this.#figure = figure;
    this.#choose = choose;
    this.#isStill = isStill;
    this.#svg = element("svg", choose ? {} : { "aria-hidden": "true" });
    this.#svg.append(this.#lineLayer, this.#boxLayer);
    figure.replaceChildren(this.#svg);
  }

  get svg() {
    return this.#svg;
  }

  /** What a box shows. @param {string} key */
  box(key) {
    return this.#layout.boxes.get(key) ?? null;
  }

  /** @param {import("./topology.js").Process[]} processes  @param {boolean} isZooKeeperAway */
  show(processes, isZooKeeperAway) {
    this.#layout = layOut(processes, isZooKeeperAway, this.#figure.clientWidth > 640);
    const { width, height, boxes, lines } = this.#layout;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#svg.dataset.layout = width > 640 ? "wide" : "tall";
    reconcile(this.#boxes, boxes, (box) => newBox(box, this.#choose), updateBox, this.#boxLayer);
    reconcile(this.#lines, lines, newLine, updateLine, this.#lineLayer);
    if (boxes.get("reactions").waiting === 0) this.#emptyIfIdle();
  }

  /** Mark one box as chosen. @param {?string} key */
  mark(key) {
    for (const [each, { root }] of this.#boxes) {
      if (this.#choose) root.setAttribute("aria-pressed", each === key ? "true" : "false");
    }
  }

  /** Let only the boxes of these kinds or with these keys stand out; all of them if there is no list. */
  point(names) {
    const stands = ({ key, kind }) => !names || names.includes(kind) || names.includes(key);
    for (const [key, { root }] of this.#boxes) root.classList.toggle("dim", !stands(this.#layout.boxes.get(key)));
    this.#lineLayer.classList.toggle("dim", Boolean(names));
  }

  /** A swarm came: the bucket of the micro-batch is empty again, and fills until the next one. @param {number} windowMs */
  pour(windowMs) {
    for (const { fill } of this.#leaders()) {
      fill.getAnimations().forEach((each) => each.cancel());
      fill.style.transform = "scaleY(0)";
      if (windowMs <= 0 || this.#isStill()) continue;
      const frames = [{ transform: "scaleY(0)" }, { transform: "scaleY(1)" }];
      fill.animate(frames, { duration: windowMs, fill: "forwards" });
    }
  }

  #leaders() {
    const leads = ([key]) => this.#layout.boxes.get(key)?.process?.leader;
    return [...this.#boxes]
      .filter(([key]) => key.startsWith("aggregator/"))
      .filter(leads)
      .map(([, drawn]) => drawn);
  }

  #emptyIfIdle() {
    const isBusy = ({ kind, process }) => kind === "ingest" && process.perSecond > 0;
    if (![...this.#layout.boxes.values()].some(isBusy)) this.pour(0);
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
    const log = boxes.get(`log/${cluster}`);
    const edge = boxes.get(`subscriber/${subscriber}`);
    const stations = [viewers, ingest, kafka, kafka, boxes.get("swarms"), log, edge, viewers];
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

function newBox({ key, kind }, choose) {
  const root = element("g", { class: `box ${kind}` });
  const whole = { y: -BOX_HEIGHT / 2, height: BOX_HEIGHT, rx: kind === "log" ? BOX_HEIGHT / 2 : 10 };
  const shape = element("rect", { class: "shape", ...whole });
  const load = element("rect", { class: "load", ...(kind === "log" ? { y: 18.5, height: 3.5, rx: 1.75 } : whole) });
  const title = element("text", { class: "title", y: -3 });
  const figure = element("text", { class: "figure", y: 15 });
  const dot = element("circle", { class: "dot", r: 4.5, cy: -10 });
  const hint = element("title");
  const bucket = element("g", { class: "bucket" });
  const fill = element("path", { class: "fill", d: "M-11 -9 H11 L8 13 H-8 Z" });
  bucket.append(fill, element("path", { class: "rim", d: "M-12 -11 L-8 13 H8 L12 -11" }));
  root.append(hint, shape, load, title, figure, dot);
  if (kind === "aggregator") root.append(bucket);
  if (choose) makeButton(root, () => choose(key));
  return { root, shape, load, title, figure, dot, hint, bucket, fill };
}

function makeButton(root, press) {
  for (const [name, value] of Object.entries({ role: "button", tabindex: 0, "aria-pressed": "false" })) {
    root.setAttribute(name, value);
  }
  root.addEventListener("click", press);
  root.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    press();
  });
}

function updateBox({ root, shape, load, title, figure, dot, hint, bucket }, box) {
  root.style.transform = at(box);
  root.dataset.state = box.process?.state ?? "ready";
  root.dataset.title = box.title;
  const inset = box.kind === "log" ? 20 : 12;
  setSpan(shape, box.width);
  setSpan(load, box.kind === "log" ? box.width - 2 * inset : box.width);
  load.style.transform = `scaleX(${box.load})`;
  for (const text of [title, figure]) text.setAttribute("x", -box.width / 2 + inset);
  dot.setAttribute("cx", box.width / 2 - 12);
  bucket.setAttribute("transform", box.bucket);
  bucket.setAttribute("visibility", box.process?.leader ? "visible" : "hidden");
  title.textContent = box.title;
  figure.textContent = box.figure;
  hint.textContent = box.process?.reason || box.process?.url || box.title;
  if (root.hasAttribute("role")) root.setAttribute("aria-label", `${box.title}, ${box.figure}, ${root.dataset.state}`);
}

function setSpan(rect, width) {
  rect.setAttribute("x", -width / 2);
  rect.setAttribute("width", width);
}

function newLine({ kind }) {
  const root = element("g", { class: `line ${kind}` });
  const path = element("path", { class: "flow" });
  const label = element("text", { class: "label" });
  root.append(path, label);
  return { root, path, label };
}

function updateLine({ root, path, label }, { d, perSecond, label: told }) {
  path.setAttribute("d", d);
  root.dataset.flowing = perSecond > 0 ? "yes" : "no";
  // The speed doubles for each factor of ten in the rate. A linear scale would be a blur at a thousand a second.
  path.style.animationDuration = `${(2.4 / 2 ** Math.log10(1 + perSecond)).toFixed(2)}s`;
  label.setAttribute("x", told?.x ?? 0);
  label.setAttribute("y", told?.y ?? 0);
  label.textContent = told?.text ?? "";
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

const through = ([[x, y], ...others]) => `M${x} ${y} ${others.map(([nextX, nextY]) => `L${nextX} ${nextY}`).join(" ")}`;

function element(tag, attributes = {}, text = "") {
  const created = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) created.setAttribute(name, value);
  created.textContent = text;
  return created;
}
