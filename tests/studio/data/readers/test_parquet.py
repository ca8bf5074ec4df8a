import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from studio.core.errors import DataError
from tests.studio.data.conftest import Read, rows_in

ROWS: list[dict[str, Any]] = [
    {"prompt": "Hi", "messages": [{"role": "user", "content": "a"}], "score": 0.5},
    {"prompt": None, "messages": None, "score": float("nan")},
]


def written(kind: str) -> bytes:
    table, file = pa.Table.from_pylist(ROWS), io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, file)
    elif kind == "feather":
        feather.write_feather(table, file)
    else:
        with pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "name"),
    [("parquet", "a.parquet"), ("feather", "a.feather"), ("feather", "a.arrow"), ("stream", "a.arrow")],
)
def test_tables_are_read_with_what_is_nested_in_them(read: Read, kind: str, name: str) -> None:
    table = read(name, written(kind))
    assert table.columns == ["prompt", "messages", "score"]
    assert [(row.number, row.values) for row in rows_in(table)] == [
        (1, ROWS[0]), (2, {"prompt": None, "messages": None, "score": None}),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["parquet", "feather", "stream"])
def test_a_damaged_table_is_refused_in_words(read: Read, kind: str) -> None:
    data = written(kind)
    name = "a.parquet" if kind == "parquet" else "a.arrow"
    for cut in (20, len(data) // 2, len(data) - 20):
        with pytest.raises(DataError, match=r"damaged|empty"):
            rows_in(read(name, data[:cut]))


def test_two_columns_of_one_name_are_refused(read: Read) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["x", "x"]), file)
    with pytest.raises(DataError, match="two columns called “x”"):
        read("a.parquet", file.getvalue())
