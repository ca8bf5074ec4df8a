from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bitsandbytes.nn import Linear4bit

from studio.core.errors import ModelError, RecipeError
from studio.core.recipe import Recipe
from studio.store.base_models import BaseModel
from workers import methods
from workers.model import load_base
from workers.probe import probe

# PEFT 0.21 asks transformers 5.23 by a name that it calls outdated
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def test_four_bits_hold_the_model_in_less_memory(tiny_base: BaseModel) -> None:
    machine = probe()
    four, sixteen = load_base(tiny_base, 4, machine), load_base(tiny_base, 16, machine)
    assert (four.bits, sixteen.bits) == (4, 16)
    assert four.gib < 0.7 * sixteen.gib
    assert not four.notice
    layers = [m for m in four.model.modules() if isinstance(m, Linear4bit)]
    assert len(layers) == 14 and not any(m.support_avx512bf16_for_cpu for m in layers)


def test_where_four_bits_are_not_to_be_had_sixteen_are_used_and_the_user_is_told(tiny_base: BaseModel) -> None:
    machine = replace(probe(), bits={4: "bitsandbytes, which does it, is not installed.", 8: "", 16: ""})
    loaded = load_base(tiny_base, 4, machine)
    assert loaded.bits == 16
    assert loaded.notice == (
        "Trained with the base model in 16 bit instead of 4: bitsandbytes, which does it, is not installed."
    )


def test_a_folder_that_is_no_model_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="The base model Broken could not be loaded"):
        load_base(BaseModel("x", "Broken", tmp_path, "", ""), 16, probe())


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_the_adapter_learns_in_float32_and_nothing_else_learns(tiny_base: BaseModel, bits: int) -> None:
    model = methods.attach(load_base(tiny_base, bits, probe()).model, Recipe(rank=4), "tiny/base")
    learning = {name: p.dtype for name, p in model.named_parameters() if p.requires_grad}
    assert set(learning.values()) == {torch.float32}
    assert all("lora_" in name for name in learning)
    assert len(learning) == 2 * 14  # A and B for each linear layer, the head excepted
    assert model.peft_config["default"].base_model_name_or_path == "tiny/base"


def test_layers_that_the_model_does_not_have_are_named_with_those_it_has(tiny_base: BaseModel) -> None:
    model = load_base(tiny_base, 16, probe()).model
    with pytest.raises(RecipeError, match=r"no layer “query”\. It has: down_proj, embed_tokens, gate_proj") as error:
        methods.attach(model, Recipe(target_modules=["q_proj", "query"]), "tiny")
    assert "target_modules" in error.value.fields
