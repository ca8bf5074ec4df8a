// Data: the list of data sets, or, with ?id=, one of them: its report, rows, lengths and versions.
import { button, count, element, notice, remember, repeat, request } from "./dom.js";
import { LeftOutView } from "./left_out.js";
import { RowsView } from "./rows.js";
import { LengthsView, SeenView } from "./seen.js";

const TABS = { report: "Report", rows: "Rows", left: "Left out", seen: "As the model sees it", lengths: "Lengths", versions: "Versions" };

export function showData(place) {
  const id = new URLSearchParams(location.search).get("id");
  if (id === null) new List(place).load();
  else new DataSet(place, /^\d{1,15}$/.test(id) ? id : "0").start();
}

class List {
  constructor(place) {
    this.place = place;
  }

  async load() {
    const head = element("header", { class: "page", id: "main" }, element("h1", {}, "Data"),
      element("p", { class: "lead" }, "Files you used, with everything you changed in them. Runs keep the version they trained on."));
    try {
      const { sets } = await request("/api/data");
      this.place.replaceChildren(head, sets.length ? element("ul", { class: "models" }, ...sets.map((set) => this.line(set))) : empty());
    } catch (error) {
      this.place.replaceChildren(head, notice("error", error.message));
    }
    this.place.removeAttribute("aria-busy");
  }

  line(set) {
    const runs = set.runs.length ? `used by ${set.runs.slice(0, 3).map((run) => run.name).join(", ")}${set.runs.length > 3 ? " …" : ""}` : "not used yet";
    return element("li", { class: "model" },
      element("div", {},
        element("h3", {}, element("a", { href: `/data?id=${set.id}` }, set.name)),
        element("p", { class: "aside" }, `${count(set.rows, "row")} · version ${set.version} · ${set.size} · ${set.when}`),
        element("p", { class: "aside" }, `Number ${set.id} · ${set.filename} · ${runs}`)),
      element("div", { class: "buttons" },
        element("a", { class: "button primary", href: `/data?id=${set.id}`, "aria-label": `Open ${set.name}` }, "Open"),
        element("a", { class: "button secondary", href: `/?data=${set.id}`, "aria-label": `Train on ${set.name}` }, "Train on it")));
  }
}

function empty() {
  return element("div", { class: "empty" },
    element("p", {}, "Nothing here yet. Files you use are kept for next time."),
    element("a", { class: "button primary", href: "/" }, "New model"));
}

class DataSet {
  constructor(place, id) {
    this.place = place;
    this.path = `/api/data/${id}`;
    this.id = id;
    this.set = null;
  }

  async start() {
    try {
      this.set = await request(this.path);
    } catch (error) {
      this.place.removeAttribute("aria-busy");
      this.place.replaceChildren(element("header", { class: "page", id: "main" }, element("h1", {}, "Data")),
        notice("error", error.message), element("p", {}, element("a", { class: "button secondary", href: "/data" }, "All data sets")));
      return;
    }
    this.build();
    this.show();
    window.addEventListener("hashchange", () => this.open(location.hash.slice(1)));
    this.open(location.hash.slice(1));
    this.again = repeat(() => this.watch());
  }

  /** Asks again while the report is being made. */
  async watch() {
    if (this.set.report.state !== "checking") return 0;
    await this.refresh();
    return this.set.report.state === "checking" ? 1500 : 0;
  }

  async refresh() {
    try {
      this.set = await request(this.path);
      this.show();
    } catch (error) {
      this.trouble(error);
    }
  }

  /** Does a change, says how it went, and shows the new version. */
  async change(path, body, words) {
    this.parts.trouble.replaceChildren();
    try {
      await request(`${this.path}/${path}`, { seen: this.set.version, ...body });
      await this.refresh();
      this.parts.said.replaceChildren(notice("info", `${words} This is version ${this.set.version} now.`,
        this.set.undo ? button("Undo", "small secondary", () => this.undo()) : ""));
      this.rows.load();
      this.left.changed();
      this.again();
      return true;
    } catch (error) {
      await this.refresh();
      this.trouble(error);
      return false;
    }
  }

  undo() {
    return this.change("undo", {}, "Undone.");
  }

  trouble(error) {
    this.parts.said.replaceChildren();
    this.parts.trouble.replaceChildren(notice("error", error.message));
  }

  build() {
    const parts = (this.parts = {});
    const part = (name, made) => (parts[name] = made);
    this.rows = new RowsView(this);
    this.left = new LeftOutView(this);
    this.seen = new SeenView(this);
    this.lengths = new LengthsView(this);
    const panels = {
      report: part("report", element("div")), rows: this.rows.place, left: this.left.place, seen: this.seen.place, lengths: this.lengths.place,
      versions: part("versions", element("div")),
    };
    this.tabs = Object.entries(TABS).map(([name, title]) => element("button", {
      type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`,
      onclick: () => { remember(name); this.open(name); },
      onkeydown: (event) => this.step(event),
    }, title));
    this.panels = Object.entries(panels).map(([name, inside]) => element("section", {
      class: "panel", role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, hidden: true,
    }, inside));
    this.place.removeAttribute("aria-busy");
    this.place.replaceChildren(
      element("p", { class: "aside" }, element("a", { href: "/data" }, "All data sets")),
      element("header", { class: "page run", id: "main" },
        element("div", {}, part("name", element("h1")), part("about", element("p", { class: "lead" })), part("used", element("p", { class: "aside" }))),
        part("buttons", element("div", { class: "buttons" }))),
      part("said", element("div", { "aria-live": "polite" })), part("trouble", element("div")),
      element("div", { class: "tabs", role: "tablist", "aria-label": "About this data set" }, ...this.tabs),
      ...this.panels);
  }

  tab(name) {
    return this.tabs[Object.keys(TABS).indexOf(name)];
  }

  step(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const tabs = this.tabs.filter((tab) => !tab.hidden);
    const next = tabs[(tabs.indexOf(event.target) + by + tabs.length) % tabs.length];
    next.click();
    next.focus();
  }

  open(wanted) {
    const name = wanted in TABS ? wanted : "report";
    this.opened = name;
    Object.keys(TABS).forEach((tab, i) => {
      this.tabs[i].setAttribute("aria-selected", tab === name);
      this.tabs[i].tabIndex = tab === name ? 0 : -1;
      this.panels[i].hidden = tab !== name;
    });
    if (name in { rows: 1, left: 1, seen: 1, lengths: 1 }) this[name].open();
  }

  show() {
    const { set, parts } = this;
    parts.name.textContent = set.name;
    parts.about.textContent = [count(set.rows, "row"), set.mapping, set.size, `uploaded ${set.when}`].filter(Boolean).join(" · ");
    parts.used.replaceChildren(`Version ${set.version} · `, ...(set.runs.length
      ? ["used by ", ...set.runs.slice(0, 5).flatMap((run, i) => [i ? ", " : "", element("a", { href: `/run?id=${run.id}` }, run.name), ` (version ${run.version})`])]
      : ["no run uses it yet"]));
    parts.buttons.replaceChildren(
      element("a", { class: "button primary", href: `/?data=${set.id}@${set.version}` }, "Train on it"),
      button("Undo", "secondary", () => this.undo(), { disabled: !set.undo, title: "Back to how it was before the last change" }),
      element("a", { class: "button secondary", href: `/download/data-${set.id}-v${set.version}.jsonl`, download: true }, "Download (.jsonl)"),
      button("Rename", "secondary", () => this.rename()),
      button("Delete", "danger", () => this.remove()));
    parts.report.replaceChildren(...this.reportParts());
    parts.versions.replaceChildren(...this.versionParts());
    this.rows.setChanged();
    this.left.setChanged();
    this.seen.setChanged();
    this.lengths.setChanged();
    document.title = `${set.name} · Adapter Studio`;
  }

  reportParts() {
    const { report } = this.set;
    if (report.state === "failed") return [notice("error", "The check ended unexpectedly.", element("span", {}, " logs/errands.log in the studio's folder says why. Load the page again to try once more."))];
    if (report.state === "checking") {
      const share = report.total ? Math.round((100 * report.done) / report.total) : 0;
      return [element("p", { role: "status" }, `Checking ${count(report.total, "row")} … ${share}%`),
        element("div", { class: "bar", role: "progressbar", "aria-label": "Checking", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": share },
          element("span", { style: `width:${share}%` }))];
    }
    const facts = element("dl", { class: "facts" }, ...report.facts.map((fact) =>
      element("div", { title: fact.means }, element("dt", {}, fact.label), element("dd", {}, fact.value))));
    const labels = report.labels.length ? [element("details", {}, element("summary", {}, "How often each label is the answer"),
      element("ul", { class: "labels" }, ...report.labels.map((entry) => element("li", {}, `${entry.label}: ${entry.rows.toLocaleString("en-US")}`))))] : [];
    const found = report.findings.length
      ? element("ul", { class: "findings" }, ...report.findings.map((finding) => this.finding(finding)))
      : notice("info", "Nothing is wrong with these examples.");
    return [facts, ...labels, found];
  }

  finding(finding) {
    const preview = element("div");
    const buttons = [
      finding.filter ? button("Show the rows", "small secondary", () => this.showRows({ kind: finding.kind })) : null,
      finding.left_out ? button("Show the rows", "small secondary", () => this.tab("left").click()) : null,
      finding.longer ? button("Show the rows", "small secondary", () => this.showRows({ longer: String(finding.longer) })) : null,
      finding.longer ? button("Look at lengths", "small secondary", () => this.tab("lengths").click()) : null,
      finding.repair ? button(`${finding.repair} …`, "small secondary", () => this.preview(finding, preview)) : null,
    ].filter(Boolean);
    const title = { error: "Must be solved", warning: "Worth a look", note: "Good to know" }[finding.severity];
    return element("li", { class: `finding ${finding.severity}`, "data-kind": finding.kind },
      element("p", { class: "severity" }, title),
      element("p", { class: "message" }, finding.message),
      finding.rows ? element("p", { class: "aside" }, `In your file: ${finding.count === 1 ? "row" : "rows"} ${finding.rows}`) : null,
      buttons.length ? element("div", { class: "buttons" }, ...buttons) : null, preview);
  }

  showRows(filter) {
    this.rows.filter(filter);
    remember("rows");
    this.open("rows");
  }

  async preview(finding, place) {
    if (place.childElementCount) {
      place.replaceChildren();
      return;
    }
    try {
      const { samples } = await request(`${this.path}/repair/${finding.kind}?seen=${this.set.version}`);
      place.replaceChildren(element("div", { class: "repair" },
        element("p", { class: "aside" }, `${finding.repair}: so the first ${count(samples.length, "text")} would look. A new version is made; “Undo” brings this one back.`),
        ...samples.map((sample) => element("div", { class: "before-after" },
          element("p", {}, element("span", { class: "who" }, `Row ${sample.row}, now`), sample.before),
          element("p", {}, element("span", { class: "who" }, "Then"), sample.after === null ? element("em", {}, "left out") : sample.after))),
        element("div", { class: "buttons" },
          button(finding.repair, "primary", (event) => {
            event.target.disabled = true;
            this.change(`repair/${finding.kind}`, {}, `${finding.repair}: done.`);
          }),
          button("Not now", "secondary", () => place.replaceChildren()))));
    } catch (error) {
      this.trouble(error);
    }
  }

  versionParts() {
    const { set } = this;
    return [element("ul", { class: "models versions" }, ...set.versions.map((version) => element("li", { class: "model" },
      element("div", {},
        element("h3", {}, `Version ${version.number}: ${version.change}`),
        element("p", { class: "aside" }, [version.when, count(version.rows, "row"), version.changed ? `${version.changed.toLocaleString("en-US")} changed` : "",
          version.same ? `the same as version ${version.same}` : "", version.used ? "a run was trained on it" : ""].filter(Boolean).join(" · "))),
      element("div", { class: "buttons" },
        version.number === set.version ? null : button("Go back to it", "secondary", () => this.change("restore", { version: version.number }, `Back to version ${version.number}.`)),
        element("a", { class: "button secondary", href: `/download/data-${set.id}-v${version.number}.jsonl`, download: true, "aria-label": `Download version ${version.number}` }, "Download"),
        element("a", { class: "button secondary", href: `/?data=${set.id}@${version.number}`, "aria-label": `Train on version ${version.number}` }, "Train on it"))))),
    element("p", { class: "aside hash" }, `Content hash of version ${set.version}: ${set.sha256}`)];
  }

  rename() {
    const input = element("input", { type: "text", value: this.set.name, maxlength: 80, "aria-label": "Name of the data set" });
    const save = async () => {
      try {
        await request(`${this.path}/name`, { name: input.value });
        await this.refresh();
      } catch (error) {
        this.trouble(error);
      }
    };
    this.parts.name.replaceChildren(element("form", { class: "inline", onsubmit: (event) => { event.preventDefault(); save(); } },
      input, element("button", { class: "button small primary", type: "submit" }, "Save"),
      button("Cancel", "small secondary", () => this.show())));
    input.focus();
    input.select();
  }

  async remove() {
    if (!confirm(`Delete “${this.set.name}” and its ${this.set.size}? This can't be undone.`)) return;
    try {
      await request(`${this.path}/delete`, { really: true });
      location.assign("/data");
    } catch (error) {
      this.trouble(error);
    }
  }
}
