"""Excel and OpenDocument workbooks. A cell is what was last calculated in it, as text: no formula is ever run."""

from collections.abc import Iterator

from studio.core.mapping import Reading
from studio.data.extract import extract
from studio.data.readers.grid import NO_HEADER_NOTE, Line, has_header, names_of, numbered, rows_of
from studio.data.readers.table import HEAD_ROWS, Broken, Row, Source, Table, Tick

_TITLE_LINES = 20


def read_excel(source: Source, reading: Reading) -> Table:
    book = extract("workbook", source, reading.sheet)
    lines = _without_blank_columns([(number, cells) for number, cells in book["lines"]])
    notes = []
    start = _first_of_table(lines)
    if start:
        notes.append(f"What stands above row {lines[start][0]} is left out: it is not part of the table.")
        lines = lines[start:]
    headed = has_header(lines[:HEAD_ROWS]) if reading.header is None else reading.header
    if not headed:
        notes.append(NO_HEADER_NOTE)
    cells = lines[0][1] if lines else []
    columns = names_of(cells, f"Sheet “{book['sheet']}”") if headed else numbered(len(cells))

    def read(tick: Tick) -> Iterator[Row | Broken]:
        yield from rows_of(iter(lines[1 if headed else 0 :]), columns)

    return Table(columns, read, "", notes, book["sheets"] if len(book["sheets"]) > 1 else [], book["sheet"], headed)


def _without_blank_columns(lines: list[Line]) -> list[Line]:
    filled = [place for place in range(len(lines[0][1]) if lines else 0) if any(cells[place] for _, cells in lines)]
    return [(number, [cells[place] for place in filled]) for number, cells in lines]


def _first_of_table(lines: list[Line]) -> int:
    """Titles above a table fill one cell of a line; the table's header fills more."""
    for place, (_, cells) in enumerate(lines[:_TITLE_LINES]):
        if sum(bool(cell) for cell in cells) > 1 or len(cells) < 2:
            return place
    return 0
