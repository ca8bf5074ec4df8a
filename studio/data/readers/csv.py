"""CSV: any delimiter, quotes as Excel writes them, every row held to the header."""

from csv import Error, Sniffer, field_size_limit, reader
from io import StringIO

from studio.core.errors import DataError
from studio.data.readers.table import Row, Table

DELIMITERS = ",;\t|"
field_size_limit(2**31 - 1)  # the studio's own limit on a cell comes later and speaks plainly


def read_csv(text: str, filename: str) -> Table:
    lines = reader(StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    table = Table([], [])
    try:
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            if not table.columns:
                table.columns = _header(cells, filename)
            elif len(cells) == len(table.columns):
                table.rows.append(Row(lines.line_num, dict(zip(table.columns, cells, strict=True))))
            else:
                table.skip(
                    f"has {len(cells)} cells where the header has {len(table.columns)}. "
                    "Is a text with a comma missing its quotes?",
                    lines.line_num,
                )
    except Error as error:
        raise DataError(
            f"{filename} breaks off near line {lines.line_num}: {error}.",
            "Look there for a quote that is never closed.",
        ) from None
    return table


def _delimiter(text: str) -> str:
    """The delimiter that divides the first line; the sniffer decides between several."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    present = [d for d in DELIMITERS if d in first]
    if len(present) < 2:
        return present[0] if present else ","
    try:
        return Sniffer().sniff(text[:20_000], "".join(present)).delimiter
    except Error:
        return max(present, key=first.count)


def _header(cells: list[str], filename: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    for place, name in enumerate(names, 1):
        if not name:
            names[place - 1] = f"column {place}"
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{filename} has two columns called “{twice[0]}”.",
            "Rename one of them, so that each column has its own name.",
        )
    return names
