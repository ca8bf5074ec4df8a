"""The first page's radio cards: a label in lines, of which the first is the name."""

from typing import Any

from studio.core.presets import Facts, advise
from studio.core.recipe import PRESETS, Recipe
from studio.services import base_models, runs
from studio.services.context import Studio
from studio.ui import forms, words

Card = tuple[str, Any]  # the label and its value
_PRESET_WORDS = {
    "quick": "A first look. Learns the gist.",
    "balanced": "Right for most uses.",
    "thorough": "Learns more detail, takes longest.",
    "auto": "Trains until it stops getting better.",
}


def bases(studio: Studio) -> list[Card]:
    """The name, what it is for, its licence and whether it must be fetched."""
    return [
        (
            f"{choice.name}\n{choice.words}\n{choice.licence} · "
            + ("ready on this computer" if choice.here else "will be downloaded first"),
            choice.id,
        )
        for choice in base_models.choices(studio)
    ]


def presets(facts: Facts) -> list[Card]:
    """The name, what it is for, and what it means for these examples."""

    def reads(preset: str) -> str:
        epochs = advise(forms.known_preset(preset), facts).recipe.epochs
        times = f"{'at most ' * (preset == 'auto')}{epochs:g} time{'' if epochs == 1 else 's'}"
        return f"\nReads your examples {times}" if facts.rows else ""

    return [(f"{preset.capitalize()}\n{_PRESET_WORDS.get(preset, '')}{reads(preset)}", preset) for preset in PRESETS]


def plan(recipe: Recipe, rows: int) -> str:
    """“162 to learn from · 18 held back to check · about 5 passes, 205 steps”."""
    planned = runs.plan(rows, recipe)
    checked = (
        f"{planned.validation_rows:,} held back to check" if planned.validation_rows else "none held back to check"
    )
    passes = f"{words.passes(recipe.epochs)}, {words.count(planned.steps, 'step')}"
    return f"{planned.train_rows:,} to learn from · {checked} · {passes}"
