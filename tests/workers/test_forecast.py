import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from studio.core import catalog
from studio.core.errors import ModelError, RecipeError
from studio.core.recipe import Recipe
from studio.store.base_models import BaseModel
from workers import forecast, lora, methods

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
LLAMA_8B = "meta-llama/Llama-3.1-8B"
QKVO = ["q_proj", "k_proj", "v_proj", "o_proj"]


def of_catalog(model_id: str) -> Any:
    found = catalog.configuration(model_id)
    assert found
    return forecast.configuration(found)


@pytest.mark.parametrize("model", catalog.CATALOG.values(), ids=lambda model: model.id)
def test_the_catalogs_configurations_give_the_published_numbers(model: catalog.CatalogModel) -> None:
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(of_catalog(model.id))
    assert built.num_parameters() == model.parameters
    assert built.config.max_position_embeddings == model.context


def test_llama_8b_is_counted_without_its_weights() -> None:
    found = forecast.facts(of_catalog(LLAMA_8B), Recipe(rank=16, target_modules=QKVO), 2048)
    assert found["trainable_parameters"] == 13_631_488
    assert found["parameters"] == 8_030_261_248
    assert found["adapter_bytes"] == 4 * 13_631_488
    assert found["picture"]["learning_in_blocks"] == 13_631_488


def test_a_matrix_of_4096_by_4096_learns_65536_parameters_at_rank_8() -> None:
    found = forecast.facts(of_catalog(LLAMA_8B), Recipe(rank=8, target_modules=["q_proj"]), 2048)
    (q_proj,) = (module for module in found["picture"]["block"] if module["trainable"])
    assert (q_proj["name"], q_proj["in"], q_proj["out"]) == ("self_attn.q_proj", 4096, 4096)
    assert (q_proj["parameters"], q_proj["trainable"]) == (4096 * 4096, 65_536)
    assert found["trainable_parameters"] == 32 * 65_536


@pytest.fixture
def real(tiny_base: BaseModel) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_base.path, dtype=torch.bfloat16, attn_implementation="eager")


def test_counts_are_those_of_the_real_model(tiny_base: BaseModel, real: Any) -> None:
    recipe = Recipe(rank=4)
    found = forecast.facts(forecast.configuration(tiny_base.path), recipe, 24)
    assert found["parameters"] == real.num_parameters()
    linear = [m for m in real.modules() if isinstance(m, nn.Linear) and m is not real.get_output_embeddings()]
    assert found["linear_parameters"] == sum(m.weight.numel() for m in linear)
    assert found["trainable_parameters"] == methods.trainable_parameters(methods.attach(real, recipe, "tiny"))


def test_a_step_keeps_what_autograd_really_keeps(tiny_base: BaseModel, real: Any) -> None:
    recipe, tokens = Recipe(rank=4), 128
    adapted = methods.attach(real, recipe, "tiny")
    assert lora.speed_up(adapted)
    adapted.train()
    owned = {p.untyped_storage().data_ptr() for p in adapted.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        real.base_model(input_ids=torch.ones(1, tokens, dtype=torch.long), use_cache=False)
    found = forecast.facts(forecast.configuration(tiny_base.path), recipe, tokens)["step"]
    assert found["fast"] and not found["autocast"] and found["tokens"] == tokens
    assert found["off"]["kept"] == pytest.approx(sum(kept.values()), rel=0.1)
    assert found["on"]["kept"] < 0.3 * found["off"]["kept"]


def test_an_adapter_of_peft_itself_is_traced_too(tiny_base: BaseModel) -> None:
    plain = forecast.facts(forecast.configuration(tiny_base.path), Recipe(rank=4), 512)["step"]
    dropped = forecast.facts(forecast.configuration(tiny_base.path), Recipe(rank=4, dropout=0.1), 512)["step"]
    assert dropped["autocast"] and not dropped["fast"]
    assert dropped["off"]["peak"] > 1.2 * plain["off"]["peak"]


def test_what_cannot_be_counted_is_a_sentence(tiny_base: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="This base model has no"):
        forecast.facts(forecast.configuration(tiny_base.path), Recipe(target_modules=["no_proj"]), 24)
    with pytest.raises(ModelError, match="configuration cannot be read"):
        forecast.configuration({"model_type": "nobody-knows-it"})
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit", "hidden_size": 32}))
    with pytest.raises(ModelError, match="cannot train a model of the kind “vit”"):
        forecast.facts(forecast.configuration(tmp_path), Recipe(), 24)


def test_the_machine_is_told_with_the_probes_words() -> None:
    found = forecast.machine()
    assert found["memory_gib"] >= found["free_gib"] > 0
    assert found["bits"]["16"] == ""
    assert 0.1 < found["framework_gib"] < 4
