// What a run will take, before it starts: a panel that follows what is chosen on the page.
//
//   showForecast(place)   draws into `place` whenever the window's event `studio:draft` tells of a new choice
//
// “Make it fit” tells the form its advice through the event `studio:apply`, {field: value, …}.
import { button, element, notice, request } from "./dom.js";

const WAIT = 300; // ms without a further change before the studio is asked
const ASKED = ["upload_id", "mapping", "dataset_id", "dataset_version", "base_id", "preset", "settings"];
const VERDICTS = { fits: "Fits", tight: "Tight", wont_fit: "Won't fit" };

export function showForecast(place) {
  const panel = new Panel(place);
  window.addEventListener("studio:draft", (event) => panel.follow(event.detail));
  if (window.studioDraft) panel.follow(window.studioDraft);
  return panel;
}

class Panel {
  constructor(place) {
    this.place = place;
    this.output = element("div", { class: "forecast", "aria-live": "polite", "aria-busy": "false" });
    place.replaceChildren(element("h3", { class: "small" }, "What it will take"), this.output);
    this.opened = false; // whether the picture is
  }

  follow(draft) {
    const asked = Object.fromEntries(ASKED.filter((name) => draft?.[name] !== undefined).map((name) => [name, draft[name]]));
    const wanted = JSON.stringify(asked);
    if (!asked.base_id || wanted === this.wanted) return;
    this.wanted = wanted;
    this.asked = asked;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask("/api/forecast"), WAIT);
  }

  async ask(path) {
    const turn = (this.turn = {});
    this.output.setAttribute("aria-busy", "true");
    const waiting = setTimeout(() => this.told || this.output.replaceChildren(element("p", { class: "aside" }, "Reckoning … the first time takes some seconds.")), 300);
    try {
      const told = await request(path, this.asked);
      if (turn === this.turn) this.draw((this.told = told));
    } catch (error) {
      if (turn === this.turn) {
        this.told = null;
        this.output.replaceChildren(notice("warn", error.message));
      }
    } finally {
      clearTimeout(waiting);
      if (turn === this.turn) this.output.setAttribute("aria-busy", "false");
    }
  }

  draw(told) {
    this.output.replaceChildren(...[
      element("p", { class: `verdict ${told.fits}` }, element("strong", {}, VERDICTS[told.fits]), told.sentence.slice(told.sentence.indexOf(":"))),
      memoryBar(told.memory),
      legend(told.memory),
      element("dl", { class: "facts" }, ...told.facts.map((fact) => element("div", {}, element("dt", {}, fact.name), element("dd", {}, fact.value)))),
      told.can_probe ? this.probeOffer() : null,
      told.changes.length ? this.advice(told) : null,
      element("ul", { class: "aside notes" }, ...told.notes.map((note) => element("li", {}, note))),
      this.picture(told.picture)].filter(Boolean));
  }

  probeOffer() {
    const offer = button("Measure it here", "secondary small", async () => {
      offer.disabled = true;
      offer.textContent = "Training a few invented steps …";
      await this.ask("/api/forecast/probe");
    });
    return element("p", { class: "aside probe" }, "Nothing much like this has been trained here yet. ", offer, " It takes about a minute.");
  }

  advice(told) {
    const fit = button("Make it fit", "secondary small", () => window.dispatchEvent(new CustomEvent("studio:apply", { detail: told.apply })));
    return element("div", { class: "advice" }, element("p", {}, "This would make it fit better:"),
      element("ul", {}, ...told.changes.map((change) => element("li", {}, element("strong", {}, `${change.setting}: ${change.old} → ${change.new}. `), change.cost))), fit);
  }

  picture(picture) {
    const drawn = element("details", { class: "block-picture", ontoggle: () => (this.opened = drawn.open) },
      element("summary", {}, `Where it learns: ${picture.learning} of ${picture.of} parameters`), block(picture));
    drawn.open = this.opened;
    return drawn;
  }
}

function memoryBar(memory) {
  const words = [`Needs ${memory.total}.`, ...memory.parts.map((part) => `${part.name} ${part.words}.`), `This computer: ${memory.has}, ${memory.free}.`].join(" ");
  return element("div", { class: "memory-bar", role: "img", "aria-label": words },
    element("div", { class: "stack" }, ...memory.parts.map((part) => element("span", { class: `segment ${part.part}`, style: `width:${100 * part.share}%`, title: `${part.name}: ${part.words}` }))),
    element("span", { class: "mark has", style: `left:${100 * memory.has_share}%`, title: memory.has }),
    element("span", { class: "mark free", style: `left:${100 * memory.free_share}%`, title: memory.free }));
}

function legend(memory) {
  return element("ul", { class: "memory-legend" },
    ...memory.parts.map((part) => element("li", {}, element("span", { class: `patch ${part.part}`, "aria-hidden": "true" }), `${part.name} `, element("b", {}, part.words))),
    element("li", { class: "has" }, element("span", { class: "patch all", "aria-hidden": "true" }), `${memory.has}, ${memory.free}`));
}

/** One transformer block, in the order in which a token passes; what learns is marked. */
function block(picture) {
  const groups = [];
  for (const module of picture.block) {
    const last = groups.at(-1);
    if (last && module.group && last.name === module.group) last.modules.push(module);
    else groups.push({ name: module.group, modules: [module] });
  }
  const before = picture.outside.filter((module) => module.kind === "embedding");
  const after = picture.outside.filter((module) => module.kind !== "embedding");
  return element("div", { class: "model-picture" },
    element("div", { class: "modules" }, ...before.map(box)),
    element("div", { class: "one-block" }, element("p", { class: "aside" }, `One of ${picture.blocks} blocks, all alike`),
      ...groups.map((group) => element("div", { class: "module-group" }, group.name ? element("span", { class: "group-name" }, group.name) : null, element("div", { class: "modules" }, ...group.modules.map(box))))),
    element("div", { class: "modules" }, ...after.map(box)),
    picture.shared ? element("p", { class: "aside" }, `Besides, ${picture.shared} parameters learn that belong to no single layer.`) : null);
}

function box(module) {
  return element("div", { class: module.trainable ? "module learns" : "module" }, element("b", {}, module.name), element("span", {}, module.shape),
    element("span", {}, module.trainable ? `+ ${module.trainable} learn` : "frozen"));
}
