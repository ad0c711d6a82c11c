/** The page of the topology: the picture with its details, the steps of a talk, and a file of the picture. */

import { EmoStream } from "./emostream.js";
import { PipelineMap } from "./map.js";
import { fileOf, save } from "./picture.js";
import { STEPS } from "./steps.js";
import { keep, kept } from "./storage.js";
import { Switch } from "./switch.js";
import { Observations, showConservation } from "./topology.js";

const POLL_EVERY_MS = 1_000;
const HIDDEN_METRICS = /_(sum|count)$/;

const byId = (id) => document.getElementById(id);
const format = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

const query = new URLSearchParams(location.search);
const stream = new EmoStream({ event: query.get("event") ?? "main" });
const observations = new Observations();
const prefersStill = matchMedia("(prefers-reduced-motion: reduce)");
const map = new PipelineMap(byId("map"), { choose: showDetails, isStill: () => prefersStill.matches });
const killer = new Switch(query.get("lab"));
let chosen = null;
let step = null;

async function look() {
  try {
    const { processes, stale_since } = await stream.topology();
    const observed = observations.add(processes, performance.now());
    map.show(observed, stale_since !== null);
    showConservation(byId("conservation"), observed);
    document.body.dataset.stale = "no";
    if (chosen) refreshDetails();
    pointAtStep();
  } catch {
    document.body.dataset.stale = "yes";
  }
  setTimeout(look, POLL_EVERY_MS);
}

/** Begin as soon as the registry answers, unless it shows its topology to nobody. */
async function begin() {
  try {
    if ((await stream.config()).live_topology === false) {
      byId("note").textContent =
        "This service does not show its live topology to everybody (EMOSTREAM_REGISTRY_PUBLIC_LIVE_TOPOLOGY).";
      return;
    }
  } catch {
    setTimeout(begin, POLL_EVERY_MS);
    return;
  }
  stream.start();
  killer.find();
  look();
}

function showDetails(key) {
  chosen = key;
  map.mark(key);
  byId("killed").textContent = "";
  byId("details").hidden = false;
  refreshDetails();
}

function hideDetails() {
  chosen = null;
  map.mark(null);
  byId("details").hidden = true;
}

function refreshDetails() {
  const box = map.box(chosen);
  if (!box) return hideDetails();
  const { title, figure, process } = box;
  byId("details-title").textContent = title;
  byId("details-text").textContent = [process?.state, process?.reason, figure].filter(Boolean).join(", ");
  byId("details-figures").replaceChildren(
    ...figuresOf(box).flatMap(([name, value]) => [newElement("dt", name), newElement("dd", value)]),
  );
  const victim = killer.victimOf(box);
  byId("kill").hidden = !victim;
  byId("kill").textContent = victim ? `Kill ${victim}` : "";
}

/** What is known of a box, by name. @returns {[string, string][]} */
function figuresOf({ process, waiting }) {
  if (waiting !== undefined)
    return [["records that wait to be read", waiting === null ? "not known" : format.format(waiting)]];
  if (!process?.tier) return [];
  const { cluster, url, leader, metrics } = process;
  const known = [
    ["address", url],
    ["cluster", cluster],
    ["leads", leader ? "yes" : ""],
  ].filter(([, value]) => value);
  const measured = Object.entries(metrics)
    .filter(([name]) => !HIDDEN_METRICS.test(name))
    .map(([name, value]) => [name.replace("emostream_", ""), format.format(value)]);
  return [...known, ...measured];
}

function newElement(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

async function kill() {
  const victim = killer.victimOf(map.box(chosen));
  byId("killed").textContent = await killer.kill(victim);
}

function showStep(number) {
  step = number;
  const isOpen = step !== null;
  byId("steps").hidden = !isOpen;
  byId("explain").setAttribute("aria-expanded", isOpen);
  pointAtStep();
  if (!isOpen) return;
  byId("step-title").textContent = STEPS[step].title;
  byId("step-text").textContent = STEPS[step].text;
  byId("step-number").textContent = `${step + 1} of ${STEPS.length}`;
  byId("previous").disabled = step === 0;
  byId("next").disabled = step === STEPS.length - 1;
}

const pointAtStep = () => map.point(step === null ? null : STEPS[step].boxes);

function onKey({ key }) {
  if (key === "Escape") {
    hideDetails();
    showStep(null);
  }
  if (step === null) return;
  if (key === "ArrowRight" && step < STEPS.length - 1) showStep(step + 1);
  if (key === "ArrowLeft" && step > 0) showStep(step - 1);
}

function showTheme(theme) {
  byId("dark").media = { dark: "all", light: "not all" }[theme] ?? "(prefers-color-scheme: dark)";
}

showTheme(kept("theme"));
byId("theme").addEventListener("click", () => {
  const theme = matchMedia(byId("dark").media).matches ? "light" : "dark";
  showTheme(theme);
  keep("theme", theme);
});
byId("explain").addEventListener("click", () => showStep(step === null ? 0 : null));
byId("previous").addEventListener("click", () => showStep(step - 1));
byId("next").addEventListener("click", () => showStep(step + 1));
byId("close-details").addEventListener("click", hideDetails);
byId("kill").addEventListener("click", kill);
byId("save").addEventListener("click", () => {
  save(fileOf(map.svg, getComputedStyle(document.body).backgroundColor), "emostream-topology.svg", "image/svg+xml");
});
addEventListener("keydown", onKey);
stream.addEventListener(
  "swarm",
  ({
    detail: {
      window: { start, end },
    },
  }) => map.pour(end - start),
);

// For the console, and for tests.
window.emostream = { stream, map };

begin();
