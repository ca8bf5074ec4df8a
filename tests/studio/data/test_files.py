"""Files as people really have them: each is understood, or refused with a sentence."""

import io
from zipfile import ZipFile

import pytest

from studio.core.errors import DataError
from studio.core.mapping import Reading
from studio.data.limits import Limits
from studio.data.repair import Mendable
from tests.studio.data.conftest import Read, broken_in, rows_in

HI = {"question": "Hi", "answer": "Hello"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "question,answer\nHi,Hello\n"),
        ("a.csv", "question;answer\r\nHi;Hello\r\n"),
        ("a.csv", "question\tanswer\nHi\tHello\n"),
        ("a.csv", "question|answer\nHi|Hello\n"),
        ("a.csv", "sep=;\nquestion;answer\nHi;Hello\n"),
        ("a.csv", "\ufeffquestion,answer\nHi,Hello\n"),
        ("a.csv", "question,answer\nHi,Hello\n".encode("utf-16")),
        ("a.tsv", "question\tanswer\nHi\tHello\n"),
        ("a.txt", "question\tanswer\nHi\tHello\n"),
        ("a.txt", '{"question": "Hi", "answer": "Hello"}\n'),
        ("a.jsonl", '{"question": "Hi", "answer": "Hello"}\n\n'),
        ("a.ndjson", '\ufeff{"question": "Hi", "answer": "Hello"}'),
        ("a.json", '[{"question": "Hi", "answer": "Hello"}]'),
        ("a.json", '{"version": 1, "data": [{"question": "Hi", "answer": "Hello"}]}'),
        ("a.json", '{"question": "Hi", "answer": "Hello"}\n{"question": "Hi", "answer": "Hello"}'),
        ("a.json", '{"train": [{"question": "Hi", "answer": "Hello"}], "test": [{"question": "x", "answer": "y"}]}'),
        ("a.json", '{"question": ["Hi"], "answer": ["Hello"]}'),
        ("a.json", '{"question": {"0": "Hi"}, "answer": {"0": "Hello"}}'),
        ("a.json", '{"columns": ["question", "answer"], "data": [["Hi", "Hello"]]}'),
        ("a.json", '{"question": "Hi", "answer": "Hello"}'),
        ("a.jsonl", '{\n  "question": "Hi",\n  "answer": "Hello"\n}\n{\n  "question": "Hi",\n  "answer": "Hello"\n}'),
        ("a.jsonl", '[{"question": "Hi", "answer": "Hello"}]'),
        ("a.csv", '{"question": "Hi", "answer": "Hello"}'),
        ("a.yaml", "- question: Hi\n  answer: Hello\n"),
        ("a.yml", "version: 2\nitems:\n- {question: Hi, answer: Hello}\n"),
    ],
)
def test_is_understood(read: Read, name: str, content: str | bytes) -> None:
    table = read(name, content)
    assert table.columns == ["question", "answer"]
    assert rows_in(table)[0].values == HI
    assert not broken_in(table)


@pytest.mark.parametrize(
    "text",
    ["Où est le café près de la forêt ?,Là-bas à côté du théâtre.\n" * 5, "Grüße aus München?,Schöne Straße.\n" * 5],
)
def test_old_encodings_keep_their_accents(read: Read, text: str) -> None:
    table = read("a.csv", ("question,answer\n" + text).encode("cp1252"))
    assert ",".join(rows_in(table)[0].values.values()) == text.splitlines()[0]
    assert table.encoding == "cp1252" and "accents" in table.notes[0]


def test_an_accent_after_a_megabyte_is_seen(read: Read) -> None:
    table = read("a.csv", ("question,answer\n" + "Hi,Hello\n" * 200_000 + "Où?,Là-bas.\n").encode("cp1252"))
    assert rows_in(table)[-1].values == {"question": "Où?", "answer": "Là-bas."}


def test_quoted_cells_hold_commas_quotes_and_lines(read: Read) -> None:
    rows = rows_in(read("a.csv", 'question,answer\n"Hi, ""you""","one\ntwo"\n\nBye,Ciao\n'))
    assert rows[0].values == {"question": 'Hi, "you"', "answer": "one\ntwo"}
    assert [row.number for row in rows] == [2, 5]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "  \n\n", "is empty"),
        ("a.csv", "question,answer\n", "header but no rows"),
        ("a.json", "[]", "no examples"),
        ("a.yaml", "[]", "no examples"),
        ("a.yaml", "just words", "no list of examples"),
        ("a.csv", b"PK\x03\x04rest", "is damaged"),
        ("a.xlsx", b"question,answer", "not really a workbook"),
        ("a.parquet", b"PAR1rest", "damaged"),
        ("a.arrow", b"ARROW1rest", "damaged"),
        ("a.pdf", b"%PDF-1.7 rest", "damaged"),
        ("a.json", b"\x89PNG\r\n", "really a picture"),
        ("a.csv", b"question,answer\n\x00,\x01\n", "control characters"),
        ("a.json", "question,answer\nHi,Hello", "holds no JSON"),
        ("a.json", '[{"question": "Hi",}]', "not valid JSON at line 1"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", '[{"a": 1, "a": 2}]', "stands twice"),
        ("a.json", '[{"a": NaN}]', "NaN is not a JSON value"),
        ("a.json", '[{"a": 1e999}]', "too large"),
        ("a.json", '[{"a": ' + "1" * 5000 + "}]", "too many digits"),
        ("a.yaml", "- {a: 1, a: 2}", "stands twice"),
        ("a.yaml", "a: &a [" + "x," * 9 + "]\nb: &b [" + "*a," * 99 + "]\nc: &c [" + "*b," * 99 + "]\nd: ["
         + "*c," * 99 + "]", "multiply without end"),
        ("a.yaml", "!!python/object/apply:os.system ['true']", "more than plain values"),
        ("a.yaml", "- !!python/name:os.system a: 1", "line 1 uses “tag:yaml.org,2002:python/name:os.system”"),
        ("a.yaml", "- &a {q: 1}\n- <<: *a\n  r: 2", "line 2 uses “tag:yaml.org,2002:merge”"),
        ("a.yaml", "- a: [1\n- b", "not valid YAML at line"),
        ("a.csv", "a,a\n1,2\n", "two columns called “a”"),
        ("a.csv", 'question,answer\nA,B\n"Hi,Hello\n', "begins on line 3 never ends"),
        ("a.csv", 'question,answer\n"Hi"x,Hello\n', "a quote stands in the middle"),
        ("a.docx", "hello", "not really a Word document"),
        ("a.html", "<p>hello", "cannot read “.html” files"),
        ("plain", "hello", "files without an ending"),
    ],
)  # fmt: skip
def test_is_refused_in_words(read: Read, name: str, content: str | bytes, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        rows_in(read(name, content))
    assert caught.value.hint


def test_too_much_is_refused(read: Read) -> None:
    with pytest.raises(DataError, match="more than 2 rows"):
        rows_in(read("a.csv", "q,a\n1,2\n3,4\n5,6\n", limits=Limits(rows=2)))
    with pytest.raises(DataError, match="must be read in one piece"):
        read("a.json", "[" + " " * 2**21 + "]", limits=Limits(whole_mib=1))


def test_a_ragged_row_is_named_and_never_shifted(read: Read) -> None:
    table = read("a.csv", "question,answer\nHi,Hello\nWell, well,Yes\nBye,Ciao\n")
    assert [row.number for row in rows_in(table)] == [2, 4]
    assert [(row.number, row.reason[:40]) for row in broken_in(table)] == [
        (3, "has 3 cells where the header has 2. Is a")
    ]


def test_broken_lines_are_named_and_the_others_read(read: Read) -> None:
    table = read("a.jsonl", '{"q": "1"}\n{oops}\n5\n{"q": "2"}\n{"q": 1, "q": 2}\n{"q": NaN}\n')
    assert [row.number for row in rows_in(table)] == [1, 4]
    assert [row.number for row in broken_in(table)] == [2, 3, 5, 6]


def test_lines_that_are_not_quite_json_are_mended_if_asked(read: Read) -> None:
    content = "{'question': 'Hi', 'answer': 'Hello',}\n{“question”: “Hi”, “answer”: “Hello”}\n"
    assert [row.raw for row in broken_in(read("a.jsonl", content))] == content.splitlines()
    assert [row.values for row in rows_in(read("a.jsonl", content, reading=Reading(repair=True)))] == [HI, HI]


def test_a_whole_file_that_is_not_quite_json_is_mended_if_asked(read: Read) -> None:
    content = '[\n  {"question": "Hi", "answer": "Hello"},\n]'
    with pytest.raises(Mendable) as caught:
        read("a.json", content)
    mending = caught.value.mending
    assert mending and (mending.before, mending.after) == ("]", '{"question": "Hi", "answer": "Hello"}')
    assert rows_in(read("a.json", content, reading=Reading(repair=True)))[0].values == HI


@pytest.mark.parametrize(
    ("content", "headed"),
    [
        ("question,answer\nHi,Hello\n", True),
        ("How do I pay?,By card or in cash.\nWhere?,At the desk.\n", False),
        ("praise,I liked it a lot\nblame,I did not\npraise,Fine with me\npraise,Yes\n", False),
        ("Timestamp,What is your question?\n1,Why?\n", True),
        ("ours,theirs\nHi,Hello\n", True),
        ("1,Hi\n2,Hello\n", False),
    ],
)
def test_a_table_without_names_is_noticed(read: Read, content: str, headed: bool) -> None:
    table = read("a.csv", content)
    assert table.headed is headed
    assert len(rows_in(table)) == content.count("\n") - headed
    assert (table.columns == ["column 1", "column 2"]) is not headed
    assert len(rows_in(read("a.csv", content, reading=Reading(header=not headed)))) == content.count("\n") - 1 + headed


def test_files_with_the_same_columns_are_one_table(read: Read) -> None:
    table = read("a.csv", "question,answer\nHi,Hello\n", "b.jsonl", '{"answer": "Ciao", "question": "Bye"}\n{}}')
    assert [(row.file, row.number, row.values["answer"]) for row in rows_in(table)] == [
        ("a.csv", 2, "Hello"), ("b.jsonl", 1, "Ciao"),
    ]  # fmt: skip
    assert [(row.file, row.number) for row in broken_in(table)] == [("b.jsonl", 2)]


def test_files_with_other_columns_are_told_apart(read: Read) -> None:
    with pytest.raises(DataError, match=r"different columns: only b\.csv has “id”"):
        read("a.csv", "question,answer\nHi,Hello\n", "b.csv", "id,price\n1,2\n")


def test_documents_beside_tables_are_left_out(read: Read) -> None:
    table = read("a.csv", "question,answer\nHi,Hello\n", "README.md", "# Read me")
    assert len(rows_in(table)) == 1 and "README.md" in table.notes[0]


def test_what_a_file_is_called_does_not_matter(read: Read) -> None:
    file = io.BytesIO()
    with ZipFile(file, "w") as archive:
        archive.writestr("data.csv", "question,answer\nHi,Hello\n")
    assert rows_in(read("data.csv", file.getvalue()))[0].values == HI


def test_the_share_read_grows_to_the_end(read: Read) -> None:
    shares: list[float] = []
    for name, content in (("a.csv", "q,a\n" + "Hi,Hello\n" * 9000), ("a.jsonl", '{"q": "Hi"}\n' * 9000)):
        shares.clear()
        assert sum(1 for _ in read(name, content).read(shares.append)) == 9000
        assert len(shares) > 3 and shares == sorted(shares) and 0 < shares[0] <= shares[-1] <= 1
