/** The web page: connects the tags, which show the swarms and send reactions, with all that is around them. */

import { sumOf } from "./crowd.js";
import { Chooser, addressed, hashOf } from "./events.js";
import "./emostream-reactions.js";
import { FollowOne } from "./follow.js";
import { hubOf } from "./hub.js";
import { Pace } from "./pace.js";
import { languageOf, speak } from "./page_messages.js";
import { keep, kept } from "./storage.js";
import { Summary } from "./summary.js";
import { Scenes } from "./topology.js";
import { BarRace, RunningNumber } from "./totals.js";

// The totals run to their next value over the length of a window, but no longer than this.
const MAX_RUN_MS = 2_500;
const RETRY_MS = 2_000;
const TICK_MS = 500;
// The registry asks every subscriber how many watch.
const WATCHING_EVERY_MS = 15_000;

const byId = (id) => document.getElementById(id);

const { event, isChosen, showsScenes } = addressed(location.hash);
const lang = languageOf([new URLSearchParams(location.search).get("lang") ?? "", ...navigator.languages]);
const texts = speak(document, lang);
const format = new Intl.NumberFormat(lang);
const fine = new Intl.NumberFormat(lang, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const tags = [byId("sky"), byId("bar")];
for (const tag of tags) tag.setAttribute("event", event);
const hub = hubOf(null, event);
const { stream } = hub;
const total = new RunningNumber(byId("total"), format);
const bars = new BarRace(byId("bars"), format);
const pace = new Pace();
const summary = new Summary(byId("summary"), performance.now(), (counts, seconds, most) =>
  texts.summary(format.format(counts), format.format(seconds), most),
);
const follow = new FollowOne(stream, hub.own, {
  button: byId("follow-one"),
  status: byId("follow-status"),
  bar: byId("follow-bar"),
  list: byId("follow-hops"),
});
const addresses =
  event === "main"
    ? { opened: "#topology", closed: location.pathname + location.search }
    : { opened: `#${event}/topology`, closed: hashOf(event) };
const chooser = new Chooser(byId("events"), () => stream.events(), event, lang, texts.viewers);
const prefersStill = matchMedia("(prefers-reduced-motion: reduce)");
let watching = null;
let retryAt = 0;

// For the console, and for tests.
window.emostream = { stream, hub, tags };

const isStill = () => prefersStill.matches || byId("sky").paused;
const scenes = new Scenes(byId("scenes"), () => stream.topology(), addresses, isStill);

function showTotals(spreadMs) {
  const sum = sumOf(stream.totals);
  total.runTo(sum, isStill() ? 0 : spreadMs);
  byId("total").dataset.value = sum;
  byId("nobody").hidden = sum > 0;
  bars.show(stream.totals);
}

function showSwarm({ window: { start, end }, reactions, counts }) {
  const now = performance.now();
  showTotals(Math.min(end - start, MAX_RUN_MS));
  pace.add(reactions, end - start, now);
  scenes.pour(end - start);
  summary.add(counts, now);
  showPace();
}

/** Show the rate, which is not known while the page is not connected. */
function showPace() {
  const perSecond = stream.state.name === "live" ? pace.perSecond(performance.now()) : null;
  byId("rate").textContent = perSecond === null ? "–" : format.format(Math.round(perSecond));
  // About 0 at one reaction a second, and 1 at ten thousand.
  document.body.style.setProperty("--energy", Math.min(1, Math.log10(1 + (perSecond ?? 0)) / 4).toFixed(2));
}

function showCounted({ emoji, own, count, latencyMs }) {
  const of = format.format(count);
  const share = own === 1 ? texts.one(of) : texts.some(format.format(own), of);
  byId("latency").textContent = texts.counted(emoji, share, fine.format(latencyMs / 1000));
  byId("latency").dataset.ms = latencyMs;
}

function showState({ name, subscriber, retryInMs }) {
  retryAt = performance.now() + retryInMs;
  if (name !== "live") pace.clear();
  byId("connection").dataset.state = name;
  byId("served-by").textContent = subscriber ? `This page is connected to ${subscriber}.` : "";
  showConnection();
  if (name !== "connecting") summary.say(byId("connection-text").textContent);
  if (name === "ended") showEnd();
  if (hub.isOver) offerOthers();
}

function showConnection() {
  const { name, reason } = stream.state;
  const seconds = Math.max(1, Math.ceil((retryAt - performance.now()) / 1000));
  const text = {
    connecting: texts.connecting,
    live: watching === null ? texts.live : texts.watching(format.format(watching)),
    waiting: texts.waiting(capitalised(reason), format.format(seconds)),
    ended: texts.ended,
    stopped: reason || texts.stopped,
  }[name];
  if (byId("connection-text").textContent !== text) byId("connection-text").textContent = text;
}

/** Show that the totals are final, and that nobody can react any more. */
function showEnd() {
  for (const id of ["pace", "latency"]) byId(id).hidden = true;
  byId("ended").hidden = false;
  showPace();
  summary.say(texts.endedWith(format.format(sumOf(stream.totals))));
}

/** Let the viewer choose another event: at once if this one was not open, or with a button if it just ended. */
async function offerOthers() {
  for (const id of ["open-events", "choose-another"]) byId(id).hidden = false;
  // Buttons that are disabled lose the focus.
  if (document.activeElement === byId("bar")) byId("choose-another").focus();
  if (stream.state.name === "stopped") byId("event-title").hidden = true;
  const hadPalette = await hub.palette().then(() => true, () => false);
  if (!hadPalette) chooser.open(stream.state.reason || `The event ${event} has ended.`);
}

const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);

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
    noteWatching(events);
    if (event === "main" && events.length === 1) return;
    showTitle(events.find((each) => each.event === event)?.title ?? event);
    byId("open-events").hidden = false;
    if (!isChosen) chooser.open();
  } catch {
    setTimeout(offerEvents, RETRY_MS);
  }
}

function noteWatching(events) {
  watching = events.find((each) => each.event === event)?.viewers || null;
  showConnection();
}

/** Ask again how many watch, while somebody can see it. */
function countWatching() {
  if (!document.hidden && stream.state.name === "live") stream.events().then(noteWatching, () => {});
}

function showTitle(title) {
  if (stream.state.name === "stopped") return;
  document.title = `${title} · EmoStream`;
  byId("event-title").textContent = title;
}

function showTheme(theme) {
  byId("dark").media = { dark: "all", light: "not all" }[theme] ?? "(prefers-color-scheme: dark)";
  for (const tag of tags) tag.setAttribute("theme", theme ?? "auto");
}

function switchTheme() {
  const isDark = matchMedia(byId("dark").media).matches;
  const theme = isDark ? "light" : "dark";
  showTheme(theme);
  keep("theme", theme);
}

showTheme(kept("theme"));
byId("theme").addEventListener("click", switchTheme);

const heedMotion = () => document.body.classList.toggle("still", byId("sky").paused);
new MutationObserver(heedMotion).observe(byId("sky"), { attributeFilter: ["paused"] });

stream.addEventListener("state", ({ detail }) => showState(detail));
stream.addEventListener("swarm", ({ detail }) => showSwarm(detail));
for (const type of ["snapshot", "reset", "end"]) stream.addEventListener(type, () => showTotals(0));
hub.addEventListener("counted", ({ detail }) => showCounted(detail));

for (const id of ["open-events", "choose-another"]) byId(id).addEventListener("click", () => chooser.open());
byId("close-events").addEventListener("click", () => chooser.close());
// Another event is another page.
addEventListener("hashchange", () => location.reload());

byId("open-scenes").addEventListener("click", () => scenes.open());
byId("close-scenes").addEventListener("click", () => scenes.close());
byId("follow-one").addEventListener("click", async () => {
  const emoji = (await hub.palette().catch(() => []))[0] ?? "🔥";
  const hops = await follow.follow(emoji);
  if (hops && !isStill()) scenes.travel(emoji, hops, stream.state.cluster, stream.state.subscriber);
});

setInterval(() => {
  showPace();
  showConnection();
}, TICK_MS);
setInterval(countWatching, WATCHING_EVERY_MS);
offerScenes();
offerEvents();
