"""The addresses that the forecast's panel asks: what is chosen now, in numbers and words."""

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field

from studio.core.errors import DataError
from studio.core.mapping import Mapping
from studio.core.recipe import Recipe
from studio.services import base_models, forecast
from studio.services.context import Studio
from studio.services.forecast import Forecast, Question
from studio.ui import words

PARTS = {
    "weights": "Base model",
    "quantization_constants": "Its quantization constants",
    "adapters": "What learns",
    "gradients": "Gradients",
    "optimizer": "Optimizer",
    "activations": "Activations",
    "logits": "Logits",
    "mapped_file": "Its file, read (given back when needed)",
    "other": "Libraries and the rest",
}
KNOWN = {
    "counted": "Your examples' real tokens are counted.",
    "estimated": "The length of your examples is estimated from their letters; it is counted once they are kept.",
    "given": "No examples yet: full batches of the longest allowed are assumed.",
}
_SMALLEST_GIB = 0.005  # that is shown as a part


class Asked(BaseModel):
    """What is chosen on the first page; see `studio.ui.draft`."""

    model_config = ConfigDict(extra="ignore")

    upload_id: str = Field("", max_length=64)
    mapping: Mapping | None = None
    dataset_id: int = Field(0, ge=0, lt=2**53)
    dataset_version: int = Field(0, ge=0, lt=2**53)
    base_id: str = Field(max_length=300)
    preset: str = Field("balanced", max_length=20)
    settings: dict[str, Any] = Field(default_factory=dict)


def forecast_router(studio: Studio) -> APIRouter:
    # plain functions: FastAPI runs them in threads, so the helper's answer holds nobody else up
    router = APIRouter()

    @router.post("/api/forecast")
    def ask(asked: Annotated[Asked, Body()]) -> dict[str, Any]:
        return shown(_told(studio, asked))

    @router.post("/api/forecast/probe")
    def probe(asked: Annotated[Asked, Body()]) -> dict[str, Any]:
        forecast.try_speed(studio, _question(studio, asked))
        return shown(_told(studio, asked))

    return router


def _question(studio: Studio, asked: Asked) -> Question:
    return Question(
        base_models.usable(studio, asked.base_id),
        {"preset": asked.preset} | asked.settings,
        dataset_id=asked.dataset_id,
        version=asked.dataset_version,
        upload_id="" if asked.dataset_id else asked.upload_id,
        mapping=asked.mapping,
    )


def _told(studio: Studio, asked: Asked) -> Forecast:
    question = _question(studio, asked)
    try:
        return forecast.forecast(studio, question)
    except DataError:  # the page says already what is wrong with the examples
        return forecast.forecast(studio, Question(question.base_id, question.choices))


def shown(told: Forecast) -> dict[str, Any]:
    """A forecast as the panel draws it."""
    facts = told.facts
    return {
        "fits": told.fits,
        "sentence": told.sentence,
        "facts": [
            {"name": name, "value": value}
            for name, value in (
                ("Steps", f"{told.steps:,}" if told.steps else ""),
                ("Tokens read", f"{told.tokens:,}" if told.tokens else ""),
                ("Time", _time(told)),
                ("Parameters that learn", f"{facts.trainable_parameters:,} ({_share(told.share)})"),
                ("Adapter file", words.size(facts.adapter_bytes)),
            )
            if value
        ],
        "can_probe": told.worth_a_probe,
        "memory": _memory(told),
        "changes": [
            {"setting": Recipe.model_fields[c.field].title, "old": c.old, "new": c.new, "cost": c.cost}
            for c in told.changes
        ],
        "apply": _to_apply(told),
        "notes": _notes(told),
        "picture": _picture(told),
    }


def _time(told: Forecast) -> str:
    if told.time is None:
        return "not known yet" if told.steps else ""
    low, high = (words.duration(seconds).removeprefix("about ") for seconds in (told.time.low, told.time.high))
    usual = words.duration(told.time.seconds)
    return usual if low == high else f"{usual} ({low} to {high})"


def _share(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else f"{share:.3%}"


def _memory(told: Forecast) -> dict[str, Any]:
    parts = told.memory.as_dict()
    total, machine = parts.pop("total"), told.machine
    scale = max(total, machine.memory_gib)
    return {
        "parts": [
            {"part": part, "name": PARTS[part], "words": _gib(gib), "share": gib / scale}
            for part, gib in parts.items()
            if gib >= _SMALLEST_GIB
        ],
        "total": _gib(total),
        "has": f"{machine.device_name}, {_gib(machine.memory_gib)}",
        "has_share": machine.memory_gib / scale,
        "free": f"{_gib(machine.free_gib)} free now",
        "free_share": machine.free_gib / scale,
    }


def _gib(gib: float) -> str:
    return f"{gib:.1f} GiB" if gib >= 10 else f"{gib:.2f} GiB"


def _to_apply(told: Forecast) -> dict[str, Any]:
    """The settings that “Make it fit” sets; a smaller batch is collected more often, so the step stays as it was."""
    applied = {change.field: change.new for change in told.changes}
    if "batch_size" in applied:
        recipe = told.recipe
        applied["gradient_accumulation"] = -(-recipe.batch_size // applied["batch_size"]) * recipe.gradient_accumulation
    return applied


def _notes(told: Forecast) -> list[str]:
    notes = [KNOWN[told.amount.known]]
    if told.checkpointing and told.recipe.gradient_checkpointing == "auto":
        notes.append("Activations are computed twice instead of kept, because they would not fit otherwise.")
    if reason := told.machine.bits.get(str(told.recipe.bits)):
        notes.append(f"The base model will be held in 16 bit instead of {told.recipe.bits}: {reason}")
    if told.time and not told.learned_from:
        notes.append("The time is a guess from runs with other base models.")
    elif told.time:
        notes.append(
            f"The time is learned from {words.count(told.learned_from, 'run')} with this model on this computer."
        )
    if not told.here:
        notes.append("The base model is not on this computer yet; its size is known from its configuration.")
    return notes


def _picture(told: Forecast) -> dict[str, Any]:
    """One transformer block, module by module in the order in which a token passes, and what stands around it."""
    facts, picture = told.facts, told.facts.picture
    return {
        "block": [_module(module) for module in picture["block"]],
        "blocks": facts.layers,
        "outside": [_module(module) for module in picture["outside"]],
        "shared": f"{picture['shared']:,}" if picture["shared"] else "",
        "learning": f"{facts.trainable_parameters:,}",
        "of": f"{facts.parameters:,}",
    }


def _module(module: dict[str, Any]) -> dict[str, Any]:
    group, _, name = module["name"].rpartition(".")
    return {
        "group": group.rpartition(".")[2],
        "name": name,
        "kind": module["kind"],
        "shape": f"{module['in']:,} × {module['out']:,}" if module["kind"] != "other" else f"{module['parameters']:,}",
        "parameters": f"{module['parameters']:,}",
        "trainable": f"{module['trainable']:,}" if module["trainable"] else "",
    }
