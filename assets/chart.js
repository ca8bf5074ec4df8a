// The loss chart: learning (thin), unseen examples (points), and where the untrained model stands (dashed).
const HEIGHT = 280;

export class LossChart {
  constructor(place) {
    this.place = place;
    this.data = null;
    this.plot = null;
    new ResizeObserver(() => this.resize()).observe(place);
    // light and dark: Gradio sets a class on the body
    new MutationObserver(() => this.redraw()).observe(document.body, { attributeFilter: ["class"] });
  }

  show({ step, learning, unseen }) {
    const baseline = unseen.find((value) => value !== null) ?? null;
    this.data = [step, learning, unseen, step.map(() => baseline)];
    if (this.plot) this.plot.setData(this.data);
    else this.redraw();
  }

  resize() {
    if (this.plot && this.place.clientWidth) this.plot.setSize({ width: this.place.clientWidth, height: HEIGHT });
  }

  redraw() {
    if (!this.data) return;
    this.plot?.destroy();
    const style = getComputedStyle(this.place);
    const color = (name) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: color("--chart-text"),
      font: "12px system-ui",
      grid: { stroke: color("--chart-grid"), width: 1 },
      ticks: { stroke: color("--chart-grid"), width: 1 },
    };
    const value = (_, number) => (number === null || number === undefined ? "–" : number.toFixed(3));
    this.plot = new uPlot(
      {
        width: this.place.clientWidth,
        height: HEIGHT,
        scales: { x: { time: false, range: (_, low, high) => [low, Math.max(high, low + 5)] } },
        axes: [{ ...axis, size: 36 }, { ...axis, size: 44 }],
        cursor: { points: { size: 7 } },
        legend: { live: true },
        series: [
          { label: "Step", value: (_, number) => number ?? "–" },
          { label: "Learning", stroke: color("--chart-learning"), width: 1, spanGaps: true, points: { show: false }, value },
          {
            label: "Unseen examples", stroke: color("--chart-unseen"), width: 2.5, spanGaps: true, value,
            points: { show: true, size: 7, fill: color("--chart-unseen") },
          },
          { label: "Before training", stroke: color("--chart-text"), width: 1, dash: [5, 5], points: { show: false }, value },
        ],
      },
      this.data,
      this.place,
    );
  }
}
