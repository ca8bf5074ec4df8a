"""Parquet, Arrow and Feather: tables as data tools write them, read a block at a time."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from studio.core.errors import DataError
from studio.core.mapping import Reading
from studio.data.readers.table import TICK_ROWS, Broken, Row, Source, Table, Tick

_LARGEST_BLOCK_BYTES = 2**30


def read_parquet(source: Source, reading: Reading) -> Table:
    with _in_words(source):
        file = pq.ParquetFile(source.path)
        columns, total = _unique(file.schema_arrow.names, source), max(1, file.metadata.num_rows)
        for group in range(file.metadata.num_row_groups):
            if file.metadata.row_group(group).total_byte_size > _LARGEST_BLOCK_BYTES:
                raise DataError(
                    f"{source.name} is written in blocks of more than {_LARGEST_BLOCK_BYTES >> 20} MiB.",
                    "Write it in smaller row groups.",
                )

    def read(tick: Tick) -> Iterator[Row | Broken]:
        with _in_words(source), pq.ParquetFile(source.path) as file:
            yield from _rows(file.iter_batches(batch_size=TICK_ROWS), total, tick)

    return Table(columns, read, "")


def read_arrow(source: Source, reading: Reading) -> Table:
    with _in_words(source), _batches(source) as (schema, _):
        columns = _unique(schema.names, source)

    def read(tick: Tick) -> Iterator[Row | Broken]:
        with _in_words(source), _batches(source) as (_, batches):
            yield from _rows(batches, 0, tick)

    return Table(columns, read, "")


@contextmanager
def _batches(source: Source) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """Of an Arrow file, or of the stream of batches that the `datasets` library keeps."""
    with source.path.open("rb") as start:
        whole = start.read(6) == b"ARROW1"
    with pa.memory_map(str(source.path)) as file:
        if whole:
            reader = pa.ipc.open_file(file)
            yield reader.schema, (reader.get_batch(n) for n in range(reader.num_record_batches))
        else:
            stream = pa.ipc.open_stream(file)
            yield stream.schema, iter(stream)


@contextmanager
def _in_words(source: Source) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise DataError(
            f"{source.name} is damaged, or not really a table of this kind.", "Export it again and choose the new file."
        ) from None


def _unique(names: list[str], source: Source) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{source.name} has two columns called “{twice[0]}”.",
            "Rename one of them, so that each column has its own name.",
        )
    return names


def _rows(batches: Iterator[pa.RecordBatch], total: int, tick: Tick) -> Iterator[Row | Broken]:
    number = 0
    for batch in batches:
        batch.validate(full=True)  # Arrow trusts what a file says of itself, and reads outside it if that is wrong
        for place in range(0, batch.num_rows, TICK_ROWS):
            for values in batch.slice(place, TICK_ROWS).to_pylist():
                number += 1
                yield Row(number, {name: _plain(value) for name, value in values.items()})
            if total:
                tick(min(1.0, number / total))


def _plain(value: Any) -> Any:
    """The value as JSON would have it; a NaN is an empty cell, which is what pandas means by it."""
    match value:
        case str() | bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
        case bytes():
            return value.decode("utf-8", "replace")
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta() | Decimal():
            return str(value)
    return str(value)
