/** The dialog "Behind the scenes": all processes and their states, the rates between them, and the audit's result. */

import { LiveDialog } from "./dialog.js";
import { PipelineMap } from "./map.js";

const POLL_EVERY_MS = 1_000;
// A process that is no longer registered is shown as gone for this long, so that the user sees the change.
const GONE_SHOWN_MS = 20_000;
const GONE = { state: "gone", reason: "no longer registered", leader: false };
const format = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

const WITH_RATE = ["ingest", "aggregator", "publisher", "subscriber"];

/**
 * @typedef {{tier: string, name: string, cluster: string, url: string, state: "ready"|"troubled"|"gone", reason: string,
 *            leader: boolean, clients: number, capacity: number, perSecond: number}} Process
 */

/** Turns the registry's successive answers into processes, also those that have just gone. Pure: the time is an argument. */
export class Observations {
  #last = new Map();

  /** @param {object[]} processes of GET /v1/topology/live  @param {number} now in ms  @returns {Process[]} */
  add(processes, now) {
    const registered = new Map(processes.map((process) => [`${process.tier}/${process.name}`, process]));
    for (const [key, process] of registered) this.#last.set(key, { process: observed(process), seenAt: now });
    for (const [key, { process, seenAt }] of this.#last) {
      if (registered.has(key)) continue;
      if (now - seenAt > GONE_SHOWN_MS) this.#last.delete(key);
      else Object.assign(process, { ...GONE, clients: 0, perSecond: 0 });
    }
    return [...this.#last.values()].map(({ process }) => process).sort(byTierAndName);
  }
}

function observed({ ready, per_second, ...rest }) {
  const state = ready ? "ready" : "troubled";
  return { cluster: "", leader: false, clients: 0, capacity: 0, ...rest, state, perSecond: per_second };
}

const TIERS = ["registry", "ingest", "aggregator", "publisher", "subscriber", "audit"];

function byTierAndName(a, b) {
  const tiers = TIERS.indexOf(a.tier) - TIERS.indexOf(b.tier);
  return tiers || a.cluster.localeCompare(b.cluster) || a.name.localeCompare(b.name, "en", { numeric: true });
}

/** The audit's account of all reactions. Null if no auditor is ready. @returns {?Object<string, number>} */
export function conservation(processes) {
  const audit = processes.find(({ tier, state }) => tier === "audit" && state === "ready");
  if (!audit) return null;
  const figure = (name) => audit.metrics[`emostream_audit_${name}_reactions`] ?? 0;
  const [accepted, counted, lost, doubled] = ["accepted", "counted", "lost", "doubled"].map(figure);
  const onTheWay = Math.max(0, accepted - counted - lost + doubled);
  return { accepted, counted, "on the way": onTheWay, lost, doubled };
}

/** Show the account in a line, which is hidden while there is none. @param {Element} line */
export function showConservation(line, processes) {
  const account = conservation(processes);
  line.hidden = !account;
  if (!account) return;
  line.dataset.exact = account.lost || account.doubled ? "no" : "yes";
  line.replaceChildren(...Object.entries(account).map(([name, value]) => newFigure(`${name} ${format.format(value)}`)));
}

/** The dialog. It polls the registry only while it is open. */
export class Scenes {
  #dialog;
  #live;
  #map;
  #addresses;
  #observations = new Observations();

  /**
   * @param {HTMLDialogElement} dialog
   * @param {() => Promise<object>} ask                    GET /v1/topology/live
   * @param {{opened: string, closed: string}} addresses   of the page, while the dialog is open and after that
   * @param {() => boolean} isStill                        whether nothing may move
   */
  constructor(dialog, ask, addresses, isStill) {
    this.#dialog = dialog;
    this.#addresses = addresses;
    this.#map = new PipelineMap(dialog.querySelector("#map"), { isStill });
    this.#live = new LiveDialog(dialog, POLL_EVERY_MS, ask, ({ processes, stale_since }) => {
      this.#show(this.#observations.add(processes, performance.now()), stale_since !== null);
    });
    dialog.addEventListener("close", () => history.replaceState(null, "", addresses.closed));
  }

  open() {
    history.replaceState(null, "", this.#addresses.opened);
    this.#live.open();
  }

  close() {
    this.#live.close();
  }

  /** A swarm came. @param {number} windowMs */
  pour(windowMs) {
    if (this.#dialog.open) this.#map.pour(windowMs);
  }

  /** Animate the way of an emoji over the map. The time of each hop is in proportion to its real time. */
  travel(emoji, hops, cluster, subscriber) {
    this.#map.travel(emoji, hops, cluster, subscriber);
  }

  #show(processes, isZooKeeperAway) {
    this.#map.show(processes, isZooKeeperAway);
    this.#dialog.querySelector("#process-rows").replaceChildren(...processes.map(newRow));
    showConservation(this.#dialog.querySelector("#conservation"), processes);
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
  for (const text of [label, told, viewers, WITH_RATE.includes(tier) ? format.format(perSecond) : "", url]) {
    row.insertCell().textContent = text;
  }
  return row;
}
