"""Every field of `core.recipe.Recipe` as a widget, and the widgets' values back as choices for `core.recipe.build`."""

from typing import Any, get_args

import gradio as gr
from gradio.components import Component
from pydantic.fields import FieldInfo

from studio.core.recipe import ADVANCED_FIELDS, PRESETS, Preset, Recipe


def widgets() -> dict[str, Any]:
    """One widget a field of “More settings”, in the recipe's order; to be called inside a Gradio layout."""
    start = to_values(Recipe())
    return {name: _widget(name, Recipe.model_fields[name], start[name]) for name in ADVANCED_FIELDS}


def to_values(recipe: Recipe) -> dict[str, Any]:
    """A recipe as the widgets show it."""
    values = {name: getattr(recipe, name) for name in ADVANCED_FIELDS}
    return {name: _written(value) for name, value in values.items()}


def to_choices(values: dict[str, Any]) -> dict[str, Any]:
    """Widgets' values as choices for `build`; nothing is judged here, so that `build` can say what is wrong."""
    return {name: _whole(value) for name, value in values.items() if name in ADVANCED_FIELDS}


def changed(values: dict[str, Any], usual: Recipe) -> dict[str, Any]:
    """Only the choices that differ from the `usual` recipe."""
    usual_choices = to_choices(to_values(usual))
    return {name: value for name, value in to_choices(values).items() if value != usual_choices[name]}


def _written(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{name}={number}" for name, number in value.items())
    return ", ".join(value) if isinstance(value, list) else value


def known_preset(text: Any) -> Preset:
    return next((preset for preset in PRESETS if preset == text), "balanced")


def _widget(name: str, field: FieldInfo, value: Any) -> Component:
    label, info = field.title or name, f"{field.description} {_bounds(field)}".strip()
    allowed = get_args(field.annotation)
    if name in {"target_modules", "rank_pattern"} or field.annotation is str:
        return gr.Textbox(value, label=label, info=info, max_lines=1, elem_id=f"setting-{name}")
    if allowed:
        return gr.Dropdown(list(allowed), value=value, label=label, info=info, elem_id=f"setting-{name}")
    if field.annotation is bool:
        return gr.Checkbox(value, label=label, info=info, elem_id=f"setting-{name}")
    # no minimum and maximum: Gradio would refuse them in its own words, before `build` can say what to do
    return gr.Number(value, label=label, info=info, step=_step(field), elem_id=f"setting-{name}")


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
