"""Rows of cells under a header: what CSV files and spreadsheets have in common."""

from collections.abc import Iterator, Sequence

from studio.core.errors import DataError
from studio.data.names import ALL, key
from studio.data.readers.table import Broken, Row

Line = tuple[int, list[str]]  # number in the file, cells
_LONG_NAME_CHARS = 50
_LONG_NAME_WORDS = 6


def has_header(lines: Sequence[Line]) -> bool:
    """Whether the first line names the columns. It does unless it plainly reads like an example."""
    if not lines:
        return True
    first, rest = lines[0][1], [cells for _, cells in lines[1:]]
    if any(key(cell) in ALL for cell in first):
        return True
    if any(_like_content(cell) for cell in first):
        return False
    # a label that comes again below it in its own column
    return not any(
        cell and sum(cells[place : place + 1] == [cell] for cells in rest) > 1 for place, cell in enumerate(first)
    )


def names_of(cells: Sequence[str], filename: str) -> list[str]:
    """The columns' names. Raises DataError if two are the same: one of them would be lost without a word."""
    names = [cell.strip() or f"column {place}" for place, cell in enumerate(cells, 1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{filename} has two columns called “{twice[0]}”.",
            "Rename one of them, so that each column has its own name.",
        )
    return names


def numbered(width: int) -> list[str]:
    """Names for the columns of a table without a header."""
    return [f"column {place}" for place in range(1, width + 1)]


def rows_of(lines: Iterator[Line], columns: Sequence[str]) -> Iterator[Row | Broken]:
    """Each line held to the header: a cell too many or too few is told, never shifted."""
    width = len(columns)
    for number, cells in lines:
        if len(cells) == width:
            yield Row(number, dict(zip(columns, cells, strict=False)))
        else:
            have = f"{len(cells)} cell{'' if len(cells) == 1 else 's'}"
            reason = f"has {have} where the header has {len(columns)}. Is a text with a comma missing its quotes?"
            yield Broken(number, reason, cells=tuple(cells))


NO_HEADER_NOTE = "The first row looks like an example, so the columns are numbered."


def _like_content(cell: str) -> bool:
    text = cell.strip()
    if not text:
        return False
    if len(text) > _LONG_NAME_CHARS or len(text.split()) > _LONG_NAME_WORDS or "\n" in text or text[-1] in ".?!。？！":
        return True
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
