// Rows of the user's file that became no example: why, what stands there, and two fields to complete them.
import { button, count, element, notice, request } from "./dom.js";

export class LeftOutView {
  constructor(owner) {
    this.owner = owner;
    this.page = 0;
    this.shown = null;
    this.about = element("p", { class: "aside", role: "status" });
    this.body = element("tbody");
    this.table = element("table", { class: "examples left-out", hidden: true },
      element("thead", {}, element("tr", {}, ...["Row", "Question", "Answer"].map((title) => element("th", { scope: "col" }, title)))),
      this.body);
    this.pager = element("div", { class: "buttons pager" });
    this.place = element("div", {}, this.about, this.table, this.pager);
  }

  setChanged() {
    const left = this.owner.set.report.left_out;
    const tab = this.owner.tab("left");
    tab.textContent = `Left out${left ? ` (${left.toLocaleString("en-US")})` : ""}`;
    tab.hidden = !left && this.owner.opened !== "left";
  }

  open() {
    if (!this.shown) this.load();
  }

  /** The data set has another version. */
  changed() {
    if (this.owner.opened === "left") this.load();
    else this.shown = null;
  }

  async load() {
    const turn = (this.turn = {});
    const waiting = setTimeout(() => (this.about.textContent = "Reading your file again …"), 300);
    try {
      const shown = await request(`${this.owner.path}/left-out?page=${this.page}`);
      if (turn !== this.turn) return;
      if (!shown.rows.length && this.page > 0) {
        this.page = Math.max(0, Math.ceil(shown.count / shown.size) - 1);
        this.load();
        return;
      }
      this.shown = shown;
      this.draw();
    } catch (error) {
      this.about.replaceChildren(notice("error", error.message));
    } finally {
      clearTimeout(waiting);
    }
  }

  draw() {
    const { shown } = this;
    const pages = Math.max(1, Math.ceil(shown.count / shown.size));
    this.about.textContent = !shown.count ? "No row of your file is left out."
      : [shown.more ? `The first ${count(shown.count, "row")}.` : `${count(shown.count, "row")} of your file.`,
        shown.completable ? "Fill one in, and it becomes an example, in a new version." : "To use them, correct them in the file and upload it again."].join(" ");
    this.table.hidden = !shown.count;
    this.body.replaceChildren(...shown.rows.map((row) => this.line(row)));
    const turn = (label, by, stop) => button(label, "small secondary", () => { this.page += by; this.load(); }, { disabled: stop });
    this.pager.replaceChildren(turn("Previous", -1, this.page === 0), element("span", { class: "aside" }, `Page ${(this.page + 1).toLocaleString("en-US")} of ${pages.toLocaleString("en-US")}`),
      turn("Next", 1, this.page >= pages - 1));
    this.pager.hidden = pages === 1;
  }

  line(row) {
    const { draft } = row;
    const asked = element("td", { "data-label": "Question" }, element("p", { class: "cell" }, draft.question), inFile(draft.shown));
    const answered = element("td", { "data-label": "Answer" }, element("p", { class: "cell" }, draft.answer));
    const fill = button("Fill in", "small secondary", () => this.edit(row, asked, answered), { "aria-label": `Fill in row ${row.row}` });
    return element("tr", { "data-row": row.row },
      element("td", { class: "number" },
        element("span", {}, row.row.toLocaleString("en-US")), row.file ? element("span", { class: "aside" }, row.file) : null,
        element("span", { class: "flag" }, row.reason),
        this.shown.completable ? element("span", { class: "row-buttons" }, fill) : null),
      asked, answered);
  }

  edit(row, asked, answered) {
    const field = (name, text) => {
      const area = element("textarea", { rows: Math.min(12, Math.max(3, Math.ceil(text.length / 40))), "aria-label": `${name} of row ${row.row}` });
      area.value = text;
      return area;
    };
    const question = field("Question", row.draft.question);
    const answer = field("Answer", row.draft.answer);
    const save = () => this.owner.change("fill-in", { row: row.row, file: row.file, question: question.value, answer: answer.value }, `Row ${row.row} filled in.`);
    asked.replaceChildren(...[question, inFile(row.draft.shown)].filter(Boolean));
    answered.replaceChildren(answer, element("div", { class: "buttons" }, button("Save", "small primary", save), button("Cancel", "small secondary", () => this.draw())));
    (row.draft.question ? answer : question).focus();
  }
}

function inFile(shown) {
  return shown && element("details", {}, element("summary", {}, "In your file"), element("p", { class: "cell" }, shown));
}
