"""The page of one run in a real browser: charts, answers at every check, and what was expected beside what happened.

Before a web process alone: what a trainer would have written is written into the database by hand.
"""

import csv
import io
import math
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import unpack
from time import sleep
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from studio.core.catalog import STARTER
from studio.core.run_state import RunStatus
from studio.services import datasets
from studio.services import runs as run_services
from studio.services.context import Studio
from studio.settings import Settings
from studio.store import metrics, runs

pytestmark = pytest.mark.slow
Open = Callable[..., Page]

QUESTIONS = {"Where is item 3?": "On shelf 3.", "Where is item 8?": "On shelf 8.", "Where is item 21?": "On shelf 21."}
EARLY = "Training stopped at step 180 because it had not improved for 3 checks."


@dataclass(frozen=True)
class Site:
    url: str
    studio: Studio


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A web process on a home with a folder that looks like the starter model."""
    home = tmp_path_factory.mktemp("home")
    starter = home / "models" / STARTER
    starter.mkdir(parents=True)
    (starter / "config.json").write_text("{}")
    (starter / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"STUDIO_HOME": str(home), "STUDIO_MODELS": str(home / "models")}
    command = [sys.executable, "-m", "studio", "web", "--port", str(port)]
    log = home / "web.log"
    with log.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as process:
        try:
            for _ in range(1200):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
                    break
                assert process.poll() is None, log.read_text()
                sleep(0.1)
            yield Site(f"http://127.0.0.1:{port}", Studio.open(Settings(home=home, models=home / "models")))
        finally:
            process.terminate()
    assert "Traceback" not in log.read_text(), log.read_text()


def rows_of(steps: Sequence[int], check_every: int = 20, accuracy: bool = True) -> list[dict[str, Any]]:
    """What a trainer writes: the loss on held-back rows is lowest at step 120."""
    rows = []
    for step in steps:
        noise = math.sin(step * 12.9898) * 0.18
        row = {
            "step": step, "train_loss": 0.35 + 2.8 * math.exp(-step / 40) + noise * math.exp(-step / 150),
            "learning_rate": 2e-3 * min(step / 20, 1 - (step - 20) / 400), "gradient_norm": 1.4 + noise + 3 / (1 + step),
            "tokens": 412 * step, "tokens_per_second": 640 + 90 * noise, "memory_gib": 2.1 + step / 900,
            "seconds": 0.64 * step, "token_accuracy": 0.93 - 0.5 * math.exp(-step / 50) + noise / 12 if accuracy else None,
        }  # fmt: skip
        rows.append(row if step else {"step": 0})
        if step % check_every == 0:
            rows[-1]["validation_loss"] = 0.72 + (step - 120) ** 2 / 6500
            if accuracy:
                rows[-1]["validation_accuracy"] = 0.84 - (step - 120) ** 2 / 40_000
    return rows


def begin(studio: Studio, folder: Path, name: str = "Shelf helper", **data: Any) -> runs.Claim:
    """A run that is training and has written nothing yet."""
    path = folder / "shelves.csv"
    path.write_text("question,answer\n" + "".join(f"Where is item {n}?,On shelf {n}.\n" for n in range(60)))
    upload = datasets.keep_upload(studio, path, path.name)
    run = run_services.start(studio, upload, None, "starter", {}, name=name)
    claim = runs.claim(studio.db, run.id)
    assert claim
    with studio.db.writing() as session:
        runs.report(session, claim, phase="training", total_steps=400, data=run.data | data)
    return claim


def write(studio: Studio, claim: runs.Claim, rows: list[dict[str, Any]]) -> None:
    with studio.db.writing() as session:
        runs.report(session, claim, step=rows[-1]["step"], seconds_left=95.0)
        metrics.write(session, claim.run_id, rows)


def ask(studio: Studio, claim: runs.Claim, step: int, answer: Callable[[str], str]) -> None:
    asked = enumerate(QUESTIONS.items())
    rows = [
        {"step": step, "position": n, "question": q, "expected": a, "answer": answer(a)} for n, (q, a) in asked
    ]
    with studio.db.writing() as session:
        metrics.write_samples(session, claim.run_id, rows)


def end(studio: Studio, claim: runs.Claim, **summary: Any) -> None:
    """The run's good end; its adapter is only a row."""
    adapter = {"path": "adapter", "sha256": "a" * 64, "size_bytes": 1, "base_id": STARTER, "base_fingerprint": "b" * 64}
    with studio.db.writing() as session:
        runs.report(session, claim, phase_seconds={"loading": 12.0, "training": 115.2, "saving": 4.0})
    assert runs.finish(studio.db, claim, RunStatus.SUCCEEDED, summary, adapter)


def finished(studio: Studio, folder: Path, name: str = "Shelf helper") -> int:
    """A run that stopped early at step 180, whose adapter is from step 120."""
    forecast = {"memory_gib": {"total": 2.5, "weights": 0.2}, "minutes": 2.4, "minutes_low": 1.8, "minutes_high": 3.1}
    claim = begin(studio, folder, name, forecast=forecast)
    write(studio, claim, rows_of(range(181)))
    ask(studio, claim, 0, lambda expected: "I'm sorry, I don't know where that is. Could you tell me more about the item?")
    ask(studio, claim, 60, lambda expected: f"It is {expected.lower()}")
    ask(studio, claim, 120, lambda expected: expected)
    ask(studio, claim, 180, lambda expected: expected.replace("shelf", "the shelf"))
    end(
        studio, claim, peak_memory_gib=2.315, tokens_per_second=644.0, kept_step=120, ended_early=EARLY,
        validation_loss={"base": 2.935, "best": 0.72, "last": 1.274, "best_step": 120},
    )  # fmt: skip
    return claim.run_id
