// The table of examples: paged, searched, filtered; texts are edited in place.
import { button, count, element, notice, request } from "./dom.js";

const NAMES = { user: "Question", assistant: "Answer", system: "Always told", tool: "Tool's answer", text: "Text", "worse answer": "Worse answer" };
const SHORT = 280;

export class RowsView {
  constructor(owner) {
    this.owner = owner;
    this.page = 0;
    this.filters = {};
    this.chosen = new Set();
    this.shown = null;
    this.place = element("div");
    this.build();
  }

  build() {
    this.words = element("input", { type: "search", placeholder: "Search in all texts", "aria-label": "Search in all texts" });
    this.kind = element("select", { "aria-label": "Which rows", onchange: () => this.filter(this.kind.value.startsWith("longer:") ? { longer: this.kind.value.slice(7) } : { kind: this.kind.value }) });
    this.row = element("input", { type: "number", min: 0, placeholder: "Row", "aria-label": "Go to the row with this number in your file" });
    const submit = (call) => (event) => { event.preventDefault(); call(); };
    this.bulk = element("div", { class: "buttons bulk", hidden: true },
      this.many = element("span", { class: "aside" }),
      button("Delete", "small danger", () => this.deleteRows([...this.chosen])),
      button("Don't learn from them", "small secondary", () => this.mark([...this.chosen], false)),
      button("Learn from them", "small secondary", () => this.mark([...this.chosen], true)));
    this.status = element("p", { class: "aside", role: "status" });
    this.body = element("tbody");
    this.pager = element("div", { class: "buttons pager" });
    this.all = element("input", { type: "checkbox", "aria-label": "Choose all rows on this page", onchange: () => this.chooseAll() });
    this.place.replaceChildren(
      element("div", { class: "tools" },
        element("form", { class: "inline", role: "search", onsubmit: submit(() => this.filter({ words: this.words.value })) }, this.words,
          element("button", { class: "button small secondary", type: "submit" }, "Search")),
        this.kind,
        element("form", { class: "inline narrow", onsubmit: submit(() => this.go()) }, this.row,
          element("button", { class: "button small secondary", type: "submit" }, "Go to row"))),
      this.status, this.bulk,
      element("table", { class: "examples" },
        element("thead", {}, element("tr", {}, element("th", { scope: "col" }, this.all), ...["Row", "Question", "Answer"].map((title) => element("th", { scope: "col" }, title)))),
        this.body),
      this.pager);
  }

  setChanged() {
    const findings = this.owner.set.report.findings.filter((finding) => finding.filter);
    const options = [["", "All rows"], ...findings.map((finding) => [finding.kind, `${finding.name} (${finding.count.toLocaleString("en-US")})`])];
    if (this.filters.longer) options.push([`longer:${this.filters.longer}`, `Longer than ${Number(this.filters.longer).toLocaleString("en-US")} tokens`]);
    if (this.filters.kind && !options.some(([value]) => value === this.filters.kind)) options.push([this.filters.kind, "Nothing left of this kind"]);
    this.kind.replaceChildren(...options.map(([value, title]) => element("option", { value }, title)));
    this.kind.value = this.filters.longer ? `longer:${this.filters.longer}` : this.filters.kind ?? "";
  }

  filter(filters) {
    this.filters = filters;
    this.page = 0;
    if (!filters.words) this.words.value = "";
    this.setChanged();
    this.load();
  }

  open() {
    if (!this.shown) this.load();
  }

  go() {
    if (this.row.value === "") return;
    this.filters = {};
    this.setChanged();
    this.load({ row: this.row.value });
  }

  async load(extra = {}) {
    const model = this.filters.longer ? { model: this.owner.lengths.model() } : {};
    const asked = new URLSearchParams({ page: this.page, ...this.filters, ...model, ...extra });
    const turn = (this.turn = {});
    const waiting = setTimeout(() => (this.status.textContent = this.filters.words ? "Searching …" : "Loading …"), 300);
    try {
      const shown = await request(`${this.owner.path}/rows?${asked}`);
      if (turn !== this.turn) return; // somebody clicked on meanwhile
      if (!shown.rows.length && shown.page > 0 && shown.count) {
        this.page = Math.ceil(shown.count / shown.size) - 1;
        this.load();
        return;
      }
      this.shown = shown;
      this.page = shown.page;
      this.draw(extra.row);
    } catch (error) {
      this.status.replaceChildren(notice("error", error.message));
    } finally {
      clearTimeout(waiting);
    }
  }

  draw(row) {
    const { shown } = this;
    this.chosen.clear();
    this.chose();
    const pages = Math.max(1, Math.ceil(shown.count / shown.size));
    this.status.textContent = shown.count
      ? `${shown.more ? "The first " : ""}${count(shown.count, "row")}${this.filters.words ? ` with “${this.filters.words}”` : ""}`
      : "No row is like that.";
    this.body.replaceChildren(...shown.rows.map((example) => this.line(example, Number(row) === example.row)));
    const turn = (label, by, stop) => button(label, "small secondary", () => { this.page += by; this.load(); }, { disabled: stop });
    this.pager.replaceChildren(turn("Previous", -1, this.page === 0), element("span", { class: "aside" }, `Page ${(this.page + 1).toLocaleString("en-US")} of ${pages.toLocaleString("en-US")}`),
      turn("Next", 1, this.page >= pages - 1));
    this.pager.hidden = pages === 1;
  }

  line(example, wanted) {
    const last = example.parts.findLastIndex((part) => part.where === "messages" && part.role === "assistant");
    const answers = example.parts.filter((part, i) => i >= last && last >= 0);
    const asked = example.parts.filter((part, i) => last < 0 || i < last);
    const tick = element("input", { type: "checkbox", "aria-label": `Choose row ${example.row}`, onchange: () => this.choose(example.position, tick.checked) });
    tick.dataset.position = example.position;
    return element("tr", { class: [example.learn ? "" : "unlearned", wanted ? "wanted" : ""].join(" ").trim(), "data-row": example.row },
      element("td", { class: "tick" }, tick),
      element("td", { class: "number" },
        element("span", {}, example.row.toLocaleString("en-US")), example.file ? element("span", { class: "aside" }, example.file) : null,
        example.learn ? null : element("span", { class: "flag" }, "not learned"),
        ...example.kinds.map((kind) => element("span", { class: "flag" }, kind)),
        element("span", { class: "row-buttons" },
          button("See", "small secondary", () => this.owner.seen.openAt(example.position, example.row), { "aria-label": `See row ${example.row} as the model sees it` }),
          button("Delete", "small secondary", () => this.deleteRows([example.position]), { "aria-label": `Delete row ${example.row}` }))),
      element("td", { "data-label": "Question" }, ...asked.map((part) => this.part(example, part, asked.length > 1))),
      element("td", { "data-label": "Answer" }, ...answers.map((part) => this.part(example, part, answers.length > 1))));
  }

  part(example, part, named) {
    const text = element("p", { class: "cell" });
    const draw = (whole) => {
      const short = !whole && part.text.length > SHORT;
      text.replaceChildren(short ? `${part.text.slice(0, SHORT)}… ` : part.text, short ? button("more", "link", () => draw(true)) : part.cut ? "…" : "");
    };
    draw(false);
    const place = element("div", { class: `part ${part.learn ? "" : "masked"}` }, named ? element("span", { class: "who" }, NAMES[part.role] ?? part.role) : null, text);
    const several = example.parts.filter((other) => other.role === "assistant" && other.where === "messages").length > 1;
    place.append(element("span", { class: "cell-buttons" },
      button("Edit", "link", () => this.edit(example, part, place), { "aria-label": `Edit the ${(NAMES[part.role] ?? part.role).toLowerCase()} of row ${example.row}` }),
      several && part.role === "assistant" && part.where === "messages"
        ? button(part.learn ? "Don't learn this" : "Learn this", "link", () => this.owner.change("mark-answer", { position: example.position, index: part.index, learn: !part.learn }, "Marked."))
        : null));
    return place;
  }

  async edit(example, part, place) {
    let text = part.text;
    if (part.cut) {
      const asked = new URLSearchParams({ position: example.position, where: part.where, index: part.index });
      text = (await request(`${this.owner.path}/text?${asked}`)).text;
    }
    const area = element("textarea", { rows: Math.min(12, Math.max(3, Math.ceil(text.length / 40))), "aria-label": `${NAMES[part.role] ?? part.role} of row ${example.row}` });
    area.value = text;
    const before = [...place.childNodes];
    place.replaceChildren(area, element("div", { class: "buttons" },
      button("Save", "small primary", () => this.owner.change("edit", { position: example.position, where: part.where, index: part.index, text: area.value }, `Row ${example.row} changed.`)),
      button("Cancel", "small secondary", () => place.replaceChildren(...before))));
    area.focus();
  }

  choose(position, wanted) {
    this.chosen[wanted ? "add" : "delete"](position);
    this.chose();
  }

  chooseAll() {
    for (const tick of this.body.querySelectorAll("input[type=checkbox]")) {
      tick.checked = this.all.checked;
      this.chosen[tick.checked ? "add" : "delete"](Number(tick.dataset.position));
    }
    this.chose();
  }

  chose() {
    this.bulk.hidden = this.chosen.size === 0;
    this.many.textContent = `${count(this.chosen.size, "row")} chosen`;
    if (!this.chosen.size) this.all.checked = false;
  }

  deleteRows(positions) {
    return this.owner.change("delete-rows", { positions }, `${count(positions.length, "row")} deleted.`);
  }

  mark(positions, learn) {
    return this.owner.change("mark", { positions, learn }, learn ? "They are learned from again." : "Kept, but not learned from.");
  }
}
