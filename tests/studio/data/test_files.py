"""Files as people really have them: each is understood, or refused with a sentence."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import DataError
from studio.data.files import read_file
from studio.data.readers.table import Table


def read(folder: Path, name: str, content: str | bytes, max_rows: int = 1000) -> Table:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_file(path, name, max_rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "question,answer\nHi,Hello\n"),
        ("a.csv", "question;answer\r\nHi;Hello\r\n"),
        ("a.csv", "question\tanswer\nHi\tHello\n"),
        ("a.csv", "\ufeffquestion,answer\nHi,Hello\n"),
        ("a.csv", "question,answer\nHi,Hello\n".encode("utf-16")),
        ("a.jsonl", '{"question": "Hi", "answer": "Hello"}\n\n'),
        ("a.json", '[{"question": "Hi", "answer": "Hello"}]'),
        ("a.json", '{"version": 1, "data": [{"question": "Hi", "answer": "Hello"}]}'),
        ("a.json", '{"question": "Hi", "answer": "Hello"}\n{"question": "Hi", "answer": "Hello"}'),
        ("a.jsonl", '[{"question": "Hi", "answer": "Hello"}]'),
        ("a.csv", '{"question": "Hi", "answer": "Hello"}'),
    ],
)
def test_is_understood(tmp_path: Path, name: str, content: str | bytes) -> None:
    table = read(tmp_path, name, content)
    assert table.columns == ["question", "answer"]
    assert table.rows[0].values == {"question": "Hi", "answer": "Hello"}
    assert not table.broken


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Où est le café près de la forêt ?,Là-bas à côté du théâtre.\n" * 5, "cp1252"),
        ("Grüße aus München?,Schöne Straße.\n" * 5, "cp1252"),
    ],
)
def test_old_encodings_keep_their_accents(tmp_path: Path, text: str, encoding: str) -> None:
    table = read(tmp_path, "a.csv", ("question,answer\n" + text).encode(encoding))
    assert ",".join(table.rows[0].values.values()) == text.splitlines()[0]


def test_quoted_cells_hold_commas_quotes_and_lines(tmp_path: Path) -> None:
    row = read(tmp_path, "a.csv", 'question,answer\n"Hi, ""you""","one\ntwo"\n').rows[0]
    assert row.values == {"question": 'Hi, "you"', "answer": "one\ntwo"}


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "  \n\n", "is empty"),
        ("a.csv", "question,answer\n", "header but no rows"),
        ("a.json", "[]", "no examples"),
        ("a.csv", b"PK\x03\x04rest", "really an Excel"),
        ("a.json", b"\x89PNG\r\n", "really a picture"),
        ("a.csv", b"question,answer\n\x00,\x01\n", "control characters"),
        ("a.json", "question,answer\nHi,Hello", "holds no JSON"),
        ("a.json", '[{"question": "Hi",}]', "not valid JSON at line 1"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", '[{"a": 1, "a": 2}]', "stands twice"),
        ("a.json", '[{"a": NaN}]', "NaN is not a JSON value"),
        ("a.jsonl", "{'question': 'Hi'}\n", "line 1 is not valid JSON"),
        ("a.csv", "a,a\n1,2\n", "two columns called “a”"),
        ("a.csv", 'question,answer\n"Hi,Hello\n', "never closed"),
        ("a.docx", "hello", "cannot read “.docx” files"),
        ("plain", "hello", "files without an ending"),
    ],
)
def test_is_refused_in_words(tmp_path: Path, name: str, content: str | bytes, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        read(tmp_path, name, content)
    assert caught.value.hint


def test_too_many_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 3 rows; this studio takes 2"):
        read(tmp_path, "a.csv", "q,a\n1,2\n3,4\n5,6\n", max_rows=2)


def test_a_ragged_row_is_named_and_never_shifted(tmp_path: Path) -> None:
    table = read(tmp_path, "a.csv", "question,answer\nHi,Hello\nWell, well,Yes\nBye,Ciao\n")
    assert [row.number for row in table.rows] == [2, 4]
    assert list(table.broken.values()) == [[3]]


def test_broken_lines_are_named_and_the_others_read(tmp_path: Path) -> None:
    table = read(tmp_path, "a.jsonl", '{"q": "1"}\n{oops}\n"text"\n{"q": "2"}\n')
    assert [row.number for row in table.rows] == [1, 4]
    assert sorted(n for numbers in table.broken.values() for n in numbers) == [2, 3]


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=200) | st.text(max_size=200), name=st.sampled_from(["a.csv", "a.json", "a.jsonl"]))
def test_whatever_the_bytes_the_end_is_rows_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes | str, name: str
) -> None:
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    try:
        assert read(tmp_path_factory.mktemp("any"), name, data).total > 0
    except DataError as error:
        assert error.message
