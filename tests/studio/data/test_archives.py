"""Archives: what is safe is unpacked, everything else is refused before a byte is written."""

import gzip
import io
import stat
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest

from studio.core.errors import DataError
from studio.data.limits import Limits
from tests.studio.data.conftest import Read, rows_in

CSV = "question,answer\nHi,Hello\n"


def packed(*entries: tuple[str | ZipInfo, str | bytes]) -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


def link() -> bytes:
    entry = ZipInfo("a.csv")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return packed((entry, "/etc/passwd"))


def locked() -> bytes:
    data = bytearray(packed(("a.csv", CSV)))
    for place in (6, data.index(b"PK\x01\x02") + 8):
        data[place] |= 1
    return bytes(data)


def overstated() -> bytes:
    """Twice the same packed bytes, as bombs of overlapping files have them."""
    data = packed(*((f"{n}.csv", CSV + "x" * 1000) for n in range(2)))
    size = data.index(b"PK\x01\x02")
    place = data.index(b"PK\x01\x02") + 20
    return data[:place] + (size * 50).to_bytes(4, "little") + data[place + 4 :]


def test_files_of_the_same_columns_in_an_archive_are_one_table(read: Read) -> None:
    data = packed(
        ("set/train.csv", CSV), ("set/more/b.csv", "question,answer\nBye,Ciao\n"), ("set/LICENSE", "free"),
        ("__MACOSX/set/._train.csv", "junk"), ("set/.DS_Store", "junk"),
    )  # fmt: skip
    table = read("set.zip", data)
    assert [(row.file, row.values["answer"]) for row in rows_in(table)] == [
        ("train.csv", "Hello"), ("more/b.csv", "Ciao"),
    ]  # fmt: skip
    assert "LICENSE" in table.notes[0]


def test_a_packed_file_is_read(read: Read) -> None:
    assert rows_in(read("a.csv.gz", gzip.compress(CSV.encode())))[0].values["answer"] == "Hello"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: packed(("../a.csv", CSV)), "outside its folder"),
        (lambda: packed(("/etc/a.csv", CSV)), "outside its folder"),
        (lambda: packed(("C:\\a.csv", CSV)), "outside its folder"),
        (lambda: packed(("x\\..\\..\\a.csv", CSV)), "outside its folder"),
        (link, "holds a link"),
        (locked, "password"),
        (overstated, "only a trap"),
        (lambda: packed(("a.csv", CSV), ("A.csv", CSV)), "two files called"),
        (lambda: packed(("a.zip", packed(("b.csv", CSV)))), "another archive"),
        (lambda: packed(("a.csv", b"0" * 60_000_000)), "only a trap"),
        (lambda: packed(("a.csv", b"0" * 6_000_000)), "unpacked; this studio unpacks 5 MiB"),
        (lambda: packed(*((f"{n}.csv", CSV) for n in range(7))), "holds 7 files; this studio unpacks 6"),
        (lambda: packed(("readme.exe", "MZ")), "no file the studio can read"),
        (lambda: packed(("__MACOSX/a.csv", CSV)), "holds no files"),
        (lambda: packed(("a.csv", CSV))[:-10], "damaged"),
        (lambda: packed(("a.csv", CSV)).replace(b"\x03\x04", b"\x03\x05", 1), "damaged"),
    ],
)
def test_an_unsafe_archive_leaves_nothing_behind(
    read: Read, tmp_path: Path, make: Callable[[], bytes], sentence: str
) -> None:
    limits = Limits(archive_mib=100 if "trap" in sentence else 5, archive_files=6)
    with pytest.raises(DataError, match=sentence):
        read("a.zip", make(), limits=limits)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["0-a.zip"]


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.csv.gz", gzip.compress(b"0" * 6_000_000), "more than 5 MiB"),
        ("a.tar.gz", gzip.compress(b"tar"), "archive in an archive"),
        ("a.csv.gz", gzip.compress(CSV.encode())[:-9], "damaged"),
    ],
    ids=["bomb", "nested", "cut"],  # not of the bytes, which hold the time
)
def test_an_unsafe_packed_file_leaves_nothing_behind(
    read: Read, tmp_path: Path, name: str, data: bytes, sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        read(name, data, limits=Limits(archive_mib=5))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"0-{name}"]


def test_a_size_that_is_not_told_is_counted(read: Read) -> None:
    """The archive says 10 bytes and holds six million: it is stopped at what it said."""
    data = bytearray(packed(("a.csv", b"0" * 6_000_000)))
    place = data.index(b"PK\x01\x02") + 24
    data[place : place + 4] = (10).to_bytes(4, "little")
    with pytest.raises(DataError):
        read("a.zip", bytes(data), limits=Limits(archive_mib=5))
