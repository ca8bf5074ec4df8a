// One chart over the steps of a run: uPlot's lines, a legend of buttons with the values at the cursor, and marks.
import { lastKnown, linesOf, logSplits, number } from "./curves.js";
import { element } from "./dom.js";

const FONT = "12px system-ui, sans-serif";
const ABOVE = 20; // pixels above the lines, for the names of marks

export class Chart {
  /** `view` is what all charts of a page share; see charts.js. */
  constructor(kind, view) {
    this.kind = kind;
    this.view = view;
    this.lines = [];
    this.plot = null;
    this.legend = element("div", { class: "chart-legend" });
    this.area = element("div", { class: "plot", "aria-hidden": "true" });
    this.place = element("figure", { class: `chart ${kind.name}`, "aria-label": kind.title, hidden: true },
      element("figcaption", {}, element("strong", {}, kind.title), element("span", {}, kind.about)), this.legend, this.area);
    new ResizeObserver(() => this.resize()).observe(this.area);
  }

  /** Draws what is new; `afresh` because the scale is another one. Returns whether there is anything to draw. */
  show(afresh = false) {
    const { data, choices } = this.view;
    const lines = linesOf(this.kind, data, choices);
    const same = !afresh && lines.map((line) => line.label).join() === this.lines.map((line) => line.label).join();
    this.lines = lines;
    this.place.hidden = lines.length === 0;
    if (!same) this.buildLegend();
    if (this.plot && same) this.plot.setData(this.data());
    else this.redraw();
    return lines.length > 0;
  }

  data() {
    return [this.view.data.step, ...this.lines.map((line) => line.values)];
  }

  resize() {
    const width = this.area.clientWidth;
    if (!width) return;
    if (!this.plot) this.redraw();
    else if (this.plot.width !== width) this.plot.setSize({ width, height: this.kind.height });
    this.view.pointAgain();
  }

  /** From nothing: other lines, another scale, or other colours. */
  redraw() {
    this.plot?.destroy();
    this.plot = null;
    this.view.hovered = null;
    if (this.lines.length && this.area.clientWidth) this.plot = new uPlot(this.options(), this.data(), this.area);
  }

  zoom() {
    const [min, max] = this.view.range();
    this.plot?.setScale("x", { min, max });
  }

  /** Puts the cursor on a row; takes it away for null. */
  point(index) {
    if (!this.plot) return;
    const left = index === null ? -1 : this.plot.valToPos(this.view.data.step[index], "x");
    const inside = left >= 0 && left <= this.plot.over.clientWidth;
    this.plot.setCursor(inside ? { left, top: 0 } : { left: -10, top: -10 }, false);
  }

  /** Writes the values at a row into the legend, and returns them as words. */
  read(index) {
    const { step } = this.view.data;
    const told = [];
    for (const { label, name, values } of this.lines.filter((line) => !line.faint)) {
      const at = lastKnown(values, index);
      const value = at === null ? "–" : this.kind.format(values[at]);
      const earlier = at === null || at === index || name === "baseline" ? "" : ` (step ${number(step[at])})`;
      const shown = this.values.get(label);
      if (shown.textContent !== value + earlier) shown.textContent = value + earlier;
      if (at !== null && !this.view.choices.hidden.includes(name)) told.push(`${label} ${value}${earlier}`);
    }
    return told;
  }

  buildLegend() {
    this.values = new Map();
    const named = this.lines.filter((line) => !line.faint);
    this.legend.replaceChildren(...named.map((line) => {
      const value = element("span", { class: "value" });
      this.values.set(line.label, value);
      const inside = [element("span", { class: `swatch${line.dash ? " dashed" : ""}`, style: `color: var(${line.color})` }),
        element("span", {}, line.label), value];
      if (named.length === 1) return element("span", { class: "key" }, ...inside);
      const key = element("button", {
        class: "key", type: "button", title: "Show or hide this line", "aria-pressed": String(!this.isHidden(line)),
        onclick: () => key.setAttribute("aria-pressed", String(!this.view.hide(line.name, !this.isHidden(line)))),
      }, ...inside);
      return key;
    }));
  }

  isHidden(line) {
    return this.view.choices.hidden.includes(line.name);
  }

  options() {
    const { kind, view } = this;
    const style = getComputedStyle(this.place);
    const color = (name) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: color("--chart-text"), font: FONT,
      grid: { stroke: color("--chart-grid"), width: 1 }, ticks: { stroke: color("--chart-grid"), width: 1 },
    };
    return {
      width: this.area.clientWidth,
      height: kind.height,
      padding: [kind.marks ? ABOVE : 8, 14, 0, 0],
      legend: { show: false },
      scales: { x: { time: false, range: () => view.range() }, y: this.scale() },
      axes: [
        { ...axis, size: 34, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5] },
        { ...axis, ...this.labels() },
      ],
      cursor: {
        y: false,
        points: { size: 8 },
        drag: { x: true, y: false, setScale: false },
        dataIdx: (_, series, index) => (this.lines[series - 1]?.checks ? lastKnown(this.lines[series - 1].values, index) : index),
        bind: { dblclick: () => () => view.zoomTo(null) },
      },
      hooks: {
        setCursor: [(plot) => view.hover(plot.cursor.idx ?? null, this)],
        setSelect: [(plot) => this.selected(plot)],
        draw: kind.marks ? [(plot) => this.drawMarks(plot, color)] : [],
      },
      series: [{}, ...this.lines.map((line) => ({
        label: line.label, stroke: color(line.color), show: !this.isHidden(line), spanGaps: true, dash: line.dash,
        alpha: line.faint ? 0.35 : 1, width: line.faint || line.dash ? 1 : 2,
        points: line.checks ? { show: true, size: 7, fill: color(line.color) } : { show: false },
      }))],
    };
  }

  scale() {
    const { log, limits } = this.kind;
    if (log && this.view.choices.log) return { distr: 3, range: (_, low, high) => (low > 0 ? [low / 1.1, high * 1.1] : [0.1, 1]) };
    return {
      range: (_, low, high) => {
        if (low === null) return limits ?? [0, 1];
        const [from, to] = uPlot.rangeNum(low, high, 0.08, true);
        return limits ? [Math.max(limits[0], from), Math.min(limits[1], to)] : [from, to];
      },
    };
  }

  /** Of the y axis. */
  labels() {
    const size = (_, values) => Math.max(44, 14 + 7 * Math.max(0, ...(values ?? []).map((value) => String(value).length)));
    const { kind } = this;
    if (kind.log && this.view.choices.log) {
      return { size, splits: (_, __, low, high) => logSplits(low, high), filter: (_, splits) => splits, values: (_, splits) => splits.map(String) };
    }
    if (kind.limits) return { size, values: (_, splits, __, ___, step) => splits.map((value) => `${(100 * value).toFixed(step < 0.01 ? 1 : 0)}%`) };
    if (kind.name === "rate") return { size, values: (_, splits) => splits.map(kind.format) };
    return { size };
  }

  selected(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.view.zoomTo([plot.posToVal(left, "x"), plot.posToVal(left + width, "x")].map(Math.round));
  }

  /** A vertical line at each mark, its name above the lines, and a ring around its value. */
  drawMarks(plot, color) {
    const { ctx, bbox } = plot;
    const unit = uPlot.pxRatio;
    for (const { step, value, text, line } of this.view.marks) {
      const x = Math.round(plot.valToPos(step, "x", true));
      if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) continue;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = color(line);
      ctx.lineWidth = 1.5 * unit;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.setLineDash([2 * unit, 3 * unit]);
      ctx.stroke();
      ctx.setLineDash([]);
      if (value !== null && !this.view.choices.hidden.includes("validation_loss")) {
        ctx.beginPath();
        ctx.arc(x, plot.valToPos(value, "y", true), 7 * unit, 0, 2 * Math.PI);
        ctx.stroke();
      }
      ctx.font = `600 ${12 * unit}px system-ui, sans-serif`;
      const half = ctx.measureText(text).width / 2;
      ctx.textAlign = "center";
      const middle = Math.min(Math.max(x, bbox.left + half), bbox.left + bbox.width - half);
      ctx.fillText(text, middle, bbox.top - 6 * unit);
      ctx.restore();
    }
  }
}
