"""How a user's file is read, and which of its columns plays which part."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

# "" is still to be guessed
Shape = Literal["", "columns", "messages", "labels", "preference", "verdict", "text"]

SHAPE_NAMES: dict[Shape, str] = {
    "columns": "Questions and answers",
    "messages": "Conversations",
    "labels": "Texts and labels",
    "preference": "A better and a worse answer",
    "verdict": "Answers marked good or bad",
    "text": "Plain text",
}


class Reading(BaseModel):
    """What has to be known before the first row can be read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sheet: str = ""  # of a workbook; the first with rows unless named
    header: bool | None = None  # whether the first row names the columns; None: as it looks
    repair: bool = False  # mend lines that are not quite JSON


class Mapping(BaseModel):
    """Which column plays which part; a part that no column plays is "".

    - `columns`: question and answer, perhaps a context and a system text. A cell may hold a list of messages.
    - `messages`: one column holds the conversation, perhaps another the tools.
    - `labels`: `question` is the text, `answer` its label; `labels` lists those there are.
    - `preference`: `answer` is the better one, `rejected` the worse; without `question` it is what both begin with.
    - `verdict`: question, answer, and `verdict` says whether the answer is good.
    - `text`: only `text`.

    A template such as `{product}: {question}` takes the place of the question's or the answer's column.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Shape = "columns"
    question: str = ""
    answer: str = ""
    context: str = ""  # appended to the question where it is not empty (Alpaca's `input`)
    system: str = ""
    messages: str = ""
    tools: str = ""
    rejected: str = ""
    verdict: str = ""
    text: str = ""
    question_template: str = ""
    answer_template: str = ""
    system_text: str = ""  # for every example that has none of its own
    labels: tuple[str, ...] = ()  # as they are listed in the prompt
    reading: Reading = Reading()

    @property
    def missing(self) -> tuple[str, ...]:
        """The parts that still need a column, as a person calls them."""
        question, answer = self.question or self.question_template, self.answer or self.answer_template
        needed: dict[Shape, dict[str, str]] = {
            "": {"shape": ""},
            "columns": {"question": question, "answer": answer},
            "messages": {"conversation": self.messages},
            "labels": {"text": question, "label": answer},
            "preference": {"better answer": answer, "worse answer": self.rejected},
            "verdict": {"question": question, "answer": answer, "verdict": self.verdict},
            "text": {"text": self.text},
        }
        return tuple(part for part, column in needed[self.shape].items() if not column)

    @property
    def complete(self) -> bool:
        return not self.missing

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are named, templates apart."""
        named = (
            self.question, self.answer, self.context, self.system, self.messages, self.tools, self.rejected,
            self.verdict, self.text,
        )  # fmt: skip
        return tuple(column for column in named if column)

    @property
    def words(self) -> str:
        question, answer = self.question_template or self.question, self.answer_template or self.answer
        match self.shape:
            case "messages":
                return f"Conversations in “{self.messages}”"
            case "labels":
                return f"Text = {question}, label = {answer}"
            case "preference":
                return f"Better answer = {answer}, worse answer = {self.rejected}"
            case "verdict":
                return f"Question = {question}, answer = {answer}, good or bad = {self.verdict}"
            case "text":
                return f"Text in “{self.text}”"
        return f"Question = {question}, answer = {answer}"
