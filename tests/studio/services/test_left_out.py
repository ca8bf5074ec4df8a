"""Rows that became no example, completed by hand."""

from pathlib import Path

import pytest

from studio.core.errors import DataError
from studio.core.mapping import Mapping
from studio.core.recipe import Recipe
from studio.services import datasets, examples, hold_back, left_out, report, uploads
from studio.services.context import Studio
from studio.store import datasets as rows


def made(studio: Studio, folder: Path, mapping: Mapping | None = None, **files: str) -> int:
    paths = []
    for name, content in files.items():
        paths.append((folder / f"{name}.csv", f"{name}.csv"))
        paths[-1][0].write_text("question,answer,shop\n" + content, encoding="utf-8")
    return datasets.make(studio, uploads.keep(studio, paths), mapping).id


GOOD = "".join(f"Where is {n}?,On shelf {n}.,east\n" for n in range(12))  # on lines 2 to 13


def test_left_out_rows_are_shown_with_what_stands_in_the_file(studio: Studio, tmp_path: Path) -> None:
    number = made(studio, tmp_path, a=GOOD + "Mute?,,west\n,,\nOne, two?,So.,west\n")
    page = left_out.page(studio, number)
    assert [(r.row, r.reason.split(".")[0]) for r in page.rows] == [
        (14, "has a question but no answer"), (16, "has 4 cells where the header has 3"),
    ]  # fmt: skip
    assert page.rows[0].draft.question == "Mute?" and page.rows[1].draft.shown == "One\n two?\nSo.\nwest"
    assert page.completable and not page.more


def test_a_completed_row_is_an_example_until_it_is_undone_or_deleted(studio: Studio, tmp_path: Path) -> None:
    number = made(studio, tmp_path, a=GOOD + "Mute?,,west\nOne, two?,So.,west\n")
    version = left_out.complete(studio, number, 1, "", 14, "Mute?", "No.")
    assert (version.number, version.rows, version.change) == (2, 13, "Row 14 filled in")
    assert [f.kind for f in report.report(studio, number).left_out] == ["ragged"]
    assert [f.kind for f in report.report(studio, number, 1).left_out] == ["no_answer", "ragged"]
    with pytest.raises(DataError, match="Row 14 is not left out"):
        left_out.complete(studio, number, 2, "", 14, "Mute?", "No.")
    (example,) = [e for e in examples.page(studio, number, row=14).examples if e.conversation.row == 14]
    examples.delete(studio, number, 2, [example.position])
    assert [r.row for r in left_out.page(studio, number).rows] == [14, 15]
    left_out.complete(studio, number, 3, "", 14, "Mute?", "Never.")
    examples.undo(studio, number, 4)
    assert [r.row for r in left_out.page(studio, number).rows] == [14, 15]


def test_of_several_files_the_right_row_is_completed(studio: Studio, tmp_path: Path) -> None:
    number = made(studio, tmp_path, a=GOOD + "Mute?,,west\n", b=GOOD.replace("Where", "When") + "Dumb?,,north\n")
    left_out.complete(studio, number, 1, "b.csv", 14, "Dumb?", "No.")
    (row,) = left_out.page(studio, number).rows
    assert (row.file, row.row, row.draft.question) == ("a.csv", 14, "Mute?")


def test_a_completed_row_belongs_to_the_group_that_its_file_names(studio: Studio, tmp_path: Path) -> None:
    number = made(studio, tmp_path, a=GOOD + "Mute?,,west\nDumb?,,north\n")
    for seen, row in ((1, 14), (2, 15)):  # before the groups are looked up, and after
        left_out.complete(studio, number, seen, "", row, "Mute?", f"No {row}.")
        hold_back.settled(studio, Recipe(hold_back="group", hold_back_by="shop"), number)
    with rows.opened(studio.home, number) as book:
        assert [group["shop"] for group in book.groups(3)][-2:] == ["west", "north"]


def test_what_cannot_be_completed_here_is_said(studio: Studio, tmp_path: Path) -> None:
    number = made(studio, tmp_path, Mapping(shape="text", text="answer"), a=GOOD + "Mute?,,west\n")
    assert not left_out.page(studio, number).completable
    with pytest.raises(DataError, match="Correct it in the file"):
        left_out.complete(studio, number, 1, "", 14, "Mute?", "No.")
    with pytest.raises(DataError, match="Row 99 is not left out"):
        left_out.complete(studio, number, 1, "", 99, "Mute?", "No.")
