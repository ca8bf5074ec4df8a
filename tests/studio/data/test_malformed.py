"""Broken files by the thousand: each ends in rows or in a sentence, and nothing that a strict reader refuses is taken.

The generator breaks whole files: it cuts, repeats, replaces and inserts what such files trip over.
"""

import csv
import gzip
import io
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import DataError
from studio.core.mapping import Reading
from studio.data.detect import guess
from studio.data.files import read_files
from studio.data.limits import Limits
from studio.data.mapping import Tally, convert
from studio.data.readers.table import Broken, Row, Source, no_tick
from tests.studio.data.readers.test_documents import pdf, word
from tests.studio.data.readers.test_excel import book, two_sheets

ROWS = [
    {"question": "Où est le café ?", "answer": 'She said "no", twice'},
    {"question": "Why, then?", "answer": "Line one\nline two"},
    {"question": "7", "answer": "{curly} [square] ‘quotes’ 💡"},
]
TRIPWIRES = [
    b",", b'"', b'""', b";", b"\n", b"\r", b"\t", b"'", b"{", b"}", b"[", b"]", b":", b"\\", b"NaN", b"Infinity",
    b"1e999", b'"question": 1,', b"\\ud800", b"\x00", b"\xff", b"\xef\xbb\xbf", b"- ", b"&a ", b"*a", b"!!python/x ",
    b"\xe2\x80\xa8", b"1" * 4400, b"[" * 3000, b"null", b"question,", b"PK\x03\x04", b"  ", b"#", b"%PDF",
]  # fmt: skip


def _csv() -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, ["question", "answer"])
    writer.writeheader()
    writer.writerows(ROWS)
    return file.getvalue().encode()


def _jsonl() -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def _zip() -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", _csv())
        archive.writestr("b.jsonl", _jsonl())
    return file.getvalue()


def _parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), file)
    return file.getvalue()


def _arrow() -> bytes:
    file, table = io.BytesIO(), pa.Table.from_pylist(ROWS)
    with pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    return file.getvalue()


WHOLE: dict[str, Callable[[], bytes]] = {
    "a.csv": _csv, "a.jsonl": _jsonl, "a.json": lambda: json.dumps(ROWS, ensure_ascii=False).encode(),
    "a.yaml": lambda: yaml.safe_dump(ROWS, allow_unicode=True).encode(), "a.txt": _csv, "a.zip": _zip,
    "a.csv.gz": lambda: gzip.compress(_csv(), mtime=0), "a.parquet": _parquet, "a.arrow": _arrow,
}  # fmt: skip
_EDITS = st.lists(
    st.tuples(
        st.floats(0, 1), st.sampled_from(["cut", "repeat", "insert", "replace", "end"]), st.integers(1, 40),
        st.sampled_from(TRIPWIRES) | st.binary(min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=4,
)  # fmt: skip
BROKEN_FILES = st.tuples(st.sampled_from(sorted(WHOLE)), _EDITS)


def broken(name: str, edits: list[tuple[float, str, int, bytes]]) -> bytes:
    data = WHOLE[name]()
    for share, way, length, what in edits:
        at = int(share * len(data))
        match way:
            case "cut":
                data = data[:at] + data[at + length :]
            case "repeat":
                data = data[: at + length] + data[at:]
            case "insert":
                data = data[:at] + what + data[at:]
            case "replace":
                data = data[:at] + what + data[at + len(what) :]
            case "end":
                data = data[:at]
    return data


def read(folder: Path, name: str, data: bytes) -> list[Row | Broken]:
    """Every row as it was read, and once more all the way to conversations."""
    path = folder / name
    path.write_bytes(data)
    shutil.rmtree(folder / "unpacked", ignore_errors=True)
    table = read_files([Source(path, name)], Reading(header=True), Limits(), folder / "unpacked")
    for conversation in convert(table, guess(table).mapping, 1000, Tally()):
        assert conversation.answer
    return list(table.read(no_tick))


def check(folder: Path, name: str, data: bytes) -> None:
    try:
        rows = read(folder, name, data)
    except DataError as error:
        assert error.message and error.hint
        return
    assert rows
    reference = REFERENCES.get(name)
    if reference:
        reference(data, rows)


def as_strict_csv(data: bytes, rows: list[Row | Broken]) -> None:
    """Python's own reader in its strict mode, each row held to the width of a header without repetitions."""
    text = _text(data)
    if text is None or text.lstrip()[:1] in {"{", "["} or text.startswith("sep="):
        return
    first = text.lstrip("\r\n").splitlines()[0]
    if any(mark in first for mark in ";\t|~^"):
        return  # another delimiter may have been meant
    lines = [cells for cells in csv.reader(io.StringIO(text, newline=""), strict=True) if any(cells)]
    names = [cell.strip() or f"column {place}" for place, cell in enumerate(lines[0], 1)]
    assert len(set(names)) == len(names)
    read_rows = [row.values if isinstance(row, Row) else None for row in rows]
    assert read_rows == [dict(zip(names, c, strict=True)) if len(c) == len(names) else None for c in lines[1:]]


def as_strict_jsonl(data: bytes, rows: list[Row | Broken]) -> None:
    text = _text(data)
    if text is None or text.lstrip().startswith("["):
        return
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    assert [row.number for row in rows] == [number for number, _ in lines]
    for row, (_, line) in zip(rows, lines, strict=True):
        try:
            value = strict_json(line)
        except (ValueError, RecursionError):
            assert isinstance(row, Broken)
        else:
            assert isinstance(row, Broken) or value in (row.values, *row.values.values())


def as_strict_json(data: bytes, rows: list[Row | Broken]) -> None:
    text = _text(data)
    if text is not None and text.lstrip().startswith("["):
        assert len(strict_json(text)) == len(rows)


def as_strict_yaml(data: bytes, rows: list[Row | Broken]) -> None:
    text = _text(data)
    if text is not None:
        with suppress(ValueError, TypeError):  # a date that is none: a text for the studio
            list(yaml.load_all(text, Loader=_StrictLoader))


class _StrictLoader(yaml.CSafeLoader):
    """libyaml's, as PyYAML's own takes no tabs inside a text; and a lone “=” is a text, which both have forgotten."""


_StrictLoader.add_constructor("tag:yaml.org,2002:value", yaml.CSafeLoader.construct_yaml_str)


def strict_json(text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("twice")
        return dict(pairs)

    def number(digits: str) -> float:
        if float(digits) in {float("inf"), float("-inf")}:
            raise ValueError(digits)
        return float(digits)

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse, parse_float=number)


def _text(data: bytes) -> str | None:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None  # which encoding was meant is a guess, here and there


REFERENCES = {
    "a.csv": as_strict_csv, "a.jsonl": as_strict_jsonl, "a.json": as_strict_json, "a.yaml": as_strict_yaml,
}  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(file=BROKEN_FILES)
def test_a_broken_file_ends_in_rows_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, file: tuple[str, Any]
) -> None:
    check(_folder(tmp_path_factory), file[0], broken(*file))


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, database=None)
@given(file=BROKEN_FILES)
def test_so_do_ten_thousand(tmp_path_factory: pytest.TempPathFactory, file: tuple[str, Any]) -> None:
    check(_folder(tmp_path_factory), file[0], broken(*file))


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200) | st.text(max_size=200), name=st.sampled_from(sorted(WHOLE)))
def test_so_does_anything_at_all(tmp_path_factory: pytest.TempPathFactory, content: bytes | str, name: str) -> None:
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    check(_folder(tmp_path_factory), name, data)


def _folder(factory: pytest.TempPathFactory) -> Path:
    folder = factory.getbasetemp() / "malformed"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.xlsx", "a.docx", "a.pdf"])
def test_broken_documents_end_in_rows_or_a_sentence(tmp_path: Path, name: str) -> None:
    """In the process of their own in which they are always opened; so only some."""
    whole = {"a.xlsx": lambda: book(two_sheets), "a.docx": lambda: word("One", "Two"), "a.pdf": lambda: pdf("One")}
    data = whole[name]()
    chance = Random(name)
    for _ in range(10):
        places = sorted(chance.sample(range(len(data)), 2))
        rest = data[places[1] :] if chance.random() < 0.3 else data[places[0] + 3 :]
        check(tmp_path, name, data[: places[0]] + chance.randbytes(chance.randrange(9)) + rest)
