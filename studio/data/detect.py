"""A guess at which column is the question and which the answer."""

from collections.abc import Sequence
from typing import Any

from studio.core.mapping import Mapping
from studio.data.readers.table import Table

QUESTION = (
    "question", "questions", "prompt", "instruction", "input", "query", "user", "ask", "request", "message", "text",
    "problem", "title", "frage", "pregunta", "domanda", "q",
)  # fmt: skip
ANSWER = (
    "answer", "answers", "response", "output", "completion", "reply", "assistant", "solution", "target", "result",
    "antwort", "reponse", "réponse", "respuesta", "risposta", "a", "label", "category",
)  # fmt: skip
SYSTEM = ("system", "system_prompt", "persona")
_ROWS_LOOKED_AT = 100


def guess(table: Table) -> Mapping:
    """The likeliest mapping; a part that no column seems to play stays empty."""
    for column in table.columns:
        if column.lower() in {"messages", "conversations", "conversation", "dialog", "chat"} and _holds_turns(
            table, column
        ):
            return Mapping(shape="messages", messages=column)
    texts = [column for column in table.columns if _is_text(table, column)]
    answer = _named(texts, ANSWER)
    question = _named([c for c in texts if c != answer], QUESTION)
    system = _named([c for c in texts if c not in (question, answer)], SYSTEM)
    left = [c for c in texts if c not in (question, answer, system) and _values(table, c)]
    if len(texts) == 2 and len(left) == 2:
        question, answer = left  # two columns of text without telling names: in the order in which people write
    elif question and not answer and len(left) == 1:
        answer = left[0]
    elif answer and not question and len(left) == 1:
        question = left[0]
    context = "input" if question == "instruction" and "input" in table.columns else ""
    return Mapping(question=question, answer=answer, system=system, context=context)


def _named(columns: Sequence[str], names: Sequence[str]) -> str:
    """The column with the likeliest name: a whole match before one in which the name is a word."""
    lower = {column.lower().strip().replace(" ", "_"): column for column in columns}
    for name in names:
        if name in lower:
            return lower[name]
    for name in names:
        for key, column in lower.items():
            if len(name) > 2 and name in key.replace("-", "_").split("_"):
                return column
    return ""


def _values(table: Table, column: str) -> list[Any]:
    return [v for row in table.rows[:_ROWS_LOOKED_AT] if (v := row.values.get(column)) not in (None, "")]


def _is_text(table: Table, column: str) -> bool:
    """Most values are text with a letter in them, not numbers, dates or ids. An empty column may become text yet."""
    values = _values(table, column)
    wordy = [v for v in values if isinstance(v, str) and any(c.isalpha() for c in v)]
    return not values or len(wordy) * 2 > len(values)


def _holds_turns(table: Table, column: str) -> bool:
    values = _values(table, column)
    lists = [v for v in values if isinstance(v, list) or (isinstance(v, str) and v.lstrip().startswith("[{"))]
    return len(lists) * 2 > len(values)
