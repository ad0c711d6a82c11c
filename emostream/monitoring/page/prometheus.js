// Asks the Prometheus that serves this page.

const ANSWER_TIMEOUT_MS = 10_000;

// The field `data` of its answer. Throws an Error if there is none in time.
async function ask(path, parameters) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), ANSWER_TIMEOUT_MS);
  try {
    const response = await fetch(`../api/v1/${path}?${new URLSearchParams(parameters)}`, { signal: abort.signal });
    const answer = await response.json();
    if (answer.status !== "success") throw new Error(answer.error);
    return answer.data;
  } finally {
    clearTimeout(timer);
  }
}

// The time of a graph: from `start` to `end`, in seconds since the epoch, one value each `step` seconds.
export function spanOf(rangeSeconds, nowSeconds) {
  const step = Math.max(5, Math.ceil(rangeSeconds / 180));
  const end = Math.floor(nowSeconds / step) * step;
  const start = end - Math.ceil(rangeSeconds / step) * step;
  const times = [];
  for (let time = start; time <= end; time += step) times.push(time);
  return { start, end, step, times };
}

// What a query of panels.json means for this event and span.
export function filled(expr, event, span) {
  return expr.split("$event").join(event).split("$window").join(`${Math.max(30, 2 * span.step)}s`);
}

// The series of a query: for each one its labels, and a value or null for each time of the span.
export async function series(expr, { start, end, step, times }) {
  const { result } = await ask("query_range", { query: expr, start, end, step });
  return result.map(({ metric, values }) => {
    const found = new Map(values.map(([time, value]) => [time, Number(value)]));
    return { labels: metric, values: times.map((time) => (Number.isFinite(found.get(time)) ? found.get(time) : null)) };
  });
}

// The value of a query now; null if it has none.
export async function value(expr) {
  const { result } = await ask("query", { query: expr });
  const found = result.length ? Number(result[0].value[1]) : NaN;
  return Number.isFinite(found) ? found : null;
}

export const events = () => ask("label/event/values", {});

export const firing = async () => (await ask("alerts", {})).alerts.filter(({ state }) => state === "firing");

// Every alert that there is, with its summary and remedy.
export const rules = async () => (await ask("rules", { type: "alert" })).groups.flatMap((group) => group.rules);
