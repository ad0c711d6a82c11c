// Numbers as people read them.

const SCALES = [
  [1e9, " G"],
  [1e6, " M"],
  [1e3, " k"],
  [1, ""],
];

function short(number, unit = "") {
  const [divisor, prefix] = SCALES.find(([size]) => Math.abs(number) >= size) || [1, ""];
  const scaled = number / divisor;
  const digits = Math.abs(scaled) >= 100 || Number.isInteger(scaled) ? 0 : Math.abs(scaled) >= 10 ? 1 : 2;
  return `${scaled.toFixed(digits)}${prefix}${unit && !prefix ? ` ${unit}` : unit}`;
}

function seconds(number) {
  if (number === 0) return "0 s";
  return Math.abs(number) < 1 ? `${(number * 1000).toFixed(number < 0.01 ? 1 : 0)} ms` : `${number.toFixed(1)} s`;
}

const FORMATS = {
  per_second: (number) => `${short(number)}/s`,
  bytes_per_second: (number) => `${short(number, "B")}/s`,
  bytes: (number) => short(number, "B"),
  seconds,
  ratio: (number) => `${(number * 100).toFixed(number && number < 0.1 ? 1 : 0)} %`,
  cores: (number) => short(number),
  count: (number) => short(number),
};

export const format = (number, unit) => (number === null || number === undefined ? "–" : FORMATS[unit](number));

// The legend of a series: `{{cluster}}` stands for its label.
export const named = (legend, labels) => legend.replace(/{{(\w+)}}/g, (_, label) => labels[label] || "–");

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString();
