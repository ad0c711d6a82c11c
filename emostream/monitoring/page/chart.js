// One graph: a uPlot in a figure, and a legend with the value under the cursor, or else the newest one.

import { format } from "./format.js";

const HEIGHT = 160;
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Chart {
  #figure;
  #plot = null;
  #drawn = "";
  #lines = [];
  #marks = { starts: [], alerts: [] };

  constructor(panel) {
    this.unit = panel.unit;
    this.#figure = document.createElement("figure");
    this.#figure.innerHTML = '<figcaption></figcaption><div class="plot"></div><ul class="legend"></ul>';
    this.#figure.querySelector("figcaption").textContent = panel.title;
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(this.#figure);
  }

  get element() {
    return this.#figure;
  }

  // Show these lines, `{ name, values }`, at these times.
  show(times, lines, marks) {
    this.#lines = lines;
    this.#marks = marks;
    const data = [times, ...lines.map(({ values }) => values)];
    const drawn = JSON.stringify([lines.map(({ name }) => name), style("--text")]);
    if (drawn === this.#drawn) {
      this.#plot.setData(data);
    } else {
      this.#drawn = drawn;
      this.#plot?.destroy();
      this.#plot = new uPlot(this.#options(lines), data, this.#figure.querySelector(".plot"));
    }
    this.#label(null);
  }

  #size() {
    return { width: this.#figure.querySelector(".plot").clientWidth, height: HEIGHT };
  }

  #options(lines) {
    const colours = style("--series").split(",");
    const axis = { stroke: style("--muted"), grid: { stroke: style("--grid"), width: 1 }, ticks: { show: false } };
    const largest = this.unit === "ratio" ? 1 : 0;
    return {
      ...this.#size(),
      legend: { show: false },
      cursor: { sync: { key: "time" }, drag: { setScale: false } },
      scales: { y: { range: (_, __, max) => [0, Math.max(largest, max * 1.1 || 1)] } },
      axes: [axis, { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => format(tick, this.unit)) }],
      series: [{}, ...lines.map((_, index) => ({ stroke: colours[index % colours.length].trim(), width: 1.5 }))],
      hooks: { draw: [(plot) => this.#drawMarks(plot)], setCursor: [({ cursor }) => this.#label(cursor.idx)] },
    };
  }

  #drawMarks(plot) {
    const { ctx, bbox, scales } = plot;
    const x = (time) => Math.min(Math.max(plot.valToPos(time, "x", true), bbox.left), bbox.left + bbox.width);
    ctx.save();
    ctx.fillStyle = ctx.strokeStyle = style("--bad");
    ctx.globalAlpha = 0.14;
    for (const { from, to } of this.#marks.alerts) ctx.fillRect(x(from), bbox.top, Math.max(2, x(to) - x(from)), bbox.height);
    ctx.globalAlpha = 0.8;
    ctx.strokeStyle = style("--muted");
    ctx.setLineDash([4, 4]);
    for (const { time } of this.#marks.starts) {
      if (time < scales.x.min || time > scales.x.max) continue;
      ctx.beginPath();
      ctx.moveTo(x(time), bbox.top);
      ctx.lineTo(x(time), bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  // The values at an index of the times; with null the newest ones.
  #label(index) {
    const colours = style("--series").split(",");
    const items = this.#lines.map(({ name, values }, line) => {
      const item = document.createElement("li");
      const at = index ?? values.reduce((last, value, here) => (value === null ? last : here), 0);
      item.append(document.createElement("i"), `${name} `);
      item.append(Object.assign(document.createElement("b"), { textContent: format(values[at], this.unit) }));
      item.style.setProperty("--colour", colours[line % colours.length]);
      return item;
    });
    this.#figure.querySelector(".legend").replaceChildren(...items);
  }
}
