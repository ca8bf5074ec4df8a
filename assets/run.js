// The run page: builds its parts once, then asks for what is new and changes only that.
import { Answers } from "./answers.js";
import { Charts } from "./charts.js";
import { element, notice, repeat, request, Unreachable } from "./dom.js";

const SOON = 2000;
const AFTER_TROUBLE = 5000;
const RESTING = 5000;

export function showRun(place) {
  const id = new URLSearchParams(location.search).get("id") ?? "";
  const path = `/api/runs/${id}`;
  const page = new RunPage(place, path, () => again());
  if (!/^\d{1,15}$/.test(id)) {
    page.trouble(new Error(`There is no run “${id.slice(0, 40)}”. “My models” lists the ones there are.`));
    return;
  }
  let known = "";
  const again = repeat(async () => {
    try {
      const run = await request(`${path}?known=${encodeURIComponent(known)}`);
      known = run.revision;
      page.show(run);
      return run.ended ? 0 : run.rests ? RESTING : SOON;
    } catch (error) {
      page.trouble(error);
      return error instanceof Unreachable ? AFTER_TROUBLE : 0;
    }
  });
}

class RunPage {
  constructor(place, path, again) {
    this.place = place;
    this.path = path;
    this.again = again;
    this.parts = null;
    this.key = crypto.randomUUID?.() ?? String(Math.random()); // the same button pressed twice is one new run
  }

  trouble(error) {
    if (this.parts) {
      this.parts.trouble.replaceChildren(notice("warn", error.message));
      return;
    }
    this.place.removeAttribute("aria-busy");
    this.place.replaceChildren(
      element("header", { class: "page", id: "main" }, element("h1", {}, "Run")),
      notice("error", error.message),
      element("p", {}, element("a", { class: "button secondary", href: "/models" }, "My models")),
    );
  }

  show(run) {
    if (!this.parts) this.build();
    const parts = this.parts;
    parts.trouble.replaceChildren();
    set(parts.name, run.name);
    set(parts.about, `${run.about} · ${run.when}`);
    set(parts.headline, run.headline);
    parts.status.dataset.status = run.status;
    parts.bar.parentElement.hidden = run.ended && run.status !== "stopped" && run.status !== "succeeded";
    parts.bar.style.width = `${run.percent}%`;
    parts.bar.parentElement.setAttribute("aria-valuenow", run.percent);
    parts.bar.parentElement.classList.toggle("unknown", run.status === "running" && run.percent === 0);
    set(parts.progress, [run.status === "running" && run.step ? `${run.percent}%` : "", run.ended ? "" : run.time_left, run.step, run.saved]
      .filter(Boolean).join(" · "));
    parts.closing.hidden = run.rests;
    this.showButtons(run);
    this.showForecast(run);
    if (changed(parts.messages, [run.notice, run.error, run.story, run.rests])) {
      parts.messages.replaceChildren(...[
        run.notice && notice("info", run.notice),
        !run.rests && run.story.length > 0 && notice("info", run.story.at(-1).text),
        run.error && failure(run.error),
      ].filter(Boolean));
      parts.story.hidden = run.story.length === 0;
      parts.events.replaceChildren(...run.story.map((event) => element("li", {}, element("time", {}, event.when), ` ${event.text}`)));
    }
    if (run.chart) this.showNumbers(run);
    document.title = `${run.ended ? run.name : `${run.percent}% ${run.name}`} · Adapter Studio`;
  }

  showNumbers(run) {
    const parts = this.parts;
    parts.facts.replaceChildren(...run.facts.map((fact) =>
      element("div", { title: fact.means }, element("dt", {}, fact.label), element("dd", {}, fact.value))));
    const drawn = run.chart.step.length > 0;
    parts.curve.hidden = !drawn && run.ended;
    parts.waiting.hidden = drawn;
    parts.charts.hidden = parts.table.hidden = !drawn;
    if (drawn) this.charts.show(run.chart, run.best, run.kept_step, run.name);
    set(parts.kept, run.kept);
    parts.kept.hidden = !run.kept;
    set(parts.sentence, run.sentence);
    if (changed(parts.table, run.table)) {
      parts.head.replaceChildren(...run.table.head.map((title) => element("th", { scope: "col" }, title)));
      parts.numbers.replaceChildren(...run.table.rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell)))));
    }
    this.answers.show(run.samples, run.best?.step, run.kept_step);
    const atEnd = parts.log.scrollTop + parts.log.clientHeight >= parts.log.scrollHeight - 20;
    set(parts.log, run.log || "Nothing has been written yet.");
    if (atEnd) parts.log.scrollTop = parts.log.scrollHeight;
    set(parts.recipe, run.recipe);
  }

  /** What was expected, and once the run has ended what it was. */
  showForecast(run) {
    const { forecast, expected } = this.parts;
    forecast.hidden = run.forecast.length === 0;
    if (!changed(forecast, [run.forecast, run.ended])) return;
    const later = run.ended ? "not measured" : "not known yet";
    expected.replaceChildren(...run.forecast.map(([name, expected, was]) => element("tr", {},
      element("th", { scope: "row" }, name), element("td", {}, expected), element("td", {}, was || element("span", { class: "aside" }, later)))));
  }

  showButtons(run) {
    const { buttons } = this.parts;
    const kind = [run.status, run.wish, run.has_adapter, run.checkpoint_step].join();
    if (buttons.dataset.kind === kind) return;
    buttons.dataset.kind = kind;
    const press = (label, look, onclick) => element("button", { class: `button ${look}`, type: "button", onclick }, label);
    const link = (label, look, href) => element("a", { class: `button ${look}`, href }, label);
    const saved = run.checkpoint_step !== null;
    const pause = press("Pause", "secondary", () => this.act("pause"));
    const keep = press("Stop and keep", "secondary", () => this.stop(false));
    const discard = press("Stop and discard", "danger", () => this.stop(true));
    const resume = (look) => press(saved ? `Go on from step ${run.checkpoint_step}` : "Go on", look, () => this.act("resume"));
    const again = (look) => link("Train again", look, `/?from=${run.id}`);
    const chat = [link("Chat with it", "primary", `/chat?run=${run.id}`),
      link("Download adapter (.zip)", "secondary", `/download/run-${run.id}.zip`)];
    const further = press("Train further", "secondary", () => this.further());
    const offered = {
      queued: [pause, saved && keep, discard],
      running: { pause: [keep, discard], keep: [discard], discard: [] }[run.wish] ?? [pause, keep, discard],
      paused: [resume("primary"), saved && keep, discard],
      succeeded: [...chat, further, again("secondary")],
      stopped: [...chat, saved && resume("secondary"), again("secondary")],
      failed: saved ? [resume("primary"), press("Keep what it learned", "secondary", () => this.stop(false)), again("secondary")]
        : [again("primary")],
      discarded: [again("primary")],
    }[run.status];
    buttons.replaceChildren(...offered.filter(Boolean));
  }

  async act(what, body = {}) {
    try {
      this.show(await request(`${this.path}/${what}`, body));
    } catch (error) {
      this.trouble(error);
    }
    this.again();
  }

  async further() {
    try {
      const made = await request(`${this.path}/further`, { key: this.key });
      location.assign(`/run?id=${made.id}`);
    } catch (error) {
      this.trouble(error);
    }
  }

  async stop(discard) {
    if (discard && !confirm("Stop this run and discard what it may have learned?")) return;
    await this.act("stop", { discard });
  }

  build() {
    this.charts = new Charts(this.path.split("/").at(-1));
    this.answers = new Answers();
    const parts = {};
    const part = (name, made) => (parts[name] = made);
    const folded = (title, ...inside) => element("details", {}, element("summary", {}, title), ...inside);
    this.place.removeAttribute("aria-busy");
    this.place.replaceChildren(
      element("header", { class: "page run", id: "main" },
        element("div", {}, part("name", element("h1")), part("about", element("p", { class: "lead" }))),
        part("buttons", element("div", { class: "buttons" }))),
      part("trouble", element("div")),
      part("status", element("section", { class: "status", "aria-label": "State" },
        part("headline", element("p", { class: "headline", role: "status" })),
        element("div", { class: "bar", role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0, "aria-valuemax": 100 },
          part("bar", element("span"))),
        part("progress", element("p", { class: "progress" })),
        part("closing", element("p", { class: "aside" }, "Closing this tab is fine. Training goes on.")))),
      part("messages", element("div")),
      part("facts", element("dl", { class: "facts" })),
      part("forecast", element("section", { class: "forecast", hidden: true, "aria-label": "Expected and what it was" }, element("table", {},
        element("thead", {}, element("tr", {}, element("td"), ...["Expected", "Was"].map((title) => element("th", { scope: "col" }, title)))),
        part("expected", element("tbody"))))),
      part("curve", element("section", { class: "curve" },
        element("h2", {}, "How well it learns"),
        part("kept", element("p", { class: "kept", hidden: true })),
        part("sentence", element("p", { class: "aside" })),
        part("waiting", element("p", { class: "empty" }, "The chart starts with the untrained model, then grows with every step.")),
        part("charts", this.charts.place),
        part("table", folded("The same numbers as a table", element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Numbers" },
          element("table", {}, element("thead", {}, part("head", element("tr"))), part("numbers", element("tbody")))))))),
      this.answers.place,
      element("section", { class: "more" },
        part("story", folded("What happened", part("events", element("ol", { class: "story" })))),
        folded("Log", part("log", element("pre", { class: "log", tabindex: 0 }))),
        folded("Settings used", copyButton(() => parts.recipe.textContent), part("recipe", element("pre")))),
    );
    this.parts = parts;
  }
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const shown = new WeakMap();

/** Whether `value` is another than the one that `node` was last asked about. */
function changed(node, value) {
  const before = shown.get(node);
  shown.set(node, JSON.stringify(value));
  return before !== shown.get(node);
}

function failure({ message, hint, detail }) {
  return notice("error", message,
    hint ? element("span", {}, ` ${hint}`) : "",
    detail ? element("details", {}, element("summary", {}, "Details"), copyButton(() => detail), element("pre", {}, detail)) : "");
}

function copyButton(text) {
  const button = element("button", {
    class: "button small secondary", type: "button",
    onclick: async () => {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    },
  }, "Copy");
  return button;
}
