"""What this machine has learned of its own speed: from its past runs, and from a short probe."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from studio.core.conversation import Conversation, Message
from studio.core.errors import ModelError, StudioError
from studio.core.recipe import Recipe
from studio.core.run_state import RunStatus
from studio.diagnostics.duration import Past, Step, work
from studio.diagnostics.forecast import Facts, Machine
from studio.services import base_models
from studio.services.context import Studio
from studio.settings import Settings
from studio.store import base_models as base_models_here
from studio.store import datasets, examples, runs
from studio.store.db import open_database
from studio.store.home import Home
from studio.store.locks import Held, exclusive
from studio.store.tables import Run

LOOKED_AT = 200  # past runs
KEPT = 100  # probes
PROBE_STEPS = 5  # the first two pay for warming up
PROBE_SECONDS = 900


def pasts(studio: Studio, machine: Machine, facts: Facts, base_id: str) -> list[Past]:
    """Runs and probes of this device, the newest first; the work of each in terms of the model asked about."""
    ended = runs.with_status(studio.db, RunStatus.SUCCEEDED, RunStatus.STOPPED)[-LOOKED_AT:]
    told = [found for run in ended if (found := _of_run(run))] + _probes(studio.home)
    size = base_models.parameters(studio, base_id)
    return [
        _past(studio, one, facts, base_id, size)
        for one in sorted(told, key=lambda one: one["at"], reverse=True)
        if one["device"] == machine.device_name and min(one["tokens"], one["trainable"], one["seconds_per_step"]) > 0
    ]


def probe(studio: Studio, base_id: str, recipe: Recipe, tokens: int, machine: Machine) -> None:
    """Train a few steps on invented rows of about `tokens` in a home of their own, and keep how long they took.

    Raises ModelError if the base model is not here, StudioError if another run is being trained or a step fails.
    """
    if base_models_here.find(studio.home.models, base_id) is None:
        raise ModelError("This base model is not on the computer yet.", "Its speed can be tried once it is.")
    brief = recipe.model_copy(update=_BRIEF | {"max_length": max(64, min(recipe.max_length, tokens))})
    try:
        with exclusive(studio.home.lock("device"), wait=False), TemporaryDirectory(prefix="studio-probe-") as folder:
            run = _trained(Path(folder), studio.home.models, base_id, brief, tokens)
    except Held:
        raise StudioError(
            "A run is being trained on this computer.", "The speed can be tried when it has ended."
        ) from None
    told = _of_run(run)
    if run.status != RunStatus.SUCCEEDED or told is None:
        raise StudioError(f"The trial did not work: {run.error_message or 'it was broken off'}", run.error_hint or "")
    _keep(studio.home, told | {"device": machine.device_name})


_BRIEF: dict[str, Any] = {
    "max_steps": PROBE_STEPS, "epochs": 100, "validation_fraction": 0, "hold_back": "random", "hold_back_by": "",
    "packing": False, "patience": 0, "keep_best": False,
}  # fmt: skip


def _trained(folder: Path, models: Path, base_id: str, recipe: Recipe, tokens: int) -> Run:
    home = Home.at(Settings(home=folder, models=models))
    db = open_database(home.database)
    rows = recipe.batch_size * recipe.gradient_accumulation * PROBE_STEPS
    dataset = datasets.create(
        db, name="probe", filename="probe", sha256="", shape="columns", mapping={}, columns=[], rows=rows,
        usable_rows=rows, skipped=[],
    )  # fmt: skip
    home.dataset(dataset.id).mkdir()
    # the answer is cut at the recipe's length, so that every row has it, whatever the tokenizer makes of a word
    talks = (
        Conversation((Message("user", f"{n} " + "word " * (tokens // 8)), Message("assistant", "word " * tokens)), n)
        for n in range(rows)
    )
    examples.create(home.versions(dataset.id), talks, "Invented")
    run = runs.create(
        db, name="probe", recipe=recipe.model_dump(), dataset_id=dataset.id, data={"rows": rows}, base_id=base_id
    )
    command = [sys.executable, "-m", "workers.train", str(run.id), "--home", str(folder), "--models", str(models)]
    with suppress(subprocess.TimeoutExpired):  # then the run has not succeeded, and its row says so
        subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS, check=False,
            env=os.environ | home.environment,
        )  # fmt: skip
    return runs.get(db, run.id)


# runs of the first studios do not tell all of them
_TOLD = {"bits", "trainable_parameters", "tokens", "looking_seconds", "warm_up_seconds"}


def _of_run(run: Run) -> dict[str, Any] | None:
    """What counts of a run that has ended, as it is kept of probes too; None if it was cut short or interrupted."""
    summary, spent, recipe = run.summary, run.phase_seconds, run.recipe
    steps = summary.get("steps", 0)
    if steps < PROBE_STEPS - 1 or run.fence > 1 or not summary.keys() >= _TOLD:
        return None
    looking = summary["looking_seconds"]
    around = spent.get("loading", 0.0) + summary["warm_up_seconds"] + spent.get("saving", 0.0)
    rows = recipe["batch_size"] * recipe["gradient_accumulation"]
    return {
        "base_id": run.base_id,
        "bits": summary["bits"],
        "checkpointing": bool(summary.get("gradient_checkpointing", recipe.get("gradient_checkpointing") == "on")),
        "autocast": bool(summary.get("autocast")),
        "trainable": summary["trainable_parameters"],
        "tokens": summary["tokens"] / steps,
        "length": summary["tokens"] / steps / rows,
        "passes": recipe["gradient_accumulation"],
        "steps": steps,
        "seconds_per_step": (sum(spent.values()) - around - looking) / steps,
        "looking": looking,
        "around": around,
        "device": run.device,
        "at": run.ended_at or 0.0,
    }


def _past(studio: Studio, told: dict[str, Any], facts: Facts, base_id: str, size: int) -> Past:
    done = work(facts, told["trainable"], told["tokens"], told["length"], told["passes"], told["checkpointing"])
    if told["base_id"] != base_id:
        done *= base_models.parameters(studio, told["base_id"]) / size
    step = Step(told["base_id"], told["bits"], told["checkpointing"], told["autocast"], told["trainable"], done)
    return Past(step, told["steps"], told["seconds_per_step"], told["looking"], told["around"])


def _probes(home: Home) -> list[dict[str, Any]]:
    path = home.probes
    try:
        kept: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    except ValueError:
        return []  # cut off while it was written, by a version that did not rename: the next probe writes it anew
    return [probe for probe in kept if "passes" in probe]  # those of the first studios tell too little


_SAME = ("base_id", "bits", "checkpointing", "autocast", "trainable", "passes", "device")


def _keep(home: Home, told: dict[str, Any]) -> None:
    """The newest first; a probe takes the place of one like it."""

    def alike(other: dict[str, Any]) -> bool:
        return all(other[name] == told[name] for name in _SAME) and 0.8 < other["tokens"] / told["tokens"] < 1.25

    others = [probe for probe in _probes(home) if not alike(probe)]
    partial = home.probes.with_suffix(".partial")
    partial.write_text(json.dumps([told, *others][:KEPT]), encoding="utf-8")
    partial.rename(home.probes)
