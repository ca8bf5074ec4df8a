"""What every reader returns: the rows of a file as they stand there, numbered as the user would count them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    number: int  # as in the user's own file: the line of a CSV or JSONL file, the position in a JSON list
    values: dict[str, Any]


@dataclass(slots=True)
class Table:
    columns: list[str]
    rows: list[Row]
    broken: dict[str, list[int]] = field(default_factory=dict)  # reason -> numbers of rows that could not be read
    encoding: str = "utf-8"

    def skip(self, reason: str, number: int) -> None:
        self.broken.setdefault(reason, []).append(number)

    @property
    def total(self) -> int:
        return len(self.rows) + sum(len(numbers) for numbers in self.broken.values())
