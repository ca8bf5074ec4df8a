"""What a run will take, before it starts: steps, parameters, memory by part, minutes, and what would make it fit.

The model is counted by `workers.forecast` in a process of its own; `diagnostics.forecast` does the arithmetic.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping as Choices
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from studio.core import catalog
from studio.core.choices import build
from studio.core.errors import ModelError
from studio.core.mapping import Mapping
from studio.core.recipe import GROUPS, Recipe
from studio.diagnostics import forecast as reckoned
from studio.diagnostics.duration import Estimate, Past, Step, estimate, work
from studio.diagnostics.forecast import GIB, Change, Facts, Fits, Machine, Memory
from studio.jobs.errands import Helper
from studio.services import advice, base_models, experience
from studio.services import amount as amounts
from studio.services.amount import Amount
from studio.services.context import Studio
from studio.store import base_models as base_models_here
from studio.store import runs
from studio.store.tables import Run

log = logging.getLogger(__name__)
SHORT_ROW = 256  # up to which the trainer may take another attention, see `workers.model`
_KNOWN_MOST = 100
_HELPER: Helper = "workers.forecast"
# settings that change nothing of what is counted
_BESIDES = {"preset", "alpha", "bits", "quantization", "double_quantization"} | {
    name for group in ("Learning", "Memory and speed", "Checking and saving") for name in GROUPS[group]
}


@dataclass(frozen=True)
class Question:
    """Of the three ways to say what is read, the first that is given counts; without any, full batches are assumed."""

    base_id: str
    choices: Choices[str, Any]
    dataset_id: int = 0
    version: int = 0  # 0: the newest
    upload_id: str = ""
    mapping: Mapping | None = None
    rows: int = 0
    tokens: int = 0  # of each row


@dataclass(frozen=True)
class Forecast:
    base_id: str
    recipe: Recipe
    amount: Amount
    steps: int | None  # None: nobody knows how many rows there are
    tokens: int | None  # read in all
    facts: Facts
    checkpointing: bool
    memory: Memory
    machine: Machine
    fits: Fits
    time: Estimate | None  # seconds of the whole run; None until the machine has trained something
    learned_from: int  # past runs of this model
    here: bool  # whether the base model is on this computer
    changes: list[Change] = field(default_factory=list)  # after which it fits better

    @property
    def minutes(self) -> float | None:
        return self.time.seconds / 60 if self.time else None

    @property
    def tried(self) -> bool:
        """Whether the time is learned from a run or a probe that was much like it."""
        return self.time is not None and self.time.alike

    @property
    def worth_a_probe(self) -> bool:
        """Whether a few real steps here would make the time better known."""
        return self.here and bool(self.steps) and not self.tried and self.fits != "wont_fit"

    @property
    def share(self) -> float:
        return self.facts.trainable_parameters / self.facts.parameters

    @property
    def sentence(self) -> str:
        """Whether it fits, in words."""
        needed, has, free = self.memory.needed, self.machine.memory_gib, self.machine.free_gib
        where = "this computer's graphics card" if self.machine.device == "cuda" else "this computer"
        if self.fits == "fits":
            return f"Fits: needs about {needed:.1f} GiB; {where} has {has:.1f}, of which {free:.1f} are free now."
        if self.fits == "tight":
            return (
                f"Tight: needs about {needed:.1f} GiB; {where} has {has:.1f}, but only {free:.1f} are free now. "
                "Close other programs first."
            )
        card = reckoned.card_for(needed)
        elsewhere = f" A graphics card with {card} GB would do." if card else " No single graphics card would do."
        return f"Won't fit: needs about {needed:.1f} GiB; {where} has {has:.1f}.{elsewhere}"

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "model": self.base_id,
            "parameters": self.facts.parameters,
            "trainable_parameters": self.facts.trainable_parameters,
            "trainable_share": self.share,
            "adapter_bytes": self.facts.adapter_bytes,
            "steps": self.steps,
            "tokens": self.tokens,
            "rows": {"train": self.amount.rows, "validation": self.amount.validation_rows, "known": self.amount.known},
            "gradient_checkpointing": self.checkpointing,
            "memory_gib": self.memory.as_dict(),
            "machine": {
                "device": self.machine.device_name,
                "memory_gib": round(self.machine.memory_gib, 2),
                "free_gib": round(self.machine.free_gib, 2),
            },
            "fits": self.fits,
            "sentence": self.sentence,
            **self._minutes(),
            "learned_from": self.learned_from,
            "tried": self.tried,
            "here": self.here,
            "make_it_fit": [vars(change) for change in self.changes],
        }

    def noted(self) -> dict[str, Any]:
        """What is kept with a run, to stand beside what happened."""
        return {"memory_gib": self.memory.as_dict(), **self._minutes()}

    def _minutes(self) -> dict[str, float | None]:
        if self.time is None:
            return dict.fromkeys(("minutes", "minutes_low", "minutes_high"))
        seconds = {"minutes": self.time.seconds, "minutes_low": self.time.low, "minutes_high": self.time.high}
        return {name: round(value / 60, 2) for name, value in seconds.items()}


def forecast(studio: Studio, question: Question) -> Forecast:
    """Takes some seconds the first time, when the helper has to be started.

    Raises RecipeError, DataError, ModelError or NotFound, in words.
    """
    base_id = _named(question.base_id)
    source = _source(studio, base_id)
    recipe, amount = _read(studio, replace(question, base_id=base_id))
    machine = machine_here(studio)
    batch = amount.worst_batch(recipe)
    facts = _counted(studio, source, recipe, machine, batch.longest)
    checkpointing = reckoned.checkpoints(facts, recipe, machine, batch)
    needed = reckoned.memory(facts, recipe, machine, batch, checkpointing)
    steps = recipe.steps(amount.read_rows(recipe)) if amount.rows else recipe.max_steps or None
    pasts = experience.pasts(studio, machine, facts, base_id)
    return Forecast(
        base_id=base_id,
        recipe=recipe,
        amount=amount,
        steps=steps,
        tokens=round(steps * amount.step_tokens(recipe)) if steps else None,
        facts=facts,
        checkpointing=checkpointing,
        memory=needed,
        machine=machine,
        fits=reckoned.fits(needed, machine),
        time=_time(facts, recipe, machine, amount, checkpointing, steps, pasts, base_id),
        learned_from=sum(past.step.base_id == base_id for past in pasts),
        here="folder" in source,
        changes=reckoned.make_it_fit(facts, recipe, machine, batch, amount.share_longer),
    )


def try_speed(studio: Studio, question: Question) -> None:
    """Measure a few steps of what is asked about, so that the next forecast knows its minutes. Takes a minute or so.

    Raises as `forecast` and `experience.probe`.
    """
    told = forecast(studio, question)
    length = max(16, round(told.amount.step_tokens(told.recipe)))
    length //= told.recipe.batch_size * told.recipe.gradient_accumulation
    experience.probe(studio, told.base_id, told.recipe, length, told.machine)


def note(studio: Studio, run: Run) -> None:
    """Write the forecast into the run's row, if it comes at no cost; beside the caller, who does not wait for it."""
    if studio.errands.is_up(_HELPER):
        threading.Thread(target=_note, args=(studio, run), name="forecast", daemon=True).start()


def _note(studio: Studio, run: Run) -> None:
    asked = Question(run.base_id, run.recipe, dataset_id=run.dataset_id, version=run.dataset_version)
    try:
        runs.add_to_data(studio.db, run.id, forecast=forecast(studio, asked).noted())
    except Exception as error:  # a run is worth more than its forecast
        log.warning("no forecast for run %s: %s", run.id, error)


def machine_here(studio: Studio) -> Machine:
    """What training may use on this machine, with what is free now."""
    if studio.home.path not in _machines:
        _machines[studio.home.path] = Machine(**studio.errands.ask({"machine": True}, _HELPER)["machine"])
    found = _machines[studio.home.path]
    if found.device == "cuda":
        return found
    return replace(found, free_gib=min(psutil.virtual_memory().available / GIB, found.memory_gib))


_machines: dict[Path, Machine] = {}  # by home: a studio never changes its machine while it runs
_known: OrderedDict[str, Facts] = OrderedDict()  # what has been counted, the newest last
_knowing = threading.Lock()


def _named(base_id: str) -> str:
    """The catalog's id for a hub id that it has."""
    entry = catalog.known(base_id)
    return entry.id if entry else base_id


def _source(studio: Studio, base_id: str) -> dict[str, Any]:
    """Where the model's architecture stands: its own folder, or the catalog."""
    folder = base_models_here.find(studio.home.models, base_id)
    if folder is not None:
        return {"folder": str(folder.path)}
    if (configuration := catalog.configuration(base_id)) is not None:
        return {"config": configuration}
    known = ", ".join(choice.id for choice in base_models.choices(studio))
    raise ModelError(
        f"The base model “{base_id[:80]}” is not on this computer, and the studio does not know how it is built.",
        f"Known are: {known}.",
    )


def _read(studio: Studio, question: Question) -> tuple[Recipe, Amount]:
    """The recipe as the run would have it, and what it reads."""
    facts = advice.of_nothing(studio, question.base_id, question.rows)
    first = build(question.choices, facts.rows, facts.parameters, facts)
    if question.dataset_id:
        amount = amounts.of_dataset(studio, question.dataset_id, question.version, question.base_id, first)
        rows = amount.rows + amount.validation_rows
        facts = advice.of_dataset(studio, question.base_id, rows, question.dataset_id, question.version or None)
    elif question.upload_id:
        amount = amounts.of_upload(studio, question.upload_id, question.mapping, first)
        rows = amount.rows + amount.validation_rows
        facts = advice.of_upload(studio, question.base_id, rows, question.upload_id, question.mapping)
    else:
        return first, amounts.given(first, question.rows, question.tokens)
    return build(question.choices, facts.rows, facts.parameters, facts), amount


def _counted(studio: Studio, source: dict[str, Any], recipe: Recipe, machine: Machine, longest: int) -> Facts:
    """Asked once for each model and adapter; most settings change nothing of it."""
    short = longest if machine.device == "cpu" and longest <= SHORT_ROW else 0
    shape = {name: value for name, value in recipe.model_dump().items() if name not in _BESIDES}
    key = repr((source, sorted(shape.items()), recipe.bits == 8, short))
    with _knowing:
        if key in _known:
            _known.move_to_end(key)
            return _known[key]
    asked = source | {"recipe": recipe.model_dump(), "longest": longest}
    facts = Facts(**studio.errands.ask(asked, _HELPER)["facts"])
    with _knowing:
        _known[key] = facts
        while len(_known) > _KNOWN_MOST:
            _known.popitem(last=False)
    return facts


def _time(
    facts: Facts, recipe: Recipe, machine: Machine, amount: Amount, checkpointing: bool, steps: int | None,
    pasts: list[Past], base_id: str,
) -> Estimate | None:  # fmt: skip
    if steps is None:
        return None
    tokens, length, passes = amount.step_tokens(recipe), amount.mean(recipe), recipe.gradient_accumulation
    learning, bits = facts.trainable_parameters, machine.bits_for(recipe.bits)
    done = work(facts, learning, tokens, length, passes, checkpointing)
    step = Step(base_id, bits, checkpointing, facts.step["autocast"], learning, done)
    return estimate(step, steps, amount.validation_rows > 0, pasts)
