"""What the data pages ask, through HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from studio.services import datasets, library
from studio.services.context import Studio


@pytest.fixture
def dataset(site_studio: Studio, tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "shelves.csv"
    lines = [f"Where is item {n}?,On shelf {n * 7}." for n in range(60)]
    path.write_text("question,answer\n" + "\n".join([*lines, "<b>Bold?</b>,a@example.org", "Mute?,"]) + "\n")
    made = datasets.make(site_studio, datasets.keep_upload(site_studio, path, path.name))
    yield f"/api/data/{made.id}"
    library.delete(site_studio, made.id)


def test_the_list_and_a_page_of_it(browser: TestClient, dataset: str) -> None:
    (line,) = browser.get("/api/data").json()["sets"]
    shown = browser.get(dataset).json()
    assert line["name"] == shown["name"] == "shelves"
    assert (shown["rows"], shown["version"], shown["undo"], len(shown["versions"])) == (61, 1, False, 1)
    report = shown["report"]
    assert report["state"] == "ready"
    assert {f["kind"]: f["rows"] for f in report["findings"]} | {"overlap": ""} == {
        "html": "62", "emails": "62", "no_answer": "63", "too_few": "", "overlap": "",
    }  # fmt: skip


def test_rows_come_in_pages_and_changes_make_versions(browser: TestClient, dataset: str) -> None:
    page = browser.get(f"{dataset}/rows?page=1").json()
    assert (page["count"], page["size"], page["rows"][0]["row"]) == (61, 25, 27)
    edit = {"seen": 1, "position": 0, "where": "messages", "index": 1, "text": "On no shelf."}
    assert browser.post(f"{dataset}/edit", json=edit).json() == {"version": 2}
    assert browser.get(f"{dataset}/rows?words=NO SHELF").json()["rows"][0]["parts"][1]["text"] == "On no shelf."
    stale = browser.post(f"{dataset}/edit", json=edit)
    assert stale.status_code == 400 and "changed meanwhile" in stale.json()["message"]
    assert browser.post(f"{dataset}/mark", json={"seen": 2, "positions": [1], "learn": False}).json() == {"version": 3}
    assert browser.post(f"{dataset}/delete-rows", json={"seen": 3, "positions": [2, 3]}).json() == {"version": 4}
    assert browser.post(f"{dataset}/undo", json={"seen": 4}).json() == {"version": 5}
    assert browser.post(f"{dataset}/restore", json={"seen": 5, "version": 1}).json() == {"version": 6}
    shown = browser.get(dataset).json()
    assert [v["rows"] for v in shown["versions"]] == [61, 61, 59, 61, 61, 61]
    assert shown["versions"][0]["same"] == 1 and not shown["undo"]


def test_a_row_that_was_left_out_is_filled_in(browser: TestClient, dataset: str) -> None:
    shown = browser.get(f"{dataset}/left-out").json()
    draft = {"question": "Mute?", "answer": "", "shown": "question: Mute?"}
    assert shown["rows"] == [{"row": 63, "file": "", "reason": "has a question but no answer", "draft": draft}]
    assert browser.get(dataset).json()["report"]["left_out"] == 1
    told = {"seen": 1, "row": 63, "file": "", "question": "Mute?", "answer": "Not any more."}
    assert browser.post(f"{dataset}/fill-in", json=told | {"answer": " "}).status_code == 400
    assert browser.post(f"{dataset}/fill-in", json=told).json() == {"version": 2}
    assert browser.get(f"{dataset}/rows?row=63").json()["rows"][-1]["parts"][1]["text"] == "Not any more."
    report = browser.get(dataset).json()["report"]
    assert report["left_out"] == 0 and "no_answer" not in {finding["kind"] for finding in report["findings"]}
    assert browser.get(f"{dataset}/left-out").json()["count"] == 0


def test_a_repair_is_shown_first_and_then_done(browser: TestClient, dataset: str) -> None:
    browser.get(dataset)
    (sample,) = browser.get(f"{dataset}/repair/html?seen=1").json()["samples"]
    assert sample == {"row": 62, "before": "<b>Bold?</b>", "after": "Bold?"}
    assert browser.post(f"{dataset}/repair/html", json={"seen": 1}).json() == {"version": 2}
    assert "html" not in {f["kind"] for f in browser.get(dataset).json()["report"]["findings"]}
    assert browser.post(f"{dataset}/repair/too_few", json={"seen": 2}).status_code == 400


def test_a_version_is_downloaded(browser: TestClient, dataset: str) -> None:
    number = dataset.rsplit("/", 1)[1]
    response = browser.get(f"/download/data-{number}-v1.jsonl")
    assert response.headers["content-disposition"] == 'attachment; filename="shelves-v1.jsonl"'
    assert len(response.text.splitlines()) == 61
    assert browser.get(f"/download/data-{number}-v9.jsonl").status_code == 404
    assert browser.get("/download/data-x-vx.jsonl").status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", None),
        ("/rows", None),
        ("/edit", {"seen": 1, "position": 0, "where": "messages", "index": 0, "text": "x"}),
        ("/delete-rows", {"seen": 1, "positions": [0]}),
        ("/undo", {"seen": 1}),
        ("/repair/html", {"seen": 1}),
        ("/name", {"name": "x"}),
        ("/delete", {"really": True}),
        ("/left-out", None),
        ("/fill-in", {"seen": 1, "row": 63, "file": "", "question": "x", "answer": "x"}),
        ("/lengths?model=starter", None),
        ("/seen?model=starter&position=0", None),
    ],
)
@pytest.mark.parametrize("number", ["999", "0", "-1", "x", "9" * 30])
def test_a_data_set_that_is_not_there_is_said_in_words(
    browser: TestClient, number: str, path: str, body: dict[str, Any] | None
) -> None:
    url = f"/api/data/{number}{path}"
    response = browser.get(url) if body is None else browser.post(url, json=body)
    assert response.status_code in (400, 404) and "Traceback" not in response.text
    assert response.json()["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/edit", {"seen": "x", "position": 0, "where": "messages", "index": 0, "text": "x"}),
        ("/edit", {"seen": 1, "position": -1, "where": "messages", "index": 0, "text": "x"}),
        ("/edit", {"seen": 1, "position": 2**80, "where": "messages", "index": 0, "text": "x"}),
        ("/edit", {"seen": 1, "position": 0, "where": "__class__", "index": 0, "text": "x"}),
        ("/delete-rows", {"seen": 1, "positions": list(range(2000))}),
        ("/delete-rows", {"seen": 1, "positions": ["1 OR 1=1"]}),
        ("/delete-rows", {"seen": 1, "positions": [2**70]}),
        ("/fill-in", {"seen": 1, "row": 2, "file": "", "question": "x", "answer": "x"}),
        ("/fill-in", {"seen": 1, "row": 63, "file": "../etc", "question": "x", "answer": "x"}),
        ("/fill-in", {"seen": 1, "row": 63, "file": "", "question": "x", "answer": "y" * 2_000_000}),
        ("/fill-in", {"seen": 7, "row": 63, "file": "", "question": "x", "answer": "x"}),
        ("/mark", {"seen": 1, "positions": [0], "learn": "maybe"}),
        ("/restore", {"seen": 1, "version": 77}),
        ("/undo", {}),
    ],
)
def test_nonsense_is_refused_and_changes_nothing(
    browser: TestClient, dataset: str, path: str, body: dict[str, Any]
) -> None:
    response = browser.post(dataset + path, json=body)
    assert 400 <= response.status_code < 500 and "Traceback" not in response.text
    assert browser.get(dataset).json()["version"] == 1


def test_a_name_is_changed_and_nothing_deleted_by_half(browser: TestClient, dataset: str) -> None:
    assert browser.post(f"{dataset}/name", json={"name": "<b>Mine</b>"}).status_code == 200
    assert browser.get(dataset).json()["name"] == "<b>Mine</b>"
    assert browser.post(f"{dataset}/name", json={"name": " "}).status_code == 400
    assert browser.post(f"{dataset}/delete", json={"really": False}).status_code == 200
    assert browser.get(dataset).status_code == 200
