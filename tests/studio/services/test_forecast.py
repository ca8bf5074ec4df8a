import json
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import ModelError, RecipeError, StudioError
from studio.core.run_state import RunStatus
from studio.services import datasets, experience, forecast, runs
from studio.services.context import Studio
from studio.services.forecast import Question
from studio.store import runs as run_rows
from studio.store.locks import exclusive
from studio.store.tables import Run

pytestmark = pytest.mark.usefixtures("pretend_starter")
MACHINE = {
    "device": "cpu", "device_name": "A processor", "memory_gib": 1e4, "free_gib": 1e4, "compute_dtype": "bfloat16",
    "bits": {"4": "", "8": "", "16": ""}, "framework_gib": 0.5,
}  # fmt: skip
COUNTED = {
    "parameters": 134_515_008, "trainable_parameters": 4_884_480, "extra_parameters": 4_884_480,
    "linear_parameters": 106_168_320, "linear_rows": 155_520, "linear_layers": 210, "adapter_bytes": 19_537_920,
    "vocabulary": 49_152, "hidden": 576, "layers": 30, "context": 8192, "head_block": 1 << 23, "attention": "sdpa",
    "step": {
        "tokens": 4096, "fast": True, "autocast": False, "off": {"kept": 2_766_604_288, "peak": 2_808_723_456},
        "on": {"kept": 156_811_264, "peak": 264_187_904},
    },
    "picture": {"block": [], "outside": [], "learning_in_blocks": 4_884_480, "shared": 0},
}  # fmt: skip


class Helper:
    """Answers as `workers.forecast` does, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __call__(self, question: dict[str, Any], helper: str = "") -> dict[str, Any]:
        assert helper == "workers.forecast"
        if question.get("machine"):
            return {"machine": MACHINE}
        self.asked.append(question)
        return {"facts": COUNTED}


@pytest.fixture
def helper(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Helper:
    made = Helper()
    monkeypatch.setattr(studio.errands, "ask", made)
    monkeypatch.setattr(forecast, "_known", type(forecast._known)())
    return made


def ended(studio: Studio, faq: Path, **recipe: Any) -> int:
    """A run that took two seconds a step on this machine."""
    upload = datasets.keep_upload(studio, faq, faq.name)
    run = runs.start(studio, upload, None, "starter", recipe)
    claim = run_rows.claim(studio.db, run.id)
    assert claim
    with studio.db.writing() as session:
        spent = {"loading": 5.0, "checking": 3.0, "training": 92.0, "saving": 2.0}
        run_rows.report(session, claim, device="A processor", phase_seconds=spent)
    summary = {
        "steps": 40, "tokens": 40 * 4 * 60, "bits": 4, "trainable_parameters": 4_884_480,
        "warm_up_seconds": 3.0, "looking_seconds": 12.0,
    }  # fmt: skip
    adapter = {"path": "x", "sha256": "x", "size_bytes": 1, "base_id": "starter", "base_fingerprint": "x"}
    assert run_rows.finish(studio.db, claim, RunStatus.SUCCEEDED, summary, adapter)
    return run.id


def test_without_data_full_batches_are_assumed_and_minutes_stay_open(studio: Studio, helper: Helper) -> None:
    told = forecast.forecast(studio, Question("starter", {"max_length": 512}))
    assert (told.steps, told.minutes, told.fits, told.here) == (None, None, "fits", True)
    assert told.amount.worst_batch(told.recipe).tokens == 4 * 512
    assert told.as_dict()["trainable_parameters"] == 4_884_480
    assert set(told.as_dict()["memory_gib"]) >= {
        "weights",
        "adapters",
        "gradients",
        "optimizer",
        "activations",
        "total",
    }


def test_rows_and_their_length_can_be_given(studio: Studio, helper: Helper) -> None:
    told = forecast.forecast(studio, Question("starter", {"epochs": 2}, rows=100, tokens=50))
    assert (told.amount.rows, told.amount.validation_rows) == (90, 10)
    assert told.steps == 2 * 23
    assert told.tokens == told.steps * 4 * 50


def test_an_upload_is_estimated_from_its_letters(studio: Studio, helper: Helper, faq: Path) -> None:
    upload = datasets.keep_upload(studio, faq, faq.name)
    told = forecast.forecast(studio, Question("starter", {}, upload_id=upload))
    assert (told.amount.known, told.amount.rows) == ("estimated", 18)
    assert 20 < told.amount.mean(told.recipe) < 80
    assert told.steps == told.recipe.steps(18)


def test_what_changes_nothing_of_the_model_is_not_asked_again(studio: Studio, helper: Helper) -> None:
    for changed in ({}, {"batch_size": 8}, {"max_length": 2048}, {"bits": 16}, {"learning_rate": 1e-4}, {"alpha": 8}):
        forecast.forecast(studio, Question("starter", changed))
    assert len(helper.asked) == 1
    forecast.forecast(studio, Question("starter", {"rank": 64}))
    assert [asked["recipe"]["rank"] for asked in helper.asked] == [16, 64]


def test_a_model_that_is_not_here_comes_from_the_catalog(studio: Studio, helper: Helper) -> None:
    told = forecast.forecast(studio, Question("meta-llama/Llama-3.1-8B", {}))
    assert not told.here
    assert helper.asked[0]["config"]["hidden_size"] == 4096
    forecast.forecast(studio, Question("HuggingFaceTB/SmolLM2-135M-Instruct", {}))
    assert helper.asked[1]["folder"].endswith("starter")


def test_what_cannot_be_told_is_a_sentence(studio: Studio, helper: Helper) -> None:
    with pytest.raises(ModelError, match="does not know how it is built"):
        forecast.forecast(studio, Question("nobody/knows-it", {}))
    with pytest.raises(RecipeError, match="LoRA rank"):
        forecast.forecast(studio, Question("starter", {"rank": 0}))


def test_minutes_are_learned_from_past_runs(studio: Studio, helper: Helper, faq: Path) -> None:
    ended(studio, faq)
    told = forecast.forecast(studio, Question("starter", {"epochs": 10}, rows=100, tokens=60))
    assert told.learned_from == 1
    assert told.steps == 230
    assert told.time and told.minutes
    assert told.time.seconds == pytest.approx(10 + 230 * 2.0 * (1 + 12 / 80), rel=0.01)
    assert told.time.low < told.time.seconds < told.time.high


def test_runs_of_another_device_teach_nothing(studio: Studio, helper: Helper, faq: Path) -> None:
    ended(studio, faq)
    machine = forecast.machine_here(studio)
    facts = forecast.Facts(**COUNTED)  # type: ignore[arg-type]
    assert len(experience.pasts(studio, machine, facts, "starter")) == 1
    elsewhere = forecast.replace(machine, device_name="Another processor")
    assert experience.pasts(studio, elsewhere, facts, "starter") == []


def test_runs_that_tell_too_little_teach_nothing(studio: Studio, helper: Helper, faq: Path) -> None:
    number = ended(studio, faq)
    with studio.db.writing() as session:
        run = session.get(Run, number)
        assert run
        run.summary = {name: value for name, value in run.summary.items() if name != "bits"}
    told = forecast.forecast(studio, Question("starter", {}, rows=100, tokens=60))
    assert (told.learned_from, told.time) == (0, None)


def test_a_probe_is_kept_in_place_of_one_like_it(studio: Studio) -> None:
    told = {
        "base_id": "starter", "bits": 4, "checkpointing": False, "trainable": 1, "device": "A processor",
        "autocast": False, "tokens": 100, "length": 25, "passes": 1, "steps": 5, "seconds_per_step": 1.0,
        "looking": 0.0, "around": 5.0, "at": 0,
    }  # fmt: skip
    for tokens, seconds in ((100, 1.0), (110, 2.0), (1000, 3.0)):
        experience._keep(studio.home, told | {"tokens": tokens, "seconds_per_step": seconds})
    kept = json.loads(studio.home.probes.read_text())
    assert [(probe["tokens"], probe["seconds_per_step"]) for probe in kept] == [(1000, 3.0), (110, 2.0)]


def test_no_probe_beside_a_run(studio: Studio, helper: Helper) -> None:
    with (
        exclusive(studio.home.lock("device")),
        pytest.raises(StudioError, match="A run is being trained on this computer"),
    ):
        forecast.try_speed(studio, Question("starter", {}))
    with pytest.raises(ModelError, match="not on the computer yet"):
        forecast.try_speed(studio, Question("meta-llama/Llama-3.1-8B", {}))


def test_the_forecast_is_written_beside_the_run(studio: Studio, helper: Helper, faq: Path) -> None:
    upload = datasets.keep_upload(studio, faq, faq.name)
    run = runs.start(studio, upload, None, "starter", {})
    assert "forecast" not in runs.show(studio, run.id)["data"], "no helper is started for it"
    forecast._note(studio, run)
    noted = runs.show(studio, run.id)["data"]["forecast"]
    assert noted["memory_gib"]["total"] > 0.5
    assert set(noted) == {"memory_gib", "minutes", "minutes_low", "minutes_high"}
    assert runs.show(studio, run.id)["data"]["rows"] == 20


def test_a_forecast_that_fails_harms_no_run(
    studio: Studio, faq: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    upload = datasets.keep_upload(studio, faq, faq.name)
    run = runs.start(studio, upload, None, "starter", {})
    monkeypatch.setattr(forecast, "forecast", lambda *_: 1 / 0)
    forecast._note(studio, run)
    assert f"no forecast for run {run.id}" in caplog.text
    assert "forecast" not in runs.show(studio, run.id)["data"]
