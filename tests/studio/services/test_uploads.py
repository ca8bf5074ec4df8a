import os
from pathlib import Path

import pytest

from studio.core.errors import DataError, NotFound
from studio.services import datasets, uploads
from studio.services.context import Studio
from studio.settings import Settings


def test_the_same_files_are_one_upload(studio: Studio, faq: Path) -> None:
    first = uploads.keep(studio, [(faq, "a.csv"), (faq, "b.csv")])
    assert uploads.keep(studio, [(faq, "a.csv"), (faq, "b.csv")]) == first
    assert uploads.keep(studio, [(faq, "a.csv")]) != first
    assert [source.name for source in uploads.sources(studio, first)] == ["a.csv", "b.csv"]


def test_files_of_one_name_are_both_kept(studio: Studio, faq: Path) -> None:
    upload_id = uploads.keep(studio, [(faq, "x/a.csv"), (faq, "y/a.csv")])
    assert [source.name for source in uploads.sources(studio, upload_id)] == ["a 2.csv", "a.csv"]


def test_uploads_that_nobody_used_for_a_week_are_removed(studio: Studio, faq: Path) -> None:
    kept, old = (datasets.keep_upload(studio, faq, name) for name in ("kept.csv", "old.csv"))
    os.utime(studio.home.uploads / old, (0, 0))
    uploads.sweep(studio)
    assert [folder.name for folder in studio.home.uploads.iterdir()] == [kept]


@pytest.mark.parametrize("name", ["../../evil.csv", "a/b.csv", "‮gpj.csv", "x" * 300 + ".csv", "<b>.csv", "...csv"])
def test_a_hostile_file_name_stays_in_its_folder(studio: Studio, faq: Path, name: str) -> None:
    upload_id = datasets.keep_upload(studio, faq, name)
    kept = list((studio.home.uploads / upload_id).iterdir())
    assert len(kept) == 1 and kept[0].parent == studio.home.uploads / upload_id and len(kept[0].name) < 120


@pytest.mark.parametrize("upload_id", ["../datasets", "x" * 32, "", "0" * 32])
def test_only_uploads_are_looked_up(studio: Studio, upload_id: str) -> None:
    with pytest.raises(NotFound, match="Choose the file once more"):
        uploads.sources(studio, upload_id)


def test_too_much_is_refused_before_it_is_copied(tmp_path: Path) -> None:
    studio = Studio.open(Settings(home=tmp_path / "home", max_upload_mib=1, max_archive_files=2))
    big = tmp_path / "big.csv"
    big.write_bytes(b"0" * 700_000)
    with pytest.raises(DataError, match="2 files are 1 MiB; this studio takes files up to 1 MiB"):
        uploads.keep(studio, [(big, "a.csv"), (big, "b.csv")])
    with pytest.raises(DataError, match="3 files are too many"):
        uploads.keep(studio, [(tmp_path / "big.csv", f"{n}.csv") for n in range(1)] + [(Path(os.devnull), "")] * 2)
    assert list(studio.home.uploads.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "question\tanswer\n" + "Hi\tHello\n" * 12,
        "\r\nquestion,answer\r\n" + "Hi,Hello\r\n" * 12,
        '[{"question": "Hi", "answer": "Hello"}' + ', {"question": "Hi", "answer": "Hello"}' * 11 + "]",
        '{"question": "Hi", "answer": "Hello"}\n' * 12,
        'question\tanswer\n"Hi ""you"""\t"one\ntwo"\n' + "Hi\tHello\n" * 11,
    ],
)
def test_what_is_pasted_is_read_like_a_file(studio: Studio, text: str) -> None:
    view = datasets.preview(studio, uploads.keep_pasted(studio, text))
    assert (view.usable_rows, view.mapping.question, view.problem) == (12, "question", "")


def test_nothing_pasted_is_said(studio: Studio) -> None:
    with pytest.raises(DataError, match="Nothing was pasted"):
        uploads.keep_pasted(studio, " \n ")
