import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from safetensors import safe_open

from studio.core.conversation import Conversation, write_jsonl
from studio.core.recipe import Recipe
from studio.core.run_state import RunStatus, Wish
from studio.diagnostics.failures import SHUT_DOWN
from studio.store import checkpoints, metrics, runs
from studio.store.db import Database
from studio.store.home import Home
from studio.store.tables import Dataset, Run
from workers.attempt import work
from workers.train import train as train_run

# PEFT 0.21 asks transformers 5.23 by a name that it calls outdated
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

STEPS = 6
RECIPE: dict[str, Any] = {
    "rank": 4,
    "bits": 4,
    "learning_rate": 5e-3,
    "max_steps": STEPS,
    "epochs": 5,
    "max_length": 128,
}


@pytest.fixture
def queue(here: Home, db: Database, conversations: list[Conversation]) -> Callable[..., Run]:
    def create(base_id: str = "starter", **choices: Any) -> Run:
        with db.writing() as session:
            dataset = Dataset(
                name="d", filename="d", sha256="", shape="", mapping={}, columns=[], rows=24, usable_rows=24, skipped=[]
            )
            session.add(dataset)
            session.flush()
        here.dataset(dataset.id).mkdir()
        write_jsonl(here.examples(dataset.id), conversations)
        recipe = Recipe.model_validate(RECIPE | choices).model_dump()
        return runs.create(db, name="run", recipe=recipe, dataset_id=dataset.id, data={}, base_id=base_id)

    return create


def command(home: Home, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "workers.train", *arguments, "--home", str(home.path), "--models", str(home.models)]


def train(home: Home, db: Database, run: Run) -> int:
    """The exit code; in this process, because importing torch anew takes longer than the run."""
    claim = runs.claim(db, run.id)
    assert claim
    return work(home, db, claim, train_run)


def wish_after_steps(db: Database, run: Run, wish: Wish) -> Thread:
    """Asks for an end once training is under way, as a user would."""

    def ask() -> None:
        within(300, lambda: runs.get(db, run.id).step > 2)
        runs.ask(db, run.id, wish)

    thread = Thread(target=ask)
    thread.start()
    return thread


def within(seconds: float, condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_run_leaves_metrics_samples_and_an_adapter_for_this_base(
    here: Home, db: Database, queue: Callable[..., Run]
) -> None:
    queued = queue()
    code = train(here, db, queued)
    run = runs.get(db, queued.id)
    assert (code, run.status, run.step, run.total_steps) == (0, RunStatus.SUCCEEDED, STEPS, STEPS), run.error_detail
    assert set(run.phase_seconds) == {"loading", "checking", "training", "saving"}

    rows = metrics.read(db, run.id)
    assert [r["step"] for r in rows] == list(range(STEPS + 1))
    assert rows[0]["train_loss"] is None and all(r["train_loss"] for r in rows[1:])
    assert {r["step"] for r in rows if r["validation_loss"]} == {0, 3, 6}
    assert all(0 <= r["token_accuracy"] <= 1 for r in rows[1:]) and rows[-1]["validation_accuracy"] is not None
    assert rows[-1]["validation_loss"] < rows[0]["validation_loss"]
    assert {(s.step, s.position) for s in metrics.samples(db, run.id)} >= {(0, 0), (0, 1), (6, 0), (6, 1)}

    summary = run.summary
    assert summary["steps"] == STEPS and summary["tokens"] > summary["learned_tokens"] > 0
    assert summary["validation_loss"]["base"] == rows[0]["validation_loss"]
    assert summary["train_loss"] == {"first": rows[1]["train_loss"], "last": rows[-1]["train_loss"]}
    for figure in ("tokens_per_second", "seconds_per_step", "peak_memory_gib", "model_gib", "trainable_parameters"):
        assert summary[figure] > 0, figure

    adapter = runs.adapter_of(db, run.id)
    assert adapter and adapter.base_fingerprint == run.base_fingerprint
    folder = here.path / adapter.path
    with safe_open(folder / "adapter_model.safetensors", "pt") as weights:
        assert weights.metadata() == {
            "format": "pt",
            "base_fingerprint": run.base_fingerprint,
            "base_id": "HuggingFaceTB/SmolLM2-135M-Instruct",
        }
    for file in folder.iterdir():
        if file.suffix == ".json":
            assert str(here.path) not in file.read_text() and str(here.models) not in file.read_text()
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert (folder / "tokenizer.json").is_file() and (folder / "chat_template.jinja").is_file()
    assert {p.name for p in here.run(run.id).iterdir()} == {"adapter-1"}  # no checkpoint left


def test_a_process_in_standby_trains_the_run_it_is_given(here: Home, db: Database, queue: Callable[..., Run]) -> None:
    waiting = subprocess.Popen(command(here, "--standby"), stdin=subprocess.PIPE, text=True)
    queued = queue(packing=True)
    claim = runs.claim(db, queued.id)
    assert claim and waiting.stdin
    waiting.communicate(json.dumps({"run": claim.run_id, "fence": claim.fence}) + "\n", timeout=300)
    assert waiting.returncode == 0
    assert runs.get(db, queued.id).status == RunStatus.SUCCEEDED
    log = here.log(queued.id).read_text()
    assert "Done: succeeded." in log and "Warning" not in log


@pytest.mark.parametrize(("wish", "status"), [(Wish.KEEP, RunStatus.STOPPED), (Wish.DISCARD, RunStatus.DISCARDED)])
def test_stopping_in_the_middle_keeps_or_discards(
    here: Home, db: Database, queue: Callable[..., Run], wish: Wish, status: RunStatus
) -> None:
    queued = queue(max_steps=0, epochs=100, batch_size=1, validation_fraction=0)
    asking = wish_after_steps(db, queued, wish)
    assert train(here, db, queued) == 0
    asking.join()
    run = runs.get(db, queued.id)
    assert run.step < run.total_steps
    assert run.status == status
    assert here.adapter(run.id, 1).is_dir() == (wish is Wish.KEEP)
    assert here.run(run.id).exists() == (wish is Wish.KEEP)


def test_stopping_before_the_first_step_has_nothing_to_keep(
    here: Home, db: Database, queue: Callable[..., Run]
) -> None:
    queued = queue()
    claim = runs.claim(db, queued.id)
    assert claim
    runs.ask(db, queued.id, Wish.KEEP)
    assert work(here, db, claim, train_run) == 0
    run = runs.get(db, queued.id)
    assert run.status == RunStatus.DISCARDED
    assert run.error_message == "Stopped before the first step, so there was nothing to keep."


def test_a_failure_is_told_in_words_with_the_details_apart(here: Home, db: Database, queue: Callable[..., Run]) -> None:
    queued = queue(max_length=16)
    assert train(here, db, queued) == 1
    run = runs.get(db, queued.id)
    assert run.status == RunStatus.FAILED
    assert run.error_message == "No example is left to learn from: at 16 tokens each is cut before its answer begins."
    assert run.error_hint and "Traceback" not in run.error_hint
    assert run.error_detail and "Traceback" in run.error_detail


def test_a_base_model_that_is_nowhere_is_told_in_words(
    here: Home, db: Database, queue: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    queued = queue(base_id="Qwen/Qwen2.5-0.5B-Instruct")
    assert train(here, db, queued) == 1
    run = runs.get(db, queued.id)
    assert run.error_message == "Couldn't download Qwen2.5 0.5B: no connection to the model hub."
    assert run.error_hint == "Use a model that is already here."


def test_a_run_that_is_not_waiting_is_left_alone(here: Home, db: Database, queue: Callable[..., Run]) -> None:
    queued = queue()
    runs.move(db, queued.id, RunStatus.DISCARDED)
    assert subprocess.run(command(here, str(queued.id)), stdout=subprocess.DEVNULL, timeout=300).returncode == 1
    assert runs.get(db, queued.id).status == RunStatus.DISCARDED


def test_told_to_end_it_saves_a_checkpoint_and_hands_the_run_back(
    here: Home, db: Database, queue: Callable[..., Run]
) -> None:
    queued = queue(max_steps=0, epochs=100, batch_size=1, validation_fraction=0)
    process = subprocess.Popen(command(here, str(queued.id)), stdout=subprocess.DEVNULL)
    assert within(300, lambda: runs.get(db, queued.id).step > 0)
    process.terminate()
    assert process.wait(300) == 143
    run = runs.get(db, queued.id)
    assert run.status == RunStatus.QUEUED and run.attempts == 0
    assert [checkpoint.step for checkpoint in checkpoints.of(db, run.id)] == [run.step]
    assert runs.events(db, run.id)[-1].reason == SHUT_DOWN


@pytest.mark.slow
def test_the_starter_model_learns_with_four_bits(
    tmp_path: Path,
    starter_models: Path,
    conversations: list[Conversation],
    queue: Callable[..., Run],
    here: Home,
    db: Database,
) -> None:
    here = Home(here.path, starter_models)
    queued = queue(max_steps=12, learning_rate=1e-3, validation_fraction=0.2)
    assert train(here, db, queued) == 0
    summary = runs.get(db, queued.id).summary
    assert summary["bits"] == 4
    assert summary["validation_loss"]["last"] < 0.7 * summary["validation_loss"]["base"]
    assert summary["model_gib"] < 0.12
