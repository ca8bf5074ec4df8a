// What the model answered to the same held-back questions, before training and after each time it was asked.
import { number } from "./curves.js";
import { button, element } from "./dom.js";

export class Answers {
  constructor() {
    this.chosen = null; // a step, or null for what it answers now
    this.now = null;
    this.steps = [];
    this.select = element("select", { onchange: () => this.choose(Number(this.select.value)) });
    this.back = button("Earlier", "small secondary", () => this.move(-1));
    this.forth = button("Later", "small secondary", () => this.move(1));
    this.tools = element("div", { class: "tools", role: "group", "aria-label": "Which answers are shown" },
      element("label", {}, "Answers after ", this.select), element("span", { class: "buttons" }, this.back, this.forth));
    this.title = element("th", { scope: "col" });
    this.body = element("tbody");
    this.place = element("section", { class: "answers", hidden: true },
      element("h2", {}, "Answers to examples it has not learned from"),
      this.tools,
      element("div", { class: "scroll samples", tabindex: 0, role: "region", "aria-label": "Sample answers" }, element("table", {},
        element("thead", {}, element("tr", {}, ...["Question", "Your answer", "Before"].map((title) => element("th", { scope: "col" }, title)), this.title)),
        this.body)));
  }

  /** `steps` after which it was asked, `questions`: {question, expected, answers by step}; `kept`: the adapter's step. */
  show({ steps, questions }, best, kept) {
    const shown = JSON.stringify([steps, questions, best, kept]);
    if (this.shown === shown) return;
    this.shown = shown;
    this.questions = questions;
    this.steps = steps.filter((step) => step > 0);
    // what it answers now is what the adapter answers: after the newest step, unless that is not the one that was kept
    this.now = this.steps.includes(kept) ? kept : this.steps.at(-1) ?? null;
    if (!this.steps.includes(this.chosen)) this.chosen = null;
    this.place.hidden = questions.length === 0;
    this.tools.hidden = this.steps.length < 2;
    const about = (step) => [step === kept ? "the adapter" : step === best && "best", step === this.steps.at(-1) && "newest"];
    this.select.replaceChildren(...this.steps.map((step) =>
      element("option", { value: step }, [`step ${number(step)}`, ...about(step).filter(Boolean)].join(", "))));
    this.draw();
  }

  /** “Now” stays the newest when another is added. */
  choose(step) {
    this.chosen = step === this.now ? null : step;
    this.draw();
  }

  move(by) {
    const to = this.steps[this.steps.indexOf(this.chosen ?? this.now) + by];
    if (to !== undefined) this.choose(to);
  }

  draw() {
    const step = this.chosen ?? this.now;
    const now = this.chosen === null ? "Now" : `After step ${number(step)}`;
    if (step !== null) this.select.value = step;
    this.title.textContent = now;
    this.back.setAttribute("aria-disabled", String(step === this.steps[0]));
    this.forth.setAttribute("aria-disabled", String(step === this.steps.at(-1)));
    this.body.replaceChildren(...this.questions.map(({ question, expected, answers }) => element("tr", {},
      cell("Question", question), cell("Your answer", expected),
      answerCell("Before", answers[0], expected), answerCell(now, answers[step], expected))));
  }
}

function cell(label, text, ...more) {
  return element("td", { "data-label": label }, text || "–", ...more);
}

function answerCell(label, text, expected) {
  const right = text && text.trim() === expected.trim();
  return cell(label, text, right ? element("span", { class: "right" }, "exactly right") : "");
}
