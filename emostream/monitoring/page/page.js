// The page of graphs. It needs nothing but the Prometheus that serves it. panels.json says what it shows.

import { Chart } from "./chart.js";
import { clock, format, named } from "./format.js";
import { listed, marksIn } from "./marks.js";
import * as prometheus from "./prometheus.js";

const MOST_MARKS = 8;
const byId = (id) => document.getElementById(id);
const made = (tag, text = "") => Object.assign(document.createElement(tag), { textContent: text });

class Section {
  constructor({ name, title, saturation, panels }) {
    Object.assign(this, { name, title, saturation });
    this.isVisible = false;
    this.panels = panels.map((panel) => ({ ...panel, chart: new Chart(panel) }));
    this.element = made("section");
    this.element.id = name;
    const grid = made("div");
    grid.className = "panels";
    grid.append(...this.panels.map(({ chart }) => chart.element));
    this.element.append(made("h2", title), grid);
    new IntersectionObserver(([entry]) => {
      this.isVisible = entry.isIntersecting;
      if (this.isVisible) wake();
    }).observe(this.element);
  }

  async draw(event, span, marks) {
    const filled = await Promise.all(this.panels.map((panel) => lines(panel, event, span)));
    this.element.dataset.state = filled.some((each) => each.length) ? "filled" : "empty";
    this.panels.forEach(({ chart }, index) => chart.show(span.times, filled[index], marks));
  }
}

async function lines({ queries }, event, span) {
  const results = await Promise.all(
    queries.map(async ({ expr, legend }) => {
      const found = await prometheus.series(prometheus.filled(expr, event, span), span);
      return found.map(({ labels, values }) => ({ name: named(legend, labels), values }));
    }),
  );
  return results.flat();
}

async function showAlerts() {
  const [firing, rules] = await Promise.all([prometheus.firing(), prometheus.rules()]);
  byId("quiet").hidden = firing.length > 0;
  byId("firing").replaceChildren(
    ...firing.map(({ labels, annotations, activeAt }) => {
      const item = made("li");
      item.dataset.severity = labels.severity;
      const link = Object.assign(made("a", labels.alertname), { href: `#${labels.alertname}` });
      const where = [labels.cluster, labels.tier, labels.instance].filter(Boolean).join(", ");
      const since = `since ${clock(Date.parse(activeAt) / 1000)}`;
      item.append(link, ` ${where ? `(${where}) ` : ""}${since}: ${annotations.summary}`);
      return item;
    }),
  );
  if (byId("remedies").childElementCount) return;
  for (const { name, annotations } of rules) {
    const term = Object.assign(made("dt", name), { id: name });
    byId("remedies").append(term, made("dd", `${annotations.summary} ${annotations.remedy}`));
  }
  // The browser looked for the target before it was there.
  if (window.location.hash) document.getElementById(window.location.hash.slice(1))?.scrollIntoView();
}

async function showLoad(sections, span) {
  const asked = sections.filter(({ saturation }) => saturation);
  const shares = await Promise.all(
    asked.map(({ saturation }) => prometheus.value(prometheus.filled(saturation, ".*", span))),
  );
  const known = asked.map(({ name, title }, index) => ({ name, title, share: shares[index] })).filter(({ share }) => share !== null);
  const busiest = known.reduce((most, each) => (most && most.share >= each.share ? most : each), null);
  byId("busiest").textContent = busiest ? `Busiest: ${busiest.title}, ${format(busiest.share, "ratio")}.` : "";
  byId("tiers").replaceChildren(
    ...known.map(({ name, title, share }) => {
      const item = made("li");
      item.className = name === busiest.name ? "busiest" : "";
      item.style.setProperty("--share", Math.min(1, share));
      item.append(Object.assign(made("a", title), { href: `#${name}` }), ` ${format(share, "ratio")}`);
      return item;
    }),
  );
}

async function showEvents() {
  const known = new Set([...byId("event").options].map(({ value }) => value));
  for (const event of await prometheus.events()) {
    if (!known.has(event)) byId("event").append(Object.assign(made("option", event), { value: event }));
  }
  if (byId("event").dataset.wanted) byId("event").value = byId("event").dataset.wanted;
  delete byId("event").dataset.wanted;
}

let wake = () => {};

// Some seconds, or until somebody chose something else or scrolled.
const rest = (seconds) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });

async function refresh(sections) {
  const span = prometheus.spanOf(Number(byId("range").value), Date.now() / 1000);
  await showEvents();
  const [marks] = await Promise.all([marksIn(span), showAlerts(), showLoad(sections, span)]);
  byId("marks").replaceChildren(...listed(marks, MOST_MARKS));
  const event = byId("event").value;
  await Promise.all(sections.filter(({ isVisible }) => isVisible).map((section) => section.draw(event, span, marks)));
  return span.step;
}

async function main() {
  const asked = new URLSearchParams(window.location.search);
  if (asked.get("range")) byId("range").value = asked.get("range");
  byId("event").dataset.wanted = asked.get("event") || "";
  for (const id of ["event", "range"]) {
    byId(id).addEventListener("change", () => {
      window.history.replaceState(null, "", `?event=${encodeURIComponent(byId("event").value)}&range=${byId("range").value}`);
      wake();
    });
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => wake());
  const { sections: wanted } = await (await fetch("panels.json")).json();
  const sections = wanted.map((each) => new Section(each));
  byId("sections").append(...sections.map(({ element }) => element));
  for (;;) {
    let pause = 5;
    try {
      pause = await refresh(sections);
      byId("status").textContent = `As of ${clock(Date.now() / 1000)}`;
      byId("status").dataset.state = "current";
    } catch (error) {
      byId("status").textContent = `Prometheus does not answer: ${error.message}`;
      byId("status").dataset.state = "failed";
    }
    await rest(pause);
  }
}

main();
