/** Behind the scenes: every process with its state, what flows between them, and whether all of it was counted once. */

import { PipelineMap } from "./map.js";

const POLL_EVERY_MS = 1_000;
// A process that is no longer announced is shown as gone for so long, so that one sees it go.
const GONE_SHOWN_MS = 20_000;
const format = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

/** What each tier counts: the metric whose growth is its events a second. */
const EVENTS = {
  ingest: "emostream_ingest_reactions_accepted_total",
  aggregator: "emostream_aggregator_swarms_total",
  publisher: "emostream_publisher_relayed_swarms_total",
  subscriber: "emostream_subscriber_deliveries_total",
};

/**
 * @typedef {{tier: string, name: string, cluster: string, url: string, state: "ready"|"troubled"|"gone", reason: string,
 *            leader: boolean, clients: number, capacity: number, perSecond: number}} Process
 */

/** Turns the registry's answers, one after the other, into processes with their rates. Pure: the time comes in. */
export class Observations {
  #last = new Map();

  /** @param {object[]} processes of GET /v1/topology/live  @param {number} now in ms  @returns {Process[]} */
  add(processes, now) {
    const announced = new Map(processes.map((process) => [`${process.tier}/${process.name}`, process]));
    for (const [key, process] of announced) this.#last.set(key, this.#observe(this.#last.get(key), process, now));
    for (const [key, { process, seenAt }] of this.#last) {
      if (announced.has(key)) continue;
      if (now - seenAt > GONE_SHOWN_MS) this.#last.delete(key);
      else Object.assign(process, { state: "gone", reason: "no longer announced", clients: 0, perSecond: 0 });
    }
    return [...this.#last.values()].map(({ process }) => process).sort(byTierAndName);
  }

  #observe(last, { tier, name, metrics, ready, reason, ...rest }, now) {
    const events = metrics[EVENTS[tier]] ?? null;
    const seconds = (now - (last?.seenAt ?? now)) / 1000;
    // A counter that fell belongs to a process that has started anew.
    const grown = Math.max(0, (events ?? 0) - (last?.events ?? events ?? 0));
    const process = {
      cluster: "",
      leader: false,
      clients: 0,
      capacity: 0,
      ...rest,
      tier,
      name,
      metrics,
      state: ready ? "ready" : "troubled",
      reason,
      perSecond: seconds > 0 ? grown / seconds : 0,
    };
    return { process, events: events ?? last?.events, seenAt: now };
  }
}

const TIERS = ["registry", "ingest", "aggregator", "publisher", "subscriber", "audit"];

function byTierAndName(a, b) {
  const tiers = TIERS.indexOf(a.tier) - TIERS.indexOf(b.tier);
  return tiers || a.cluster.localeCompare(b.cluster) || a.name.localeCompare(b.name, "en", { numeric: true });
}

/** The account of all reactions, in words; empty where no auditor runs. */
export function conservation(processes) {
  const audit = processes.find(({ tier, state }) => tier === "audit" && state === "ready");
  if (!audit) return null;
  const figure = (name) => audit.metrics[`emostream_audit_${name}_reactions`] ?? 0;
  const [accepted, counted, lost, doubled] = ["accepted", "counted", "lost", "doubled"].map(figure);
  return { accepted, counted, lost, doubled, isExact: lost === 0 && doubled === 0 };
}

/** The dialog. It asks the registry only while it is open. */
export class Scenes {
  #dialog;
  #map;
  #ask;
  #observations = new Observations();
  #timer = 0;

  /**
   * @param {HTMLDialogElement} dialog
   * @param {() => Promise<object>} ask   GET /v1/topology/live
   */
  constructor(dialog, ask) {
    this.#dialog = dialog;
    this.#ask = ask;
    this.#map = new PipelineMap(dialog.querySelector("#map"));
    dialog.addEventListener("close", () => {
      clearTimeout(this.#timer);
      history.replaceState(null, "", location.pathname);
    });
  }

  open() {
    if (this.#dialog.open) return;
    this.#dialog.showModal();
    history.replaceState(null, "", "#topology");
    this.#poll();
  }

  close() {
    this.#dialog.close();
  }

  /** Let an emoji take its way over the map once more, each hop as long as it took. */
  travel(emoji, hops, cluster, subscriber) {
    this.#map.travel(emoji, hops, cluster, subscriber);
  }

  async #poll() {
    try {
      const { processes, stale_since } = await this.#ask();
      this.#show(this.#observations.add(processes, performance.now()), stale_since !== null);
      this.#dialog.dataset.stale = "no";
    } catch {
      this.#dialog.dataset.stale = "yes";
    }
    if (this.#dialog.open) this.#timer = setTimeout(() => this.#poll(), POLL_EVERY_MS);
  }

  #show(processes, isZooKeeperAway) {
    this.#map.show(processes, isZooKeeperAway);
    this.#dialog.querySelector("#process-rows").replaceChildren(...processes.map(newRow));
    const line = this.#dialog.querySelector("#conservation");
    const account = conservation(processes);
    line.hidden = !account;
    if (!account) return;
    line.dataset.exact = account.isExact ? "yes" : "no";
    line.replaceChildren(
      ...["accepted", "counted", "lost", "doubled"].map((name) => newFigure(`${name} ${format.format(account[name])}`)),
    );
  }
}

function newFigure(text) {
  const figure = document.createElement("span");
  figure.textContent = text;
  return figure;
}

function newRow(process) {
  const row = document.createElement("tr");
  row.dataset.state = process.state;
  const { tier, name, cluster, state, reason, leader, clients, capacity, perSecond, url } = process;
  const label = cluster && !name.startsWith(cluster) ? `${tier} ${cluster}/${name}` : `${tier} ${name}`;
  const viewers = tier === "subscriber" ? `${format.format(clients)} of ${format.format(capacity)}` : "";
  const told = `${state}${leader ? ", leads" : ""}${reason ? `: ${reason}` : ""}`;
  for (const text of [label, told, viewers, tier in EVENTS ? format.format(perSecond) : "", url]) {
    row.insertCell().textContent = text;
  }
  return row;
}
