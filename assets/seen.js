// What the base model sees: one example token by token, and how long all of them are.
import { button, count, element, notice, remember, request } from "./dom.js";

/** The base model and the length that both views share. */
const shared = { model: "", length: 1024 };

function modelChoice(owner, onchange) {
  const select = element("select", { "aria-label": "Base model", onchange: () => { shared.model = select.value; onchange(); } });
  select.fill = () => {
    const models = owner.set.models;
    if (!models.some((model) => model.id === shared.model)) shared.model = models[0]?.id ?? "";
    select.replaceChildren(...models.map((model) => element("option", { value: model.id }, model.name)));
    select.value = shared.model;
  };
  return select;
}

const NO_MODEL = "No base model is on this computer yet. One is fetched when the first run starts; then its tokens can be shown.";

export class SeenView {
  constructor(owner) {
    this.owner = owner;
    this.at = 0; // the how-manieth row of the data set
    this.place = element("div");
    this.model = modelChoice(owner, () => this.load());
    this.length = element("input", { type: "number", min: 16, max: 131072, value: shared.length, "aria-label": "Longest example, in tokens",
      onchange: () => { shared.length = Math.max(16, Number(this.length.value) || 1024); this.draw(); } });
    this.title = element("span", { class: "aside" });
    this.output = element("div", { "aria-live": "polite" });
    this.place.replaceChildren(
      element("div", { class: "tools" }, element("label", {}, "Base model ", this.model), element("label", { class: "narrow" }, "Longest example ", this.length),
        element("div", { class: "buttons" }, button("Previous row", "small secondary", () => this.move(-1)), button("Next row", "small secondary", () => this.move(1)), this.title)),
      element("p", { class: "legend" }, element("span", { class: "token learned" }, "learned"), element("span", { class: "token masked" }, "only read"),
        element("span", { class: "token cut" }, "cut off"), element("span", { class: "aside" }, "Each box is a token, about three quarters of a word.")),
      this.output);
  }

  setChanged() {
    this.model.fill();
    this.stale = true;
  }

  open() {
    if (!this.texts || this.stale) this.load();
    this.length.value = shared.length;
  }

  openAt(position, row) {
    this.position = position;
    this.row = row;
    this.texts = null;
    remember("seen");
    this.owner.open("seen");
  }

  /** The row before or after, across pages. */
  async move(by) {
    const rows = this.owner.rows;
    if (!rows.shown) await rows.load();
    const positions = rows.shown.rows;
    const here = positions.findIndex((example) => example.position === this.position);
    const next = positions[here + by];
    if (next) return this.openAt(next.position, next.row);
    const pages = Math.ceil(rows.shown.count / rows.shown.size);
    if (rows.page + by < 0 || rows.page + by >= pages) return;
    rows.page += by;
    await rows.load();
    const other = rows.shown.rows.at(by > 0 ? 0 : -1);
    if (other) this.openAt(other.position, other.row);
  }

  async load() {
    this.stale = false;
    if (!shared.model) {
      this.output.replaceChildren(notice("info", NO_MODEL));
      return;
    }
    if (this.position === undefined) {
      if (!this.owner.rows.shown) await this.owner.rows.load();
      const first = this.owner.rows.shown?.rows[0];
      if (!first) return;
      [this.position, this.row] = [first.position, first.row];
    }
    this.title.textContent = `Row ${this.row.toLocaleString("en-US")}`;
    const waiting = setTimeout(() => this.output.replaceChildren(element("p", { class: "aside" }, "Asking the base model's tokenizer … the first time takes some seconds.")), 300);
    const turn = (this.turn = {});
    try {
      const asked = new URLSearchParams({ model: shared.model, position: this.position });
      const { texts } = await request(`${this.owner.path}/seen?${asked}`);
      if (turn !== this.turn) return;
      this.texts = texts;
      this.draw();
    } catch (error) {
      this.output.replaceChildren(notice("error", error.message));
    } finally {
      clearTimeout(waiting);
    }
  }

  draw() {
    if (!this.texts) return;
    const length = shared.length;
    this.output.replaceChildren(...this.texts.map((text) => {
      const learned = text.tokens.slice(0, length).filter(([, marked]) => marked).length;
      const cut = Math.max(0, text.count - length);
      const words = [count(text.count, "token"), `${learned.toLocaleString("en-US")} learned`, `${(Math.min(text.count, length) - learned).toLocaleString("en-US")} only read`,
        cut ? `${cut.toLocaleString("en-US")} cut off` : "nothing cut off"].join(" · ");
      return element("div", { class: "seen" }, element("p", { class: "aside" }, words),
        learned ? null : notice("warn", "Nothing in this row is learned from.", element("span", {}, cut ? " It is cut before its answer begins." : " Its answers are marked “don't learn from this”.")),
        element("div", { class: "tokens" }, ...text.tokens.map(([piece, marked], i) => token(piece, i >= length ? "cut" : marked ? "learned" : "masked"))),
        text.count > text.tokens.length ? element("p", { class: "aside" }, "The rest is not shown.") : null);
    }));
  }
}

function token(piece, look) {
  const tag = { cut: "s", learned: "mark", masked: "span" }[look];
  const made = element(tag, { class: `token ${look}` }, piece.replace(/\n/g, "↵\n") || "·");
  return made;
}

export class LengthsView {
  constructor(owner) {
    this.owner = owner;
    this.place = element("div");
    this.choice = modelChoice(owner, () => this.load());
    this.output = element("div");
    this.place.replaceChildren(element("div", { class: "tools" }, element("label", {}, "Base model ", this.choice)), this.output);
  }

  model() {
    return shared.model;
  }

  setChanged() {
    this.choice.fill();
    this.loaded = "";
    if (this.owner.opened === "lengths") this.load();
  }

  open() {
    this.choice.value = shared.model;
    const wanted = `${shared.model} ${this.owner.set.version}`;
    if (this.loaded !== wanted) this.load();
    else this.tell?.();
  }

  async load() {
    if (!shared.model) {
      this.output.replaceChildren(notice("info", NO_MODEL));
      return;
    }
    clearTimeout(this.timer);
    this.loaded = `${shared.model} ${this.owner.set.version}`;
    try {
      const found = await request(`${this.owner.path}/lengths?${new URLSearchParams({ model: shared.model })}`);
      if (found.state === "ready") this.draw(found.lengths);
      else if (found.state === "counting") {
        const share = found.total ? Math.round((100 * found.done) / found.total) : 0;
        this.output.replaceChildren(element("p", { role: "status" }, `Counting the real tokens of ${count(found.total, "row")} … ${share}%`),
          element("div", { class: "bar" }, element("span", { style: `width:${share}%` })));
        this.timer = setTimeout(() => this.load(), 1000);
      } else this.output.replaceChildren(notice("error", found.state === "failed" ? "The tokens could not be counted. logs/errands.log in the studio's folder says why." : NO_MODEL));
    } catch (error) {
      this.output.replaceChildren(notice("error", error.message));
    }
  }

  draw(lengths) {
    if (!lengths.rows) {
      this.output.replaceChildren(notice("warn", "No row has anything to learn from."));
      return;
    }
    const cuts = lengths.cuts;
    const nearest = () => Math.max(0, cuts.findLastIndex((cut) => cut.length <= shared.length));
    const slider = element("input", { type: "range", min: 0, max: cuts.length - 1, step: 1, value: nearest(), id: "length", oninput: () => { shared.length = cuts[slider.value].length; this.tell(); } });
    const sentence = element("p", { class: "understood", role: "status" });
    const more = element("p", { class: "aside" });
    const show = button("Show these rows", "small secondary", () => {
      this.owner.rows.filter({ longer: String(shared.length) });
      remember("rows");
      this.owner.open("rows");
    });
    const highest = Math.max(...lengths.bars.map((bar) => bar.rows));
    const bars = lengths.bars.map((bar) => element("div", { class: "column", title: `${bar.from.toLocaleString("en-US")} to ${bar.to.toLocaleString("en-US")} tokens: ${count(bar.rows, "row")}` },
      element("span", { style: `height:${bar.rows ? Math.max(2, (100 * bar.rows) / highest) : 0}%` })));
    const number = (value) => value.toLocaleString("en-US");
    this.tell = () => {
      slider.value = nearest();
      const cut = cuts[nearest()];
      const share = (part, whole) => (part === whole ? "100%" : `${Math.min(99, Math.floor((100 * part) / whole))}%`);
      const longer = lengths.rows - cut.whole;
      sentence.textContent = `${number(cut.length)} keeps ${share(cut.whole, lengths.rows)} of rows whole.`;
      more.textContent = longer
        ? `${count(longer, "row")} would be cut, and ${share(cut.kept, lengths.learned)} of what is to be learned is kept.` + (cut.unanswered ? ` ${count(cut.unanswered, "row")} would be cut before the answer begins, and teach nothing.` : "")
        : "Nothing is cut.";
      show.hidden = !longer;
      slider.setAttribute("aria-valuetext", sentence.textContent);
      lengths.bars.forEach((bar, i) => bars[i].classList.toggle("over", bar.from > cut.length));
    };
    const facts = [["All tokens", number(lengths.total)], ["To learn", number(lengths.learned)], ["Half are up to", number(lengths.p50)], ["95% are up to", number(lengths.p95)], ["Longest", number(lengths.max)]];
    this.output.replaceChildren(
      element("dl", { class: "facts" }, ...facts.map(([label, value]) => element("div", {}, element("dt", {}, label), element("dd", {}, value)))),
      element("label", { for: "length" }, "Longest example, in tokens"), slider, sentence, more, show,
      element("div", { class: "histogram", role: "img", "aria-label": `How many rows have how many tokens, from 1 to ${number(lengths.max)}. Half have at most ${number(lengths.p50)}, 95% at most ${number(lengths.p95)}.` }, ...bars),
      element("div", { class: "axis", "aria-hidden": "true" }, element("span", {}, "1"), element("span", {}, `${number(lengths.max)} tokens`)),
      element("p", { class: "aside" }, "The length is set for a run under More settings, “Longest example”."));
    this.tell();
  }
}
