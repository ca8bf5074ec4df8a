// The charts of a run with their controls. What a person chose (scale, smoothing, lines, zoom) outlives every update.
import { Chart } from "./chart.js";
import { CHARTS, FEWEST_STEPS, nearest, number, zoomed } from "./curves.js";
import { button, element } from "./dom.js";
import { savePicture } from "./picture.js";

const KEPT = "studio-charts";
const SMOOTHING = 0.6;

export class Charts {
  constructor(run) {
    this.run = run;
    this.data = { step: [] };
    this.marks = [];
    this.zoomedTo = null; // [low, high], or null for all steps
    this.pinned = null; // the step that is read, or null for the newest
    this.hovered = null; // the row under the pointer
    this.choices = recall();
    this.charts = CHARTS.map((kind) => new Chart(kind, this));
    this.place = element("div", { class: "charts" });
    this.build();
    // light and dark: Gradio sets a class on the body
    new MutationObserver(() => this.charts.forEach((chart) => chart.redraw())).observe(document.body, { attributeFilter: ["class"] });
  }

  /** `data` by column; `best`: {step, value} or null; `kept`: a step or null. Draws nothing that is drawn already. */
  show(data, best, kept, name) {
    this.name = name;
    const shown = JSON.stringify([data, best, kept]);
    if (this.shown === shown) return;
    this.shown = shown;
    this.data = data;
    this.marks = marksOf(best, kept);
    this.update();
  }

  update(afresh) {
    const drawn = this.charts.filter((chart) => chart.show(afresh));
    this.more.hidden = !drawn.some((chart) => chart.kind.more);
    this.tell();
    this.pointAgain();
  }

  /** The steps that are shown: [low, high]. */
  range() {
    return this.zoomedTo ?? this.full();
  }

  full() {
    const { step } = this.data;
    const first = step[0] ?? 0;
    return [first, Math.max(step.at(-1) ?? 0, first + FEWEST_STEPS)];
  }

  zoomTo(range) {
    const [first, last] = this.full();
    const [low, high] = range ? [Math.max(first, range[0]), Math.min(last, range[1])] : [first, last];
    this.zoomedTo = range && (low > first || high < last) ? zoomed([low, high], [first, last], 1, (low + high) / 2) : null;
    for (const chart of this.charts) chart.zoom();
    this.tell();
    this.pointAgain();
    this.said.textContent = this.span.textContent;
  }

  zoomBy(factor) {
    const [low, high] = this.range();
    const inside = this.pinned !== null && this.pinned >= low && this.pinned <= high;
    this.zoomTo(zoomed([low, high], this.full(), factor, inside ? this.pinned : (low + high) / 2));
  }

  move(share) {
    const [low, high] = this.range();
    this.zoomTo(zoomed([low, high], this.full(), 1, (low + high) / 2 + (high - low) * share));
  }

  /** The pointer is over a row of `chart`; null: it has left. */
  hover(index, chart) {
    if (this.hovered === index) return;
    this.hovered = index;
    if (index === null) return this.pointAgain();
    for (const other of this.charts) if (other !== chart) other.point(index);
    this.readOut(index);
  }

  /** The cursor is put where it was before something was drawn. */
  pointAgain() {
    if (this.hovered !== null || !this.data.step.length) return;
    const index = this.pinned === null ? null : nearest(this.data.step, this.pinned);
    for (const chart of this.charts) chart.point(index);
    this.readOut(index ?? this.data.step.length - 1);
  }

  readOut(index) {
    const step = this.data.step[index];
    const told = this.charts.filter((chart) => chart.lines.length).flatMap((chart) => chart.read(index));
    const words = `Step ${number(step)}`;
    this.reader.value = step;
    this.reader.setAttribute("aria-valuetext", `${words}: ${told.join("; ")}`);
    this.readAt.textContent = words;
  }

  /** Which steps are shown, in words and as the ends of the reading slider. */
  tell() {
    const [first, last] = [this.data.step[0] ?? 0, this.data.step.at(-1) ?? 0];
    const [low, high] = this.zoomedTo ?? [first, last];
    const text = `Steps ${number(low)} to ${number(high)}${this.zoomedTo ? ` of ${number(last)}` : ""}`;
    if (this.span.textContent !== text) this.span.textContent = text;
    Object.assign(this.reader, { min: low, max: Math.min(high, last) });
    for (const one of this.zoomers) one.setAttribute("aria-disabled", String(this.zoomedTo === null));
  }

  /** Hides a line or shows it again; returns whether it is hidden. */
  hide(name, hidden) {
    const others = this.choices.hidden.filter((one) => one !== name);
    this.choose({ hidden: hidden ? [...others, name] : others });
    for (const chart of this.charts) {
      chart.lines.forEach((line, at) => line.name === name && chart.plot?.setSeries(at + 1, { show: !hidden }));
    }
    return hidden;
  }

  choose(changed) {
    Object.assign(this.choices, changed);
    try {
      localStorage.setItem(KEPT, JSON.stringify(this.choices));
    } catch {
      // a browser that keeps nothing: the choice holds until the page is left
    }
  }

  build() {
    const small = (label, onclick) => button(label, "small secondary", onclick);
    const log = element("input", {
      type: "checkbox", checked: this.choices.log,
      onchange: () => { this.choose({ log: log.checked }); this.update(true); },
    });
    const strength = element("output", {}, words(this.choices.smoothing));
    const smoothing = element("input", {
      type: "range", min: 0, max: 0.95, step: 0.05, value: this.choices.smoothing,
      oninput: () => { this.choose({ smoothing: Number(smoothing.value) }); strength.textContent = words(this.choices.smoothing); this.update(); },
    });
    this.span = element("span", { class: "span" });
    this.zoomers = [small("Earlier", () => this.move(-0.5)), small("Later", () => this.move(0.5)), small("Show all", () => this.zoomTo(null))];
    this.readAt = element("output", {});
    this.reader = element("input", {
      type: "range", step: 1, "aria-label": "Read the values at a step",
      oninput: () => { this.pinned = this.reader.value === this.reader.max && !this.zoomedTo ? null : Number(this.reader.value); this.pointAgain(); },
    });
    this.said = element("span", { class: "for-readers", role: "status" });
    const places = (more) => this.charts.filter((chart) => Boolean(chart.kind.more) === more).map((chart) => chart.place);
    const [loss, ...main] = places(false);
    this.more = element("details", {
      class: "more-charts", open: this.choices.more, ontoggle: () => this.choose({ more: this.more.open }),
    }, element("summary", {}, "More charts: learning rate, gradients, speed, memory"), element("div", { class: "small-charts" }, ...places(true)));
    this.place.append(
      element("div", { class: "chart-tools", role: "group", "aria-label": "How the charts are drawn" },
        element("label", {}, log, "Log scale"),
        element("label", {}, "Smoothing", smoothing, strength),
        element("span", { class: "buttons" },
          element("a", { class: "button small secondary", href: `/download/run-${this.run}-metrics.csv` }, "Numbers (CSV)"),
          small("Picture (PNG)", () => savePicture(this.place, `run-${this.run}-charts.png`, this.name)))),
      loss,
      element("div", { class: "chart-tools", role: "group", "aria-label": "Zoom and values" },
        this.span,
        element("span", { class: "buttons" }, small("Zoom in", () => this.zoomBy(0.5)), small("Zoom out", () => this.zoomBy(2)), ...this.zoomers),
        element("label", { class: "reader" }, this.reader, this.readAt),
        this.said),
      ...main,
      this.more,
    );
  }
}

function words(smoothing) {
  return smoothing ? `${Math.round(100 * smoothing)}%` : "off";
}

/** Of the best check, and of the step the adapter is from if that is another one. */
function marksOf(best, kept) {
  const marks = [];
  if (best) marks.push({ ...best, text: best.step ? `best: step ${number(best.step)}` : "best: before training", line: "--chart-unseen" });
  if (kept !== null && kept !== best?.step) marks.push({ step: kept, value: null, text: `adapter: step ${number(kept)}`, line: "--chart-text" });
  return marks;
}

/** What was chosen before, as far as it makes sense. */
function recall() {
  let found = {};
  try {
    found = JSON.parse(localStorage.getItem(KEPT)) ?? {};
  } catch {
    // nothing that can be read
  }
  const smoothing = found.smoothing >= 0 && found.smoothing <= 0.95 ? Number(found.smoothing) : SMOOTHING;
  return { log: found.log === true, smoothing, hidden: Array.isArray(found.hidden) ? found.hidden : [], more: found.more === true };
}
