"""CSV and TSV: any delimiter, quotes as Excel writes them, every row held to the header."""

import re
from collections.abc import Iterator
from csv import Error, field_size_limit, reader
from io import StringIO
from itertools import islice

from studio.core.errors import DataError
from studio.core.mapping import Reading
from studio.data.readers.grid import NO_HEADER_NOTE, Line, has_header, names_of, numbered, rows_of
from studio.data.readers.table import TICK_ROWS, Broken, Row, Source, Table, Tick, no_tick
from studio.data.readers.text import LONGEST_LINE_BYTES, encoding_of, open_text, share_read

DELIMITERS = ",;\t|~^"
_SAMPLE_CHARS = 100_000
_SAMPLE_LINES = 100
field_size_limit(LONGEST_LINE_BYTES)  # the studio's own limit on a cell comes later and speaks plainly
_STATED = re.compile(r'\A"?sep=(.)"?\r?\n')  # a first line by which Excel is told the delimiter


def read_csv(source: Source, reading: Reading) -> Table:
    encoding = encoding_of(source)
    with open_text(source, encoding, newline="") as file:
        sample = file.read(_SAMPLE_CHARS)
    stated = _STATED.match(sample)
    delimiter = stated[1] if stated else _delimiter(sample)
    skipped = 1 if stated else 0

    def lines(tick: Tick) -> Iterator[Line]:
        return _lines(source, encoding, delimiter, skipped, tick)

    first = list(islice(lines(no_tick), _SAMPLE_LINES))
    headed = has_header(first) if reading.header is None else reading.header
    cells = first[0][1] if first else []
    columns = names_of(cells, source.name) if headed else numbered(len(cells))

    def read(tick: Tick) -> Iterator[Row | Broken]:
        yield from rows_of(islice(lines(tick), 1 if headed else 0, None), columns)

    return Table(columns, read, encoding, notes=[] if headed else [NO_HEADER_NOTE], headed=headed)


def _lines(source: Source, encoding: str, delimiter: str, skipped: int, tick: Tick) -> Iterator[Line]:
    """Lines that are not blank, each with the number of the file's line on which it begins."""
    size = source.path.stat().st_size
    with open_text(source, encoding, newline="") as file:
        rows = reader(islice(file, skipped, None), delimiter=delimiter, strict=True)
        start = 1
        try:
            for count, cells in enumerate(rows, 1):
                if any(cells):
                    yield start + skipped, cells
                start = rows.line_num + 1
                if count % TICK_ROWS == 0:
                    tick(share_read(file, size))
        except Error as error:
            raise _broken_off(source.name, start + skipped, error) from None


def _broken_off(filename: str, line: int, error: Error) -> DataError:
    if "unexpected end" in str(error) or "field larger" in str(error):
        return DataError(
            f"{filename} breaks off: the row that begins on line {line} never ends.",
            "Look there for a quote that is never closed.",
        )
    return DataError(
        f"{filename} cannot be read from line {line} on: a quote stands in the middle of a cell.",
        'Inside a cell in quotes, write each quote twice: "She said ""hello""".',
    )


def _delimiter(sample: str) -> str:
    """Of those in the first line the one that divides most lines as it divides the first."""
    first = next((line for line in sample.splitlines() if line.strip()), "")
    best, best_score = ",", (-1.0, 0)
    for delimiter in (d for d in DELIMITERS if d in first):
        try:
            rows = [r for r in islice(reader(StringIO(sample, newline=""), delimiter=delimiter), _SAMPLE_LINES) if r]
        except Error:
            continue
        rows = rows[:-1] if len(rows) > 2 else rows  # the sample may end inside the last one
        width = len(rows[0]) if rows else 0
        if width > 1:
            score = (sum(len(row) == width for row in rows) / len(rows), width)
            best, best_score = max((best, best_score), (delimiter, score), key=lambda pair: pair[1])
    return best
