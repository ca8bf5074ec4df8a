"""Every field of `core.recipe.Recipe` as a widget, and the widgets' values back as choices for `core.choices.build`."""

from collections.abc import Iterable
from typing import Any, get_args

import gradio as gr
from gradio.components import Component
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from studio.core.methods import METHODS
from studio.core.recipe import ADVANCED_FIELDS, PRESETS, Method, Preset, Recipe


def widgets(names: Iterable[str] = ADVANCED_FIELDS) -> dict[str, Component]:
    """One widget a field, in this order; to be called inside a Gradio layout."""
    start = to_values(Recipe())
    return {name: _widget(name, Recipe.model_fields[name], start[name]) for name in names}


def to_values(recipe: Recipe) -> dict[str, Any]:
    """A recipe as the widgets show it."""
    return {name: written(getattr(recipe, name)) for name in ADVANCED_FIELDS}


def to_choices(values: dict[str, Any]) -> dict[str, Any]:
    """Widgets' values as choices for `build`; nothing is judged here, so that `build` can say what is wrong."""
    return {name: _whole(value) for name, value in values.items() if name in ADVANCED_FIELDS}


def changed(values: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """Only the choices that differ from the `usual` values."""
    before = to_choices(usual)
    return {name: value for name, value in to_choices(values).items() if name in before and value != before[name]}


def usable(choices: dict[str, Any], usual: Recipe) -> Recipe:
    """The `usual` recipe with those of the choices laid over it that can be, each looked at for itself."""
    recipe = usual
    for name, value in choices.items():
        try:
            recipe = Recipe.model_validate(recipe.model_dump() | {name: value})
        except ValidationError:
            continue
    return recipe


def showable(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of a browser's settings that a widget can show at all; a number may still be out of bounds."""
    return {n: written(value) for n, value in settings.items() if n in ADVANCED_FIELDS and _fits(n, written(value))}


def written(value: Any) -> Any:
    """A recipe's value as a person types it."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={number}" for name, number in value.items())
    return ", ".join(str(part) for part in value) if isinstance(value, list) else value


def known_preset(text: Any) -> Preset:
    return next((preset for preset in PRESETS if preset == text), "balanced")


def known_method(text: Any) -> Method:
    return next((method for method in METHODS if method == text), "lora")


def options(name: str) -> tuple[Any, ...]:
    """The values between which a field chooses; none if it is a number, a text or yes and no."""
    return () if name in _TEXTS else get_args(Recipe.model_fields[name].annotation)


def help_of(name: str) -> str:
    """What a field means, and what may stand in it."""
    field = Recipe.model_fields[name]
    return f"{field.description} {_bounds(field)}".strip()


_TEXTS = {n for n, field in Recipe.model_fields.items() if field.annotation is str} | {"target_modules", "rank_pattern"}


def _widget(name: str, field: FieldInfo, value: Any) -> Component:
    look: dict[str, Any] = {"label": field.title or name, "info": help_of(name), "elem_id": f"setting-{name}"}
    if name == "method":
        return gr.Radio([(m.name, key) for key, m in METHODS.items()], value=value, elem_classes="cards", **look)
    if name in _TEXTS:
        return gr.Textbox(value, max_lines=1, **look)
    if options(name):
        return gr.Dropdown(list(options(name)), value=value, **look)
    if field.annotation is bool:
        return gr.Checkbox(value, **look)
    # no minimum and maximum: Gradio would refuse them in its own words, before `build` can say what to do
    return gr.Number(value, step=_step(field), **look)


def _fits(name: str, value: Any) -> bool:
    if name in _TEXTS:
        return isinstance(value, str)
    if options(name):
        return value in options(name)
    if Recipe.model_fields[name].annotation is bool:
        return isinstance(value, bool)
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _bounds(field: FieldInfo) -> str:
    low = next((m.ge for m in field.metadata if hasattr(m, "ge")), None)
    above = next((m.gt for m in field.metadata if hasattr(m, "gt")), None)
    high = next((m.le for m in field.metadata if hasattr(m, "le")), None)
    if high is None:
        return ""
    return f"Above {above:g}, up to {high:,}." if low is None else f"{low:g} to {high:,}."


def _step(field: FieldInfo) -> float:
    if field.annotation is int:
        return 1
    return 0.0001 if field.title == "Learning rate" else 0.01


def _whole(value: Any) -> Any:
    """A browser's number field gives 8.0 for 8."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
