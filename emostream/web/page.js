/** The web page: connects the stream client with the parts that show the swarms. */

import { EmoStream } from "./emostream.js";
import { addressed, Chooser, hashOf } from "./events.js";
import { FollowOne } from "./follow.js";
import { fillPalette } from "./palette.js";
import { EndToEndLatency } from "./latency.js";
import { Summary } from "./summary.js";
import { SwarmCanvas } from "./swarm.js";
import { Scenes } from "./topology.js";
import { BarRace, RunningNumber } from "./totals.js";

// A swarm is shown over the length of its window, until the next swarm comes, but no longer than this.
const MAX_SPREAD_MS = 2_500;
const RETRY_MS = 2_000;

const byId = (id) => document.getElementById(id);
const format = new Intl.NumberFormat("en");

const { event, isChosen, showsScenes } = addressed(location.hash);
const stream = new EmoStream({ event });
const swarm = new SwarmCanvas(byId("sky"));
const total = new RunningNumber(byId("total"));
const bars = new BarRace(byId("bars"));
const latency = new EndToEndLatency();
const summary = new Summary(byId("summary"), performance.now());
const follow = new FollowOne(stream, latency, {
  button: byId("follow-one"),
  status: byId("follow-status"),
  bar: byId("follow-bar"),
  list: byId("follow-hops"),
});
const addresses =
  event === "main"
    ? { opened: "#topology", closed: location.pathname }
    : { opened: `#${event}/topology`, closed: hashOf(event) };
const scenes = new Scenes(byId("scenes"), () => stream.topology(), addresses);
const chooser = new Chooser(byId("events"), () => stream.events(), event);
const prefersStill = matchMedia("(prefers-reduced-motion: reduce)");

// For the console, and for tests.
window.emostream = { stream, swarm };

function showTotals(spreadMs) {
  const sum = sumOf(stream.totals);
  total.runTo(sum, prefersStill.matches ? 0 : spreadMs);
  byId("total").dataset.value = sum;
  bars.show(stream.totals);
}

const sumOf = (counts) => Object.values(counts).reduce((all, count) => all + count, 0);

function showSwarm({ sequence, window: { start, end }, reactions, counts, swarm: shown }) {
  const now = performance.now();
  const spreadMs = Math.min(end - start, MAX_SPREAD_MS);
  latency.arrived(sequence, now);
  swarm.add(shown, spreadMs, (emoji) => scaleOf(counts[emoji], shown[emoji]));
  showTotals(spreadMs);
  showPace((reactions * 1000) / Math.max(end - start, 1));
  summary.add(counts, now);
  showLatency();
}

/** The size of a sprite. One sprite stands for many reactions, and it is larger the more it stands for. */
function scaleOf(count, sprites) {
  return 1 + Math.log10(Math.max(count / sprites, 1)) / 5;
}

function showPace(perSecond) {
  byId("rate").textContent = format.format(Math.round(perSecond));
  // About 0 at one reaction a second, and 1 at ten thousand.
  document.body.style.setProperty("--energy", Math.min(1, Math.log10(1 + perSecond) / 4).toFixed(2));
}

async function showLatency() {
  for (const { emoji, latencyMs } of await latency.settle((record) => stream.trace(record), performance.now())) {
    swarm.addOwn(emoji);
    byId("latency").textContent = `Your ${emoji} was seen after ${(latencyMs / 1000).toFixed(2)} s`;
    byId("latency").dataset.ms = latencyMs;
  }
}

async function send(emoji) {
  const tappedAt = performance.now();
  const result = await stream.react(emoji);
  if (result.outcome === "accepted" && result.record) latency.accepted({ record: result.record, emoji, tappedAt });
  byId("trouble").textContent = troubleWith(emoji, result);
  return result;
}

function troubleWith(emoji, { outcome, reason }) {
  if (outcome === "refused") return `${emoji} was not sent: ${reason}`;
  if (outcome === "unknown") return `${emoji} may or may not have been counted: ${reason}`;
  return "";
}

function showState({ name, subscriber, reason, retryInMs }) {
  const text = {
    connecting: "Connecting …",
    live: `Live on ${subscriber}`,
    waiting: `${capitalised(reason)}; again in ${Math.ceil(retryInMs / 1000)} s`,
    ended: "The event has ended",
    stopped: reason || "Stopped",
  }[name];
  byId("connection").dataset.state = name;
  byId("connection-text").textContent = text;
  if (name !== "connecting") summary.say(text);
  if (name === "ended") showEnd();
  if (isOver()) offerOthers();
}

/** Whether the page does not connect any more. */
const isOver = () => stream.state.name === "ended" || (stream.state.name === "stopped" && stream.state.reason !== "");

/** Show that the totals are final, and that nobody can react any more. */
function showEnd() {
  for (const id of ["pace", "latency"]) byId(id).hidden = true;
  byId("ended").hidden = false;
  showPace(0);
  summary.say(`The event has ended with ${format.format(sumOf(stream.totals))} reactions.`);
}

/** Let the viewer choose another event: at once if this one was not open, or with a button if it just ended. */
function offerOthers() {
  const buttons = [...byId("palette").children];
  byId("trouble").textContent = "";
  for (const id of ["open-events", "choose-another"]) byId(id).hidden = false;
  // A button that is disabled loses the focus.
  if (buttons.includes(document.activeElement)) byId("choose-another").focus();
  for (const button of buttons) button.disabled = true;
  if (stream.state.name === "stopped") byId("event-title").hidden = true;
  if (buttons.length === 0) chooser.open(stream.state.reason || `The event ${event} has ended.`);
}

const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);

async function loadPalette() {
  try {
    const emoji = await stream.palette();
    if (isOver()) return;
    fillPalette(byId("palette"), emoji, send);
    swarm.prepare(emoji);
    byId("trouble").textContent = "";
  } catch (error) {
    if (isOver()) return;
    byId("trouble").textContent = `The emoji are not here yet: ${error.message}`;
    setTimeout(loadPalette, RETRY_MS);
  }
}

/** Show the button of the live topology if the registry allows it. The topology names every process. */
async function offerScenes() {
  try {
    if ((await stream.config()).live_topology === false) return;
    byId("open-scenes").hidden = false;
    if (showsScenes) scenes.open();
  } catch {
    setTimeout(offerScenes, RETRY_MS);
  }
}

/** Show the name of the event and the button of the others, if there are any. Without a `#`, let the viewer choose. */
async function offerEvents() {
  try {
    const events = await stream.events();
    if (event === "main" && events.length === 1) return;
    showTitle(events.find((each) => each.event === event)?.title ?? event);
    byId("open-events").hidden = false;
    if (!isChosen) chooser.open();
  } catch {
    setTimeout(offerEvents, RETRY_MS);
  }
}

function showTitle(title) {
  if (stream.state.name === "stopped") return;
  document.title = `${title} · EmoStream`;
  byId("event-title").textContent = title;
  byId("event-title").hidden = false;
}

function showTheme(theme) {
  byId("dark").media = { dark: "all", light: "not all" }[theme] ?? "(prefers-color-scheme: dark)";
}

function switchTheme() {
  const isDark = matchMedia(byId("dark").media).matches;
  const theme = isDark ? "light" : "dark";
  showTheme(theme);
  keep("theme", theme);
}

/** The stored value of this name. Null if there is none, or if the browser does not let the page store anything. */
function kept(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Without storage, the choice lasts until the page is closed.
  }
}

showTheme(kept("theme"));
byId("theme").addEventListener("click", switchTheme);

const heedMotion = () => (swarm.still = prefersStill.matches);
prefersStill.addEventListener("change", heedMotion);
heedMotion();

stream.addEventListener("state", ({ detail }) => showState(detail));
stream.addEventListener("swarm", ({ detail }) => showSwarm(detail));
for (const type of ["snapshot", "reset", "end"]) stream.addEventListener(type, () => showTotals(0));

for (const id of ["open-events", "choose-another"]) byId(id).addEventListener("click", () => chooser.open());
byId("close-events").addEventListener("click", () => chooser.close());
// Another event is another page.
addEventListener("hashchange", () => location.reload());

byId("open-scenes").addEventListener("click", () => scenes.open());
byId("close-scenes").addEventListener("click", () => scenes.close());
byId("follow-one").addEventListener("click", async () => {
  const emoji = byId("palette").firstElementChild?.dataset.emoji ?? "🔥";
  const hops = await follow.follow(emoji);
  if (hops && !prefersStill.matches) scenes.travel(emoji, hops, stream.state.cluster, stream.state.subscriber);
});

loadPalette();
offerScenes();
offerEvents();
stream.start();
