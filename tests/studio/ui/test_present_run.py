"""What the run page is told: figures of the end, answers by step, expectations, and the file with all numbers."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from studio.core.run_state import RunStatus
from studio.services import datasets
from studio.services import runs as run_services
from studio.services.context import Studio
from studio.store import metrics, runs
from studio.ui.present_run import run_page

SUMMARY = {
    "peak_memory_gib": 3.05,
    "kept_step": 120,
    "ended_early": "Training stopped at step 180 because it had not improved for 1 check.",
    "validation_loss": {"base": 4.0, "best": 2.0, "last": 2.5, "best_step": 120},
}
FORECAST = {"memory_gib": {"total": 3.24, "weights": 0.1}, "minutes": 12.4, "minutes_low": 9.0, "minutes_high": 16.2}


@pytest.fixture
def claim(studio: Studio, faq: Path, pretend_starter: None) -> runs.Claim:
    upload = datasets.keep_upload(studio, faq, "faq.csv")
    claim = runs.claim(studio.db, run_services.start(studio, upload, None, "starter", {}, name="Shelves").id)
    assert claim
    return claim


def write(studio: Studio, claim: runs.Claim, *checks: float, **columns: Any) -> None:
    """Checks every 60 steps."""
    rows = [{"step": 60 * at, "validation_loss": value} for at, value in enumerate(checks)]
    with studio.db.writing() as session:
        metrics.write(session, claim.run_id, rows)
        if columns:
            runs.report(session, claim, **columns)


def end(studio: Studio, claim: runs.Claim, status: RunStatus = RunStatus.SUCCEEDED) -> None:
    adapter = {"path": "a", "sha256": "a" * 64, "size_bytes": 1, "base_id": "starter", "base_fingerprint": "b"}
    assert runs.finish(studio.db, claim, status, SUMMARY, adapter)


def test_the_best_check_so_far_is_told_while_it_runs_and_the_kept_one_at_the_end(
    studio: Studio, claim: runs.Claim
) -> None:
    write(studio, claim, 4.0, 3.0)
    page = run_page(studio, claim.run_id)
    assert (page["best"], page["kept_step"], page["kept"]) == ({"step": 60, "value": 3.0}, None, "")
    write(studio, claim, 4.0, 3.0, 2.0, 2.5)
    end(studio, claim)
    page = run_page(studio, claim.run_id)
    assert (page["best"], page["kept_step"]) == ({"step": 120, "value": 2.0}, 120)
    assert page["kept"] == f"The adapter is from step 120, the best of 3 checks. {SUMMARY['ended_early']}"


def test_a_run_that_goes_on_forgets_its_earlier_end(studio: Studio, claim: runs.Claim) -> None:
    write(studio, claim, 4.0, 3.0, 2.0, 2.5)
    end(studio, claim, RunStatus.STOPPED)
    assert runs.resume(studio.db, claim.run_id)
    write(studio, claim, 4.0, 3.0, 2.0, 2.5, 1.5)
    page = run_page(studio, claim.run_id)
    assert (page["best"], page["kept"]) == ({"step": 240, "value": 1.5}, "")


def test_answers_are_told_by_step(studio: Studio, claim: runs.Claim) -> None:
    asked = [(0, 0, "?"), (0, 1, "??"), (60, 0, "One."), (120, 0, "Two."), (120, 1, "Three.")]
    rows = [{"step": step, "position": at, "question": f"Q{at}", "expected": "E", "answer": a} for step, at, a in asked]
    with studio.db.writing() as session:
        metrics.write_samples(session, claim.run_id, rows)
    told = run_page(studio, claim.run_id)["samples"]
    assert told["steps"] == [0, 60, 120]
    assert told["questions"] == [
        {"question": "Q0", "expected": "E", "answers": {0: "?", 60: "One.", 120: "Two."}},
        {"question": "Q1", "expected": "E", "answers": {0: "??", 120: "Three."}},
    ]


def test_what_was_expected_stands_beside_what_it_was(studio: Studio, claim: runs.Claim) -> None:
    assert run_page(studio, claim.run_id)["forecast"] == []
    data = run_services.view(studio, claim.run_id).run.data
    spent = {"loading": 10.0, "training": 500.0}
    write(studio, claim, 4.0, data=data | {"forecast": FORECAST}, phase_seconds=spent)
    expected = "12 min (9.0 to 16 min)"
    assert run_page(studio, claim.run_id)["forecast"] == [["Time", expected, ""], ["Memory", "3.2 GiB", ""]]
    end(studio, claim)
    assert run_page(studio, claim.run_id)["forecast"] == [
        ["Time", expected, "8.5 min"],
        ["Memory", "3.2 GiB", "3.0 GiB"],
    ]


def test_hours_are_said_as_hours(studio: Studio, claim: runs.Claim) -> None:
    data = run_services.view(studio, claim.run_id).run.data
    forecast = FORECAST | {"minutes": 60.0, "minutes_low": 45.4, "minutes_high": 71.0}
    write(studio, claim, 4.0, data=data | {"forecast": forecast})
    assert run_page(studio, claim.run_id)["forecast"][0][1] == "1 h 0 min (45 min to 1 h 11 min)"


@pytest.mark.parametrize("forecast", [None, {}, {"minutes": None, "memory_gib": None}, {"memory_gib": {}}])
def test_an_empty_forecast_is_none(studio: Studio, claim: runs.Claim, forecast: Any) -> None:
    data = run_services.view(studio, claim.run_id).run.data
    write(studio, claim, 4.0, data=data | {"forecast": forecast})
    assert run_page(studio, claim.run_id)["forecast"] == []


def test_every_number_is_in_the_file(site_studio: Studio, browser: TestClient, faq: Path) -> None:
    upload = datasets.keep_upload(site_studio, faq, "faq.csv")
    run = run_services.start(site_studio, upload, None, "starter", {}, name="Über Shelves")
    with site_studio.db.writing() as session:
        metrics.write(session, run.id, [{"step": n, "train_loss": n / 3} for n in range(1, 2501)])
        metrics.write(session, run.id, [{"step": 0, "validation_loss": 4.0}])
    answer = browser.get(f"/download/run-{run.id}-metrics.csv")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv")
    assert f'filename="uber-shelves-run-{run.id}-metrics.csv"' in answer.headers["content-disposition"]
    read = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert len(read) == 2501
    assert (read[0]["validation_loss"], read[0]["train_loss"]) == ("4.0", "")
    assert float(read[1]["train_loss"]) == 1 / 3
    assert runs.move(site_studio.db, run.id, RunStatus.DISCARDED)


@pytest.mark.parametrize("run", ["777", "0x1", "%2e%2e"])
def test_an_unknown_run_has_no_file(browser: TestClient, run: str) -> None:
    answer = browser.get(f"/download/run-{run}-metrics.csv")
    assert answer.status_code == 404
    assert "There is no run" in answer.text
