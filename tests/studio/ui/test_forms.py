"""Every field of the recipe as a widget, there and back."""

import asyncio
from typing import Any

import gradio as gr
import pytest

from studio.core.choices import build
from studio.core.errors import RecipeError
from studio.core.presets import for_preset
from studio.core.recipe import ADVANCED_FIELDS, PRESETS, Recipe
from studio.ui import forms

# one value a field that is not what any preset gives
OTHER: dict[str, Any] = {
    "method": "dora", "initialization": "olora", "rslora": True, "lora_plus_ratio": 16.0, "rank_pattern": "q_proj=4",
    "virtual_tokens": 8, "trained_layers": 3, "quantization": "fp4", "double_quantization": False,
    "optimizer": "muon", "max_gradient_norm": 0.5, "neftune_alpha": 5.0, "label_smoothing": 0.1,
    "gradient_checkpointing": "on", "keep_best": False, "patience": 5,
    "bits": 16, "rank": 5, "alpha": 7, "dropout": 0.05, "target_modules": "q_proj, v_proj",
    "learning_rate": 1e-5, "epochs": 2.5, "max_steps": 11, "batch_size": 3, "gradient_accumulation": 2,
    "max_length": 333, "packing": True, "warmup_ratio": 0.2, "scheduler": "linear", "weight_decay": 0.01,
    "validation_fraction": 0.25, "hold_back": "group", "hold_back_by": "customer", "seed": 7,
    "checkpoint_minutes": 3.5, "checkpoint_steps": 50,
}  # fmt: skip


@pytest.fixture(scope="module")
def widgets() -> dict[str, Any]:
    async def lay_out() -> dict[str, Any]:  # inside a loop: Gradio leaves one open behind otherwise
        with gr.Blocks(analytics_enabled=False):
            return forms.widgets()

    return asyncio.run(lay_out())


def through_a_browser(widget: Any, value: Any) -> Any:
    """What a handler gets back when the browser returns what it was shown."""
    shown = widget.postprocess(value)
    return widget.preprocess(float(shown) if isinstance(widget, gr.Number) else shown)


def test_every_field_has_a_widget_with_its_words(widgets: dict[str, Any]) -> None:
    assert tuple(widgets) == ADVANCED_FIELDS
    for name, widget in widgets.items():
        assert widget.label == Recipe.model_fields[name].title
        assert widget.info.startswith(Recipe.model_fields[name].description)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_survives_the_form(widgets: dict[str, Any], preset: Any) -> None:
    recipe = for_preset(preset, 180, 10**8)
    values = {name: through_a_browser(widgets[name], value) for name, value in forms.to_values(recipe).items()}
    assert build({"preset": preset} | forms.to_choices(values), 180, 10**8) == recipe
    assert forms.changed(values, forms.to_values(recipe)) == {}


@pytest.mark.parametrize("name", ADVANCED_FIELDS)
def test_a_changed_field_survives_the_form(widgets: dict[str, Any], name: str) -> None:
    wanted = build({name: OTHER[name]}, 180, 10**8)
    values = {key: through_a_browser(widgets[key], value) for key, value in forms.to_values(wanted).items()}
    assert build(forms.to_choices(values), 180, 10**8) == wanted
    assert set(forms.changed(values, forms.to_values(for_preset("balanced", 180, 10**8)))) == {name}


@pytest.mark.parametrize(
    ("name", "value"),
    [("rank", 0), ("rank", 10_000_000), ("rank", 2.5), ("rank", None), ("learning_rate", 0), ("target_modules", ".*(")],
)
def test_nonsense_is_passed_on_to_be_explained(name: str, value: Any) -> None:
    values = forms.to_values(for_preset("balanced", 180, 10**8)) | {name: value}
    with pytest.raises(RecipeError) as refused:
        build(forms.to_choices(values), 180, 10**8)
    assert set(refused.value.fields) == {name}
