"""From a file's bytes to its rows: what it really is decides, not what it is called."""

from collections.abc import Callable
from pathlib import Path

from studio.core.errors import DataError
from studio.data.readers.csv import read_csv
from studio.data.readers.json import read_json, read_jsonl
from studio.data.readers.table import Table
from studio.data.readers.text import decode

READERS: dict[str, Callable[[str, str], Table]] = {".csv": read_csv, ".jsonl": read_jsonl, ".json": read_json}
_MAGIC = {
    b"PK\x03\x04": "an Excel, Word or ZIP file",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x1f\x8b": "a compressed file",
    b"PAR1": "a Parquet file",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"SQLite format 3": "a database",
}
_KINDS = "CSV, JSONL or JSON"


def read_file(path: Path, filename: str, max_rows: int) -> Table:
    """The rows of a file. Raises DataError, in words, if it is empty, of another kind, or broken."""
    suffix = Path(filename).suffix.lower()
    reader = READERS.get(suffix)
    if reader is None:
        named = f"“{suffix}” files" if suffix else "files without an ending"
        raise DataError(f"The studio cannot read {named} yet.", f"Save the table as {_KINDS} and choose that file.")
    data = path.read_bytes()
    if not data.strip():
        raise DataError(f"{filename} is empty.", "Choose a file with at least 10 examples.")
    for magic, kind in _MAGIC.items():
        if data.startswith(magic):
            raise DataError(
                f"{filename} is named {suffix} but is really {kind}.", f"Export it as {_KINDS} and choose that file."
            )
    text, encoding = decode(data, filename)
    table = (_by_content(text, suffix) or reader)(text, filename)
    if not table.rows and not table.broken:
        raise (
            DataError(f"{filename} has a header but no rows.", "Add at least 10 examples below it.")
            if table.columns
            else DataError(f"{filename} holds no examples.", "Choose a file with at least 10 examples.")
        )
    if table.total > max_rows:
        raise DataError(
            f"{filename} has {table.total:,} rows; this studio takes {max_rows:,}.",
            "Split the file, or raise STUDIO_MAX_ROWS.",
        )
    table.encoding = encoding
    return table


def _by_content(text: str, suffix: str) -> Callable[[str, str], Table] | None:
    """The right reader for text whose ending names the wrong one, where that is plain to see."""
    start = text.lstrip()[:1]
    if suffix == ".csv" and start == "{":
        return read_jsonl
    if suffix == ".csv" and start == "[":
        return read_json
    if suffix != ".csv" and start not in "{[":
        raise DataError(
            f"The file is named {suffix} but holds no JSON.",
            "If it is a table, give it the ending .csv and choose it again.",
        )
    return None
