// The charts as they stand on the page, with their titles and legends, as one PNG file.
import { element } from "./dom.js";

const MARGIN = 24;
const GAP = 20;

/** Every chart inside `place` that is to be seen; on a background, so that it is readable wherever it is put. */
export async function savePicture(place, filename, title) {
  const figures = [...place.querySelectorAll("figure.chart")].filter((figure) => figure.querySelector("canvas")?.clientWidth);
  const blob = await new Promise((done) => draw(place, figures, title).toBlob(done, "image/png"));
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: filename }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function draw(place, figures, title) {
  const style = getComputedStyle(place);
  const color = (name) => style.getPropertyValue(name).trim();
  const scale = window.devicePixelRatio;
  const tops = laidOut(figures);
  const canvas = document.createElement("canvas");
  canvas.width = (place.clientWidth + 2 * MARGIN) * scale;
  canvas.height = (tops.at(-1) + MARGIN) * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.fillStyle = color("--studio-card");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = color("--body-text-color");
  context.font = "600 18px system-ui, sans-serif";
  context.textBaseline = "top";
  context.fillText(title, MARGIN, MARGIN, place.clientWidth);
  const left = place.getBoundingClientRect().left;
  figures.forEach((figure, at) => {
    const box = figure.getBoundingClientRect();
    const where = (node) => {
      const inside = node.getBoundingClientRect();
      return { x: inside.left - left + MARGIN, y: inside.top - box.top + tops[at], width: inside.width, height: inside.height };
    };
    for (const node of figure.querySelectorAll("figcaption > *, .key:not([aria-pressed=false]) > *")) write(context, node, where(node));
    const plot = figure.querySelector("canvas");
    const { x, y, width, height } = where(plot);
    context.drawImage(plot, x, y, width, height);
  });
  return canvas;
}

/** The y of every chart and, last, of the end: rows one under the other, without the controls between them. */
function laidOut(figures) {
  let y = MARGIN + 18 + GAP;
  let end = y;
  let row = null;
  const tops = figures.map((figure) => {
    const box = figure.getBoundingClientRect();
    if (row === null || Math.abs(box.top - row) > 2) y = row === null ? y : end + GAP;
    row = box.top;
    end = Math.max(end, y + box.height);
    return y;
  });
  return [...tops, end];
}

function write(context, node, { x, y, height }) {
  const style = getComputedStyle(node);
  context.fillStyle = context.strokeStyle = style.color;
  if (node.classList.contains("swatch")) {
    context.lineWidth = 3;
    context.setLineDash(node.classList.contains("dashed") ? [4, 3] : []);
    context.beginPath();
    context.moveTo(x, y + height / 2);
    context.lineTo(x + node.clientWidth, y + height / 2);
    context.stroke();
    return;
  }
  context.font = `${style.fontWeight} ${style.fontSize} system-ui, sans-serif`;
  context.textBaseline = "middle";
  context.fillText(node.textContent, x, y + height / 2);
}
