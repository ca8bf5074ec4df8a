// My models: what was trained, and the runs that wait, run or failed.
import { element, repeat, request, Unreachable } from "./dom.js";

export function showModels(place) {
  let shown = "";
  repeat(async () => {
    try {
      const models = await request("/api/runs");
      const now = JSON.stringify(models);
      if (now !== shown) draw(place, models);
      shown = now;
      return models.active ? 3000 : 20000;
    } catch (error) {
      place.removeAttribute("aria-busy");
      place.replaceChildren(element("div", { class: "notice warn", role: "status" }, error.message));
      shown = "";
      return error instanceof Unreachable ? 5000 : 0;
    }
  });
}

function draw(place, { trained, others }) {
  const active = others.filter((run) => !run.ended);
  const ended = others.filter((run) => run.ended);
  place.removeAttribute("aria-busy");
  place.replaceChildren(...[
    active.length ? section("In progress", active.map(progress)) : null,
    trained.length ? section(active.length ? "Ready" : null, trained.map(model)) : active.length ? null : nothing(),
    ended.length ? section("Runs that left no model", ended.map(line)) : null,
  ].filter(Boolean));
}

function section(title, rows) {
  return element("section", {}, title ? element("h2", {}, title) : null, element("ul", { class: "models" }, ...rows));
}

function model(run) {
  return element("li", { class: "model" },
    element("div", {},
      element("h3", {}, run.name),
      element("p", { class: "aside" }, `${run.about} · ${run.when}`),
      run.result ? element("p", { class: "result" }, run.result) : null,
      run.status === "stopped" ? element("p", { class: "aside" }, run.headline) : null),
    element("div", { class: "buttons" },
      link("Chat", "primary", `/chat?run=${run.id}`, `Chat with ${run.name}`),
      link("Download", "secondary", `/download/run-${run.id}.zip`, `Download the adapter of ${run.name}`),
      link("Open run", "secondary", `/run?id=${run.id}`, `Open the run of ${run.name}`)));
}

function progress(run) {
  return element("li", { class: "model" },
    element("div", {},
      element("h3", {}, element("a", { href: `/run?id=${run.id}` }, run.name)),
      element("p", { class: "aside" }, `${run.about} · ${run.when}`),
      element("p", { class: "result" }, run.headline + (run.percent ? ` ${run.percent}%` : ""))),
    element("div", { class: "buttons" }, link("Watch", "secondary", `/run?id=${run.id}`, `Watch ${run.name}`)));
}

function line(run) {
  return element("li", { class: "line" },
    element("a", { href: `/run?id=${run.id}` }, run.name),
    element("span", { class: "aside" }, `${run.headline} ${run.when}`));
}

function link(label, look, href, title) {
  return element("a", { class: `button ${look}`, href, "aria-label": title }, label);
}

function nothing() {
  return element("div", { class: "empty" },
    element("p", {}, "No models yet. Your first one takes a few minutes with the sample."),
    element("a", { class: "button primary", href: "/" }, "New model"));
}
