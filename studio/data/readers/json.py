"""JSON lists, objects that hold one list, and JSON lines."""

import re
from collections.abc import Iterable, Iterator
from json import JSONDecodeError, JSONDecoder
from math import isfinite
from typing import Any

from studio.core.errors import DataError
from studio.core.mapping import Reading
from studio.data.readers.table import TICK_ROWS, Broken, Row, Source, Table, Tick, column_names
from studio.data.readers.text import encoding_of, open_text, read_text, share_read
from studio.data.repair import Mendable, mend

_TRAINING = ("train", "training", "data")  # of several lists, where a file has its parts by name
_SOMETHING = re.compile(r"\S")
_RAW_CHARS = 20_000


class _Strict(ValueError):
    """Something that Python's json takes and JSON does not allow, or that would lose a value without a word."""


def read_json(source: Source, reading: Reading) -> Table:
    text, encoding = read_text(source)
    notes = list[str]()
    try:
        content = parse(text)
    except JSONDecodeError as error:
        if (objects := _one_after_another(text)) is not None:
            return table_of(objects, source.name, encoding, notes)
        if not reading.repair:
            raise Mendable(
                f"{source.name} is not valid JSON at line {error.lineno}: {_reason(error)}.",
                "Correct it there, export the file again, or let the studio fix it.",
                before=error.doc.split("\n")[error.lineno - 1][:300],
                text=text,
            ) from None
        content = mend(text)
        notes = ["The file was not quite JSON; the studio mended it."]
    except (RecursionError, ValueError) as error:
        raise DataError(
            f"{source.name} cannot be read: {_reason(error)}.", "Correct it there, or export the file again."
        ) from None
    return table_of(content, source.name, encoding, notes)


def read_jsonl(source: Source, reading: Reading) -> Table:
    encoding = encoding_of(source)
    size = source.path.stat().st_size

    def read(tick: Tick) -> Iterator[Row | Broken]:
        with open_text(source, encoding, newline="\n") as file:
            for number, line in enumerate(file, 1):
                if number % TICK_ROWS == 0:
                    tick(share_read(file, size))
                if line and not line.isspace():
                    yield _row(number, line, reading.repair)

    table = Table([], read, encoding)
    table.columns = column_names(table.head)
    return table


def parse(text: str) -> Any:
    """Strict JSON. Raises ValueError (JSONDecodeError is one) or RecursionError."""
    return _DECODER.decode(text)


def table_of(content: Any, filename: str, encoding: str, notes: list[str]) -> Table:
    """A file that was read in one piece: the list in it, its rows numbered from 1."""
    items = _items(content)
    if items is None:
        raise DataError(f"{filename} holds no list of examples.", "Put the examples into a list: [ {…}, {…} ].")

    def read(tick: Tick) -> Iterator[Row | Broken]:
        for number, item in enumerate(items, 1):
            yield _as_row(number, item)

    table = Table([], read, encoding, notes)
    table.columns = column_names(table.head)
    return table


def _one_after_another(text: str) -> list[Any] | None:
    """Objects over several lines each, without a list around them; None if there is anything else in between."""
    objects, place = list[Any](), 0
    try:
        while begin := _SOMETHING.search(text, place):
            found, place = _DECODER.raw_decode(text, begin.start())
            if not isinstance(found, dict):
                return None
            objects.append(found)
    except (ValueError, RecursionError):
        return None
    return objects


def _row(number: int, line: str, repair: bool) -> Row | Broken:
    try:
        return _as_row(number, parse(line))
    except JSONDecodeError as error:
        if repair and isinstance(mended := mend(line), dict) and mended:
            return Row(number, mended)
        return Broken(number, f"is not quite JSON: {_reason(error)}", raw=line[:_RAW_CHARS].rstrip("\r\n"))
    except (RecursionError, ValueError) as error:
        return Broken(number, f"cannot be read: {_reason(error)}")


def _as_row(number: int, item: Any) -> Row | Broken:
    """Objects are rows. A list of texts is a conversation, as chatterbot and others write it."""
    if isinstance(item, dict):
        return Row(number, item)
    if isinstance(item, list) and item and all(isinstance(turn, (str, dict)) for turn in item):
        return Row(number, {"conversations": item})
    if isinstance(item, str):
        return Row(number, {"text": item})
    return Broken(number, "is not an object with named values")


def _items(content: Any) -> list[Any] | None:
    """The examples: the list itself, the one list of objects in an object, or columns turned into rows."""
    if isinstance(content, list):
        return content
    if not isinstance(content, dict):
        return None
    lists = {name: value for name, value in content.items() if isinstance(value, list)}
    if {"columns", "data"} <= content.keys() <= {"columns", "data", "index"} and len(lists) == len(content):
        return _zipped(content["columns"], content["data"])  # pandas' orient="split"
    inner = [value for value in lists.values() if value and isinstance(value[0], (dict, list))]
    training = next((lists[name] for name in _TRAINING if lists.get(name) in inner), None)
    if len(inner) > 1 and training:
        return training
    if len(inner) == 1 and not {"role", "from"} & set(_names(inner[0][0])):
        return inner[0]
    if len(lists) > 1 and len(lists) == len(content) and len({len(value) for value in lists.values()}) == 1:
        return _zipped(lists, zip(*lists.values(), strict=True))
    columns = [value for value in content.values() if isinstance(value, dict) and all(i.isdigit() for i in value)]
    if columns and len(columns) == len(content) and all(c.keys() == columns[0].keys() for c in columns):
        return _zipped(content, zip(*(c.values() for c in columns), strict=True))  # pandas: columns of numbered rows
    return [content]


def _zipped(names: Iterable[Any], rows: Iterable[Any]) -> list[Any]:
    names = [str(name) for name in names]
    return [
        dict(zip(names, row, strict=True)) if isinstance(row, (list, tuple)) and len(row) == len(names) else None
        for row in rows
    ]


def _names(item: Any) -> Iterable[Any]:
    return item if isinstance(item, dict) else ()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Strict(f"the key “{next(k for k in keys if keys.count(k) > 1)}” stands twice in one object")
    return values


def _no_constant(name: str) -> Any:
    raise _Strict(f"{name} is not a JSON value")


def _finite(digits: str) -> float:
    value = float(digits)
    if not isfinite(value):
        raise _Strict(f"the number {digits[:30]} is too large")
    return value


_DECODER = JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, JSONDecodeError):
        return error.msg[0].lower() + error.msg[1:]
    return str(error) if isinstance(error, _Strict) else "it has a number with too many digits"
