"""The whole site through HTTP, without a browser: its addresses, its errors, and what must not get through."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from studio.core.errors import DatabaseBusy
from studio.core.run_state import RunStatus
from studio.services import datasets, runs
from studio.services.context import Studio
from studio.store import runs as rows
from studio.store.db import Database
from studio.store.tables import Run
from studio.ui.app import QUEUE_POLL_SECONDS
from studio.ui.received import received_folder


@pytest.fixture
def run(site_studio: Studio, faq: Path) -> Iterator[Run]:
    upload = datasets.keep_upload(site_studio, faq, "faq.csv")
    made = runs.start(site_studio, upload, None, "starter", {}, name="<b>Shelves</b>")
    yield made
    rows.move(site_studio.db, made.id, RunStatus.DISCARDED)


def gradio_pages(site: FastAPI) -> gr.Blocks:
    mounted = next(route for route in site.routes if getattr(route, "path", None) == "")
    return mounted.app.get_blocks()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "path", ["/", "/run?id=1", "/run?id=nonsense", "/models", "/chat", "/chat?run=999", "/storage", "/health"]
)
def test_every_page_answers(browser: TestClient, path: str) -> None:
    assert browser.get(path).status_code == 200


def test_the_queue_rests_when_idle(site: FastAPI) -> None:
    """Private in Gradio: when this breaks, look how its queue waits now."""
    assert gradio_pages(site)._queue.sleep_when_free == QUEUE_POLL_SECONDS


def test_paths_that_a_client_names_are_refused(site: FastAPI, browser: TestClient, site_studio: Studio) -> None:
    pages = gradio_pages(site)
    assert pages.has_launched
    takes_file = next(i for i, fn in pages.fns.items() if fn.name == "_take_files")
    before = list(site_studio.home.uploads.iterdir())
    for path in ("/etc/passwd", str(site_studio.home.database), f"{received_folder(site_studio)}/../studio.db"):
        size = Path(path).stat().st_size
        forged = {"path": path, "orig_name": "x.csv", "meta": {"_type": "gradio.FileData"}}
        body = {"data": [{}, [forged]], "fn_index": takes_file, "session_hash": "test"}
        response = browser.post("/gradio_api/run/predict", json=body)
        assert response.status_code != 200
        assert "Traceback" not in response.text
        assert Path(path).stat().st_size == size
        assert list(site_studio.home.uploads.iterdir()) == before
    assert browser.get("/gradio_api/file=/etc/passwd").status_code == 404


def test_a_run_is_told_once(browser: TestClient, run: Run) -> None:
    first = browser.get(f"/api/runs/{run.id}").json()
    assert first["headline"] == "Waiting: it is next."
    assert first["name"] == "<b>Shelves</b>"
    again = browser.get(f"/api/runs/{run.id}", params={"known": first["revision"]}).json()
    assert "chart" in first
    assert "chart" not in again


def test_a_waiting_run_can_be_stopped(browser: TestClient, run: Run, site_studio: Studio) -> None:
    assert browser.post(f"/api/runs/{run.id}/stop", json={"discard": True}).json()["status"] == RunStatus.DISCARDED
    refused = browser.post(f"/api/runs/{run.id}/stop", json={"discard": True})
    assert refused.status_code == 400
    assert "already ended" in refused.json()["message"]


@pytest.mark.parametrize("run_id", ["777", "-1", "0x1", "%2e%2e", "9" * 30, "<script>"])
def test_an_unknown_run_is_a_sentence(browser: TestClient, run_id: str) -> None:
    response = browser.get(f"/api/runs/{run_id}")
    assert response.status_code == 404
    assert "There is no run" in response.json()["message"]


def test_a_run_without_an_adapter_has_no_zip(browser: TestClient, run: Run) -> None:
    for run_id in (str(run.id), "77"):
        response = browser.get(f"/download/run-{run_id}.zip")
        assert response.status_code == 404
        assert response.headers["content-type"].startswith("text/plain")


def test_my_models_lists_what_waits_and_what_failed(browser: TestClient, run: Run, site_studio: Studio) -> None:
    listed = browser.get("/api/runs").json()
    assert listed["active"]
    assert listed["others"][0]["name"] == "<b>Shelves</b>"
    rows.move(site_studio.db, run.id, RunStatus.FAILED, error_message="No luck.", error_hint="Try again.")
    assert not browser.get("/api/runs").json()["active"]
    assert browser.get(f"/api/runs/{run.id}").json()["error"]["hint"] == "Try again."


def test_assets_are_asked_about_each_time(browser: TestClient) -> None:
    assert browser.get("/studio-assets/studio.js").headers["cache-control"] == "no-cache"
    assert browser.get("/studio-assets/../pyproject.toml").status_code == 404


def test_a_forged_stop_from_another_site_is_refused(browser: TestClient, run: Run) -> None:
    headers: dict[str, Any] = {"origin": "http://evil.example"}
    assert browser.post(f"/api/runs/{run.id}/stop", json={"discard": True}, headers=headers).status_code == 403
    assert browser.get(f"/api/runs/{run.id}").json()["status"] == RunStatus.QUEUED


def test_a_locked_database_is_said_in_words_and_may_be_tried_again(
    browser: TestClient, run: Run, site_studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(site_studio.home.database)) as other, monkeypatch.context() as impatient:
        impatient.setattr(site_studio.db, "_engine", Database(site_studio.home.database, wait_seconds=0.1)._engine)
        other.execute("BEGIN IMMEDIATE")
        refused = browser.post(f"/api/runs/{run.id}/stop", json={"discard": True})
        assert refused.status_code == 503
        assert refused.json() == {"message": DatabaseBusy().message, "hint": DatabaseBusy().hint}
    assert browser.get(f"/api/runs/{run.id}").json()["status"] == RunStatus.QUEUED


def test_things_are_deleted_by_kind_and_id_alone(browser: TestClient, run: Run) -> None:
    listed = {thing["id"]: thing for thing in browser.get("/api/storage").json()["groups"][0]["things"]}
    shown = listed[str(run.id)]
    assert shown["name"] == f"<b>Shelves</b> (run {run.id})" and "ask" not in shown
    refused = browser.post("/api/storage/delete", json={"kind": "run", "id": str(run.id)})
    assert refused.status_code == 400 and "cannot be deleted" in refused.json()["message"]
    for kind, thing in (("upload", "../studio.db"), ("backup", ".."), ("model", "/etc"), ("dataset", "x")):
        assert browser.post("/api/storage/delete", json={"kind": kind, "id": thing}).status_code == 404
    assert browser.post("/api/storage/delete", json={"kind": "database", "id": "1"}).status_code == 422
