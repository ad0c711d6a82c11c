// What happened in the time of the graphs: processes that started, releases that came, alerts that fired.

import { clock } from "./format.js";
import { series } from "./prometheus.js";

const STARTS = 'max by (tier, instance) (process_start_time_seconds{tier!="prometheus"})';
const RELEASES = "max by (tier, instance, release) (emostream_build_info)";
const ALERTS = 'max by (alertname, severity) (ALERTS{alertstate="firing"})';

export async function marksIn(span) {
  const [starts, releases, alerts] = await Promise.all([STARTS, RELEASES, ALERTS].map((query) => series(query, span)));
  return { starts: startsOf(starts, releases, span), alerts: alerts.flatMap((each) => spellsOf(each, span)) };
}

// Each start of a process. It is a deployment if the process runs another release than before.
function startsOf(starts, releases, { start, times }) {
  const found = [];
  for (const { labels, values } of starts) {
    for (const time of new Set(values.filter((value) => value !== null && value >= start))) {
      const release = newRelease(releases, labels.instance, time, times);
      found.push({ time, text: `${labels.instance} started${release ? ` with release ${release}` : ""}` });
    }
  }
  return found;
}

function newRelease(releases, instance, time, times) {
  const own = releases.filter(({ labels }) => labels.instance === instance);
  const after = own.find(({ values }) => values.some((value, index) => value !== null && times[index] >= time));
  const isOld = after?.values.some((value, index) => value !== null && times[index] < time);
  return own.length > 1 && after && !isOld ? after.labels.release : "";
}

// From when to when an alert fired, once for each time.
function spellsOf({ labels, values }, { step, times }) {
  const found = [];
  values.forEach((value, index) => {
    if (value === null) return;
    const last = found[found.length - 1];
    if (last && times[index] - last.to <= step) last.to = times[index];
    else found.push({ from: times[index], to: times[index], text: `${labels.alertname} fired` });
  });
  return found;
}

// The newest ones, as items of a list. Starts at the same moment share one.
export function listed({ starts, alerts }, most) {
  const all = [...starts, ...alerts.map(({ from, text }) => ({ time: from, text }))].sort((a, b) => b.time - a.time);
  const moments = new Map();
  for (const { time, text } of all) moments.set(clock(time), [...(moments.get(clock(time)) || []), text]);
  return [...moments].slice(0, most).map(([time, texts]) => {
    const item = document.createElement("li");
    item.append(Object.assign(document.createElement("time"), { textContent: time }), texts.join(", "));
    return item;
  });
}
