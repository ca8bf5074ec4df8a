"""From files to one table of rows: what a file really is decides, not what it is called."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

from studio.core.errors import DataError
from studio.core.mapping import Reading
from studio.data.archives import check_office, names_in, unpack
from studio.data.limits import MIB, Limits
from studio.data.readers.csv import read_csv
from studio.data.readers.documents import read_document
from studio.data.readers.excel import read_excel
from studio.data.readers.json import parse, read_json, read_jsonl
from studio.data.readers.parquet import read_arrow, read_parquet
from studio.data.readers.pdf import read_pdf
from studio.data.readers.table import Broken, Row, Source, Table, Tick, no_tick
from studio.data.readers.word import read_word
from studio.data.readers.yaml import read_yaml

Kind = Literal["csv", "json", "jsonl", "excel", "parquet", "arrow", "yaml", "text", "pdf", "word", "archive"]

KINDS = "Excel, CSV, JSON, JSONL, Parquet, YAML, Word, PDF or text"
SUFFIXES: dict[str, Kind] = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".xlsx": "excel", ".xlsm": "excel", ".xlsb": "excel", ".xls": "excel", ".ods": "excel", ".parquet": "parquet",
    ".arrow": "arrow", ".feather": "arrow", ".yaml": "yaml", ".yml": "yaml", ".txt": "text", ".md": "text",
    ".markdown": "text", ".pdf": "pdf", ".docx": "word", ".zip": "archive", ".gz": "archive",
}  # fmt: skip
# what the `datasets` library writes beside the examples
METADATA = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "metadata.json"})
_READERS: dict[Kind, Callable[[Source, Reading], Table]] = {
    "csv": read_csv, "json": read_json, "jsonl": read_jsonl, "excel": read_excel, "parquet": read_parquet,
    "arrow": read_arrow, "yaml": read_yaml, "text": read_document, "pdf": read_pdf, "word": read_word,
}  # fmt: skip
_DOCUMENTS: frozenset[Kind] = frozenset({"text", "pdf", "word"})
_WHOLE: frozenset[Kind] = frozenset({"json", "excel", "yaml", "pdf", "word"})
_NAMES: dict[Kind, str] = {
    "csv": "a table", "json": "JSON", "jsonl": "JSON lines", "excel": "a workbook", "parquet": "Parquet",
    "arrow": "Arrow", "yaml": "YAML", "text": "text", "pdf": "a PDF", "word": "a Word document",
    "archive": "an archive",
}  # fmt: skip
_UNREADABLE = {
    b"\x89PNG": "a picture", b"\xff\xd8\xff": "a picture", b"GIF8": "a picture", b"RIFF": "a sound or a picture",
    b"SQLite format 3": "a database", b"BZh": "an archive of a kind it does not know",
    b"\xfd7zXZ": "an archive of a kind it does not know", b"7z\xbc\xaf": "an archive of a kind it does not know",
    b"Rar!": "an archive of a kind it does not know", b"\x28\xb5\x2f\xfd": "an archive of a kind it does not know",
    b"FEA1": "an old kind of Feather file", b"{\\rtf": "a rich text (RTF) file", b"\x80\x04\x95": "a Python pickle",
    b"\x80\x05\x95": "a Python pickle", b"GGUF": "a language model",
}  # fmt: skip


def read_files(sources: Sequence[Source], reading: Reading, limits: Limits, unpacked: Path) -> Table:
    """The rows of the files together. `unpacked` is a folder to make for what is in archives.

    Raises DataError, in words, if one is empty, of a kind the studio does not read, or broken; so does the reading of
    the table's rows.
    """
    chosen, notes = [], list[str]()
    for place, source in enumerate(sources):
        if kind_of(source) == "archive":
            inner, others = unpack(source, unpacked / str(place), SUFFIXES, limits)
            if not inner:
                raise DataError(f"{source.name} holds no file the studio can read.", f"It reads {KINDS}.")
            examples = [source for source in inner if Path(source.name).name not in METADATA]
            chosen += examples or inner
            if others:
                notes.append(f"Left out of {source.name}, because the studio cannot read them: {_listed(others)}.")
        else:
            chosen.append(source)
    kinds = {source: kind_of(source) for source in chosen}
    documents = [s for s in chosen if kinds[s] in _DOCUMENTS]
    if 0 < len(documents) < len(chosen):
        notes.append(f"Left out, because the other files are tables: {_listed([s.name for s in documents])}.")
        chosen = [s for s in chosen if s not in documents]
    tables = [(source, _read_one(source, kinds[source], reading, limits)) for source in chosen]
    table = tables[0][1] if len(tables) == 1 else _merged(tables)
    table.notes = notes + table.notes
    return _counted(table, sources[0].name if len(sources) == 1 else "All files together", limits)


def kind_of(source: Source) -> Kind:
    """Raises DataError if the studio cannot read such a file, or if there is nothing in it."""
    suffix = Path(source.name).suffix.lower()
    with source.path.open("rb") as file:
        start = file.read(2048)
    if not start:
        raise DataError(f"{source.name} is empty.", "Choose a file with at least 10 examples.")
    for magic, what in _UNREADABLE.items():
        if start.startswith(magic):
            raise DataError(f"{source.name} is really {what}.", f"The studio reads {KINDS}.")
    binary = _binary_kind(source, start, suffix)
    if binary:
        return binary
    kind = SUFFIXES.get(suffix)
    if kind is None:
        named = f"“{suffix}” files" if suffix else "files without an ending"
        raise DataError(f"The studio cannot read {named}.", f"It reads {KINDS}.")
    if kind in {"excel", "parquet", "arrow", "pdf", "word", "archive"}:
        raise DataError(
            f"{source.name} is named {suffix}, but is not really {_NAMES[kind]}.",
            "Export it again; or, if it is text, give it the ending .csv or .txt.",
        )
    return _text_kind(source, start, kind, suffix)


def _binary_kind(source: Source, start: bytes, suffix: str) -> Kind | None:
    if start.startswith(b"PK"):
        names = names_in(source.path)
        if any(name.startswith("xl/") for name in names):
            return "excel"
        if any(name.startswith("word/") for name in names):
            return "word"
        if "mimetype" in names and "content.xml" in names:
            if suffix in {".odt", ".odp"}:
                raise DataError(f"The studio cannot read “{suffix}” files.", "Save it as .docx or as plain text.")
            return "excel"
        if any(name.startswith("ppt/") for name in names):
            raise DataError("The studio cannot read presentations.", "Save the text as a Word document or a PDF.")
        return "archive"
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        if suffix == ".doc":
            raise DataError("The studio cannot read “.doc” files.", "Save it as .docx.")
        return "excel"
    if start.startswith(b"\x1f\x8b"):
        return "archive"
    if b"%PDF-" in start[:1024]:
        return "pdf"
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"ARROW1") or (start.startswith(b"\xff\xff\xff\xff") and suffix == ".arrow"):
        return "arrow"
    return None


def _text_kind(source: Source, start: bytes, kind: Kind, suffix: str) -> Kind:
    """The right reader for text whose ending names the wrong one, where that is plain to see."""
    text = start.decode("utf-16" if start[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig", "replace").lstrip()
    if not text:
        with source.path.open("rb") as file:
            if not any(block.strip() for block in iter(lambda: file.read(MIB), b"")):
                raise DataError(f"{source.name} is empty.", "Choose a file with at least 10 examples.")
    if kind in {"json", "jsonl"}:
        if text and text[0] not in "{[\"“‘'":
            raise DataError(
                f"{source.name} is named {suffix} but holds no JSON.",
                "If it is a table, give it the ending .csv and choose it again.",
            )
        if text.startswith("["):
            return "json"
        one_a_line = _is_lines(source) or (kind == "jsonl" and text.split("\n", 1)[0].strip() != "{")
        return "jsonl" if one_a_line else "json"
    if kind in {"csv", "text"} and text.startswith("{") and _is_lines(source, single=True):
        return "jsonl"
    if kind == "csv" and text.startswith("["):
        return "json"
    if kind == "text" and _has_columns(text):
        return "csv"
    return kind


def _is_lines(source: Source, single: bool = False) -> bool:
    """Whether the first line is a JSON object of its own and, unless a `single` one will do, others follow."""
    with source.path.open("rb") as file:
        lines = islice((line for line in file if line.strip()), 2)
        first, more = next(lines, b""), next(lines, b"")
    if not (more or single):
        return False
    try:
        return isinstance(parse(first.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return bool(more) and first.rstrip().endswith(b"}") and more.lstrip().startswith(b"{")


def _has_columns(text: str) -> bool:
    """A text file in which every line has the same number of tabs is a table."""
    tabs = {line.count("\t") for line in text.splitlines()[:-1] if line.strip()}
    return len(tabs) == 1 and tabs != {0}


def _read_one(source: Source, kind: Kind, reading: Reading, limits: Limits) -> Table:
    if kind in _WHOLE and (size_mib := source.path.stat().st_size / MIB) > limits.whole_mib:
        raise DataError(
            f"{source.name} is {size_mib:,.0f} MiB; a file of this kind can have {limits.whole_mib:,} MiB, because it "
            "must be read in one piece.",
            "Save it as CSV or JSONL, which are read row by row.",
        )
    if kind in {"excel", "word"} and not source.path.read_bytes()[:4].startswith(b"\xd0\xcf"):
        check_office(source, limits)
    table = _READERS[kind](source, reading)
    named = SUFFIXES.get(Path(source.name).suffix.lower())
    if named != kind and {named, kind} != {"json", "jsonl"} and named != "archive":
        table.notes.append(f"{source.name} is really {_NAMES[kind]}, and was read as that.")
    if table.encoding not in {"", "utf-8", "utf-8-sig", "ascii"}:
        table.notes.append("The file is not in UTF-8. Check that accents and special characters look right below.")
    if next(iter(table.read(no_tick)), None) is None:
        raise (
            DataError(f"{source.name} has a header but no rows.", "Add at least 10 examples below it.")
            if kind in {"csv", "excel"} and table.columns
            else DataError(f"{source.name} holds no examples.", "Choose a file with at least 10 examples.")
        )
    return table


def _merged(tables: list[tuple[Source, Table]]) -> Table:
    """Files of the same kind, one after the other, each row with its file's name."""
    source, first = max(tables, key=lambda pair: len(pair[1].columns))
    for other, table in tables:
        if not set(table.columns) <= set(first.columns):
            strange = next(c for c in table.columns if c not in first.columns)
            raise DataError(
                f"{source.name} and {other.name} have different columns: only {other.name} has “{strange}”.",
                "Choose files with the same columns, or only one of them.",
            )

    def read(tick: Tick) -> Iterator[Row | Broken]:
        for place, (source, table) in enumerate(tables):
            done = place / len(tables)
            for row in table.read(lambda share, done=done: tick(done + share / len(tables))):  # type: ignore[misc]
                yield row._replace(file=source.name)

    notes = list(dict.fromkeys(note for _, table in tables for note in table.notes))
    encoding = next((t.encoding for _, t in tables if t.encoding not in {"", "utf-8"}), tables[0][1].encoding)
    return Table(
        first.columns,
        read,
        encoding,
        [f"{len(tables)} files, read one after the other: {_listed([s.name for s, _ in tables])}.", *notes],
        headed=first.headed,
    )


def _counted(table: Table, name: str, limits: Limits) -> Table:
    """The same table, which stops at the limit of rows."""
    unlimited = table.read

    def read(tick: Tick) -> Iterator[Row | Broken]:
        for count, row in enumerate(unlimited(tick), 1):
            if count > limits.rows:
                raise DataError(
                    f"{name} has more than {limits.rows:,} rows, the most this studio takes.",
                    "Split the file, or raise STUDIO_MAX_ROWS.",
                )
            yield row

    table.read = read
    return table


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
