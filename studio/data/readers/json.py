"""JSON lists, objects that hold one list, and JSON lines."""

from collections.abc import Iterable
from json import JSONDecodeError, loads
from typing import Any

from studio.core.errors import DataError
from studio.data.readers.table import Row, Table


class _Repeated(ValueError):
    """A key that stands twice in one object."""


def read_json(text: str, filename: str) -> Table:
    try:
        content = _parse(text)
    except RecursionError:
        raise DataError(
            f"{filename} is nested too deeply to be read.", "Use one flat object for each example."
        ) from None
    except (JSONDecodeError, _Repeated) as error:
        if _looks_like_lines(text):
            return read_jsonl(text, filename)
        where = f" at line {error.lineno}" if isinstance(error, JSONDecodeError) else ""
        raise DataError(
            f"{filename} is not valid JSON{where}: {_reason(error)}.", "Correct it there, or export the file again."
        ) from None
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list)]
        content = lists[0] if len(lists) == 1 else [content]
    if not isinstance(content, list):
        raise DataError(f"{filename} holds no list of examples.", "Put the examples into a list: [ {…}, {…} ].")
    return _table(enumerate(content, 1))


def read_jsonl(text: str, filename: str) -> Table:
    if text.lstrip().startswith("["):
        return read_json(text, filename)
    table = Table([], [])
    good: list[tuple[int, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            good.append((number, _parse(line)))
        except (JSONDecodeError, RecursionError, _Repeated) as error:
            table.skip(f"is not valid JSON: {_reason(error)}", number)
    if not good and table.broken:
        reason, numbers = next(iter(table.broken.items()))
        raise DataError(
            f"{filename}: line {numbers[0]} {reason}.", 'Each line must be one JSON object, like {"question": …}.'
        )
    return _table(good, table)


def _parse(text: str) -> Any:
    return loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Repeated(f"the key “{next(k for k in keys if keys.count(k) > 1)}” stands twice in one object")
    return values


def _no_constant(name: str) -> Any:
    raise _Repeated(f"{name} is not a JSON value")


def _table(items: Iterable[tuple[int, Any]], table: Table | None = None) -> Table:
    table = table or Table([], [])
    columns: dict[str, None] = {}
    for number, item in items:
        if isinstance(item, dict):
            columns.update(dict.fromkeys(item))
            table.rows.append(Row(number, item))
        else:
            table.skip("is not an object with named values", number)
    table.columns = list(columns)
    return table


def _looks_like_lines(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    return len(lines) > 1 and lines[0].lstrip().startswith("{") and lines[0].rstrip().endswith("}")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return error.msg[0].lower() + error.msg[1:] if isinstance(error, JSONDecodeError) else str(error)
