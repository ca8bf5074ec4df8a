// What the charts of a run show, and the arithmetic of their lines. Knows nothing of the page.

export const FEWEST_STEPS = 5; // that a chart is wide

const plain = (value) => value.toFixed(Math.abs(value) < 10 ? 3 : 1);
const percent = (value) => `${(100 * value).toFixed(1)}%`;
/** “1,200” */
export const number = (value) => Math.round(value).toLocaleString("en-US");

const learning = { label: "Learning", color: "--chart-learning", smooth: true };
const unseen = { label: "Unseen examples", color: "--chart-unseen", checks: true };

/**
 * `lines` by the names of the metric columns; `checks`: measured now and then, so drawn with dots. `baseline`: the line
 * whose value at step 0, of the untrained model, goes across. `limits`: the lowest and highest value there can be.
 */
export const CHARTS = [
  {
    name: "loss", title: "Loss", about: "how far its answers are from yours; lower is better", format: plain, height: 300,
    lines: { train_loss: learning, validation_loss: unseen }, baseline: "validation_loss", log: true, marks: true,
  },
  {
    name: "accuracy", title: "Tokens right", about: "pieces of words it would have written as you did; higher is better",
    format: percent, height: 220, limits: [0, 1],
    lines: { token_accuracy: learning, validation_accuracy: unseen }, baseline: "validation_accuracy",
  },
  {
    name: "rate", title: "Learning rate", about: "the size of each correction", more: true, height: 180,
    format: (value) => (value === 0 ? "0" : value.toExponential(1)),
    lines: { learning_rate: { label: "Learning rate", color: "--chart-line" } },
  },
  {
    name: "gradient", title: "Gradient norm", about: "the pull of the examples; peaks are a bad sign", more: true,
    format: (value) => String(Number(value.toPrecision(3))), height: 180,
    lines: { gradient_norm: { label: "Gradient norm", color: "--chart-line", smooth: true } },
  },
  {
    name: "speed", title: "Tokens per second", about: "a token is about three quarters of a word", more: true,
    format: number, height: 180,
    lines: { tokens_per_second: { label: "Tokens per second", color: "--chart-line", smooth: true } },
  },
  {
    name: "memory", title: "Memory", about: "what training holds, in GiB", more: true, format: (value) => `${value.toFixed(2)} GiB`,
    height: 180, lines: { memory_gib: { label: "Memory", color: "--chart-line" } },
  },
];

/** The lines of a chart as they are drawn: {name, label, color, values, faint, dash, checks}; [] if nothing was measured. */
export function linesOf(kind, data, { log, smoothing }) {
  const positive = (values) => (kind.log && log ? values.map((value) => (value > 0 ? value : null)) : values);
  const lines = Object.entries(kind.lines).filter(([name]) => data[name]).flatMap(([name, line]) => {
    const values = positive(data[name]);
    if (!line.smooth || !smoothing) return [{ ...line, name, values }];
    return [
      { ...line, name, values, faint: true },
      { ...line, name, label: `${line.label}, smoothed`, values: smooth(values, smoothing) },
    ];
  });
  const first = data[kind.baseline]?.[0];
  if (data.step[0] === 0 && typeof first === "number") {
    lines.push({
      name: "baseline", label: "Before training", color: "--chart-text", dash: [5, 5], values: positive(data.step.map(() => first)),
    });
  }
  return lines;
}

/** Exponential moving average that does not lean towards zero at the start (as in Adam); gaps stay gaps. */
export function smooth(values, weight) {
  let sum = 0;
  let weights = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = weight * sum + (1 - weight) * value;
    weights = weight * weights + (1 - weight);
    return sum / weights;
  });
}

/** The index of the newest value up to `index`, or null. */
export function lastKnown(values, index) {
  for (let at = index; at >= 0; at--) if (values[at] !== null && values[at] !== undefined) return at;
  return null;
}

/** The index of the step nearest to `step`; the steps are in order. */
export function nearest(steps, step) {
  let after = steps.findIndex((one) => one >= step);
  if (after < 0) after = steps.length - 1;
  return after > 0 && step - steps[after - 1] < steps[after] - step ? after - 1 : after;
}

/** Round values for a logarithmic axis: as few kinds of them as give at least three. */
export function logSplits(low, high) {
  for (const digits of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]]) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      found.push(...digits.map((digit) => Number((digit * 10 ** power).toPrecision(6))));
    }
    const inside = found.filter((value) => value >= low && value <= high);
    if (inside.length >= 3) return inside;
  }
  return [0, 1, 2, 3].map((part) => Number((low + ((high - low) * (part + 0.5)) / 4).toPrecision(3)));
}

/** [low, high] of a view of `factor` times the span around `centre`, within `full`; null if that is all of it. */
export function zoomed([low, high], [first, last], factor, centre) {
  const span = Math.max(FEWEST_STEPS, Math.round((high - low) * factor));
  if (span >= last - first) return null;
  const start = Math.min(Math.max(first, Math.round(centre - span / 2)), last - span);
  return [start, start + span];
}
