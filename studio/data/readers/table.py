"""What every reader returns: the rows of a file as they stand there, numbered as the user would count them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

HEAD_ROWS = 100
TICK_ROWS = 2000
Tick = Callable[[float], None]  # the share of the file that has been read, 0 to 1; may raise to stop the reading


@dataclass(frozen=True, slots=True)
class Source:
    path: Path
    name: str  # what the user calls it


class Row(NamedTuple):  # not a frozen dataclass, which takes three times as long to make; there may be a million
    number: int  # as in the user's own file: a line, an Excel row, a position in a JSON list, a page
    values: dict[str, Any]
    file: str = ""  # which of several files
    piece: int = 0  # which piece of a document, from 1; 0 for what is no piece
    goes_on: bool = False  # whether another piece comes after it


class Broken(NamedTuple):
    """A row that could not be read, and why."""

    number: int
    reason: str
    file: str = ""
    raw: str = ""  # the line as it stands there, where it could be mended


def no_tick(share: float) -> None:
    """For whoever does not want to know how far the reading is."""


@dataclass
class Table:
    """`read` starts again from the first row at every call, so that a file of any size needs no memory."""

    columns: list[str]  # those of the first rows; a later row may have more
    read: Callable[[Tick], Iterator[Row | Broken]]
    encoding: str = "utf-8"
    notes: list[str] = field(default_factory=list)  # what a person should know about how the file was read
    sheets: list[str] = field(default_factory=list)  # of a workbook with several
    sheet: str = ""
    headed: bool | None = None  # whether the first row names the columns; None where no file of this kind asks

    @cached_property
    def head(self) -> list[Row]:
        """The first rows, by which shape and columns are guessed."""
        rows = self.read(no_tick)
        try:
            # a file that begins with thousands of broken rows is not searched to its end
            return [row for row in islice(rows, 10 * HEAD_ROWS) if isinstance(row, Row)][:HEAD_ROWS]
        finally:
            rows.close()  # type: ignore[attr-defined]  # every reader is a generator, and holds its file open

    def values(self, column: str) -> list[Any]:
        """What stands in a column of the first rows, blanks left out."""
        return [value for row in self.head if (value := row.values.get(column)) not in (None, "")]


def column_names(rows: list[Row]) -> list[str]:
    """Every name that occurs, in order."""
    return list(dict.fromkeys(name for row in rows for name in row.values))
