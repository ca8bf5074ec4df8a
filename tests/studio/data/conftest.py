"""Small real files, written by other libraries than those that read them, or by hand."""

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from studio.core.conversation import Conversation
from studio.core.mapping import Mapping, Reading
from studio.data.detect import Guess, guess
from studio.data.files import read_files
from studio.data.limits import Limits
from studio.data.mapping import Skipped, Tally, convert
from studio.data.readers.table import Broken, Row, Source, Table, no_tick

Read = Callable[..., Table]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """(name, content, …, reading=, limits=): the table that files with these contents give."""
    numbers = count()

    def reading(*files: Any, reading: Reading = Reading(), limits: Limits = Limits()) -> Table:  # noqa: B008
        sources = []
        for place, (name, content) in enumerate(zip(files[::2], files[1::2], strict=True)):
            path = tmp_path / f"{place}-{Path(name).name}"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            sources.append(Source(path, name))
        return read_files(sources, reading, limits, tmp_path / f"unpacked-{next(numbers)}")

    return reading


def rows_in(table: Table) -> list[Row]:
    return [row for row in table.read(no_tick) if isinstance(row, Row)]


def broken_in(table: Table) -> list[Broken]:
    return [row for row in table.read(no_tick) if isinstance(row, Broken)]


def table_of(rows: Sequence[dict[str, Any]], first: int = 2) -> Table:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return Table(columns, lambda tick: (Row(n, row) for n, row in enumerate(rows, first)))


def understood(
    table: Table, mapping: Mapping | None = None, max_cell_chars: int = 10_000
) -> tuple[list[Conversation], list[Skipped], Guess]:
    """What the table gives by the mapping, or by the guess."""
    found, tally = guess(table), Tally()
    conversations = list(convert(table, mapping or found.mapping, max_cell_chars, tally))
    return conversations, tally.skipped, found
