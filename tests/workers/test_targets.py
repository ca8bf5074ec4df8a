"""Groups of layers in architectures that name them differently, on models that have shapes only."""

from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    Phi3Config,
    PreTrainedModel,
    Qwen2Config,
    Qwen3MoeConfig,
)

from studio.core.errors import RecipeError
from studio.core.recipe import Recipe, TargetGroup
from workers import methods, targets

# PEFT 0.21 asks transformers 5.23 by a name that it calls outdated
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

SMALL: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "pad_token_id": 0,
}  # fmt: skip
LLAMA_ATTENTION, LLAMA_MLP = ["k_proj", "o_proj", "q_proj", "v_proj"], ["down_proj", "gate_proj", "up_proj"]


def model_of(config: Any) -> PreTrainedModel:
    with torch.device("meta"):
        made: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return made


CONFIGS = {
    "llama": LlamaConfig(**SMALL, tie_word_embeddings=True),
    "qwen": Qwen2Config(**SMALL, tie_word_embeddings=False),
    "gemma": AutoConfig.for_model("gemma3_text", **SMALL, head_dim=8),
    "phi3": Phi3Config(**SMALL),
    "gpt2": GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4),
    "neox": GPTNeoXConfig(**{k: v for k, v in SMALL.items() if k != "num_key_value_heads"}),
}


@pytest.mark.parametrize(
    ("name", "group", "expected"),
    [
        ("llama", "attention-qv", ["q_proj", "v_proj"]),
        ("llama", "attention", LLAMA_ATTENTION),
        ("llama", "attention-mlp", sorted(LLAMA_ATTENTION + LLAMA_MLP)),
        ("llama", "all-linear", sorted(LLAMA_ATTENTION + LLAMA_MLP)),
        ("llama", "all-linear-embeddings", sorted([*LLAMA_ATTENTION, *LLAMA_MLP, "embed_tokens"])),
        ("qwen", "all-linear-embeddings", sorted([*LLAMA_ATTENTION, *LLAMA_MLP, "embed_tokens", "lm_head"])),
        ("gemma", "attention", LLAMA_ATTENTION),
        ("phi3", "attention-qv", ["qkv_proj"]),
        ("phi3", "attention-mlp", ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"]),
        ("gpt2", "attention-qv", ["c_attn"]),
        ("gpt2", "attention", ["attn.c_proj", "c_attn"]),  # the MLP has a c_proj as well
        ("neox", "attention", ["dense", "query_key_value"]),
    ],
)
def test_groups_are_found_by_what_layers_are_for(name: str, group: TargetGroup, expected: list[str]) -> None:
    assert targets.resolve(model_of(CONFIGS[name]), group).modules == expected


@pytest.mark.parametrize("name", CONFIGS)
def test_ia3_norms_and_layers_are_found_too(name: str) -> None:
    model = model_of(CONFIGS[name])
    blocks = targets.block_names(model)
    assert len(blocks) == 2
    norms = targets.norm_names(model)
    assert len(norms) >= 5 and all("norm" in n or "ln_" in n for n in norms)
    if name != "gpt2":
        out, down = targets.scaled_names(model)
        assert out and len(down) == 1


def test_experts_get_an_adapter_and_a_rank_of_their_own() -> None:
    config = Qwen3MoeConfig(
        **SMALL, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, decoder_sparse_step=1
    )
    model = model_of(config)
    assert targets.resolve(model, "attention").parameters == []
    assert targets.resolve(model, "all-linear").parameters == ["experts.down_proj", "experts.gate_up_proj"]
    attention = 32 + 32 + 2 * (32 + 16) + 32 + 32
    # per expert: gate and up in one [2 * 16, 32], down [32, 16]
    experts = 4 * (32 + 32) + 4 * (16 + 32)
    adapted = methods.attach(model, Recipe(rank=4, bits=16), "tiny")
    assert methods.trainable_parameters(adapted) == 2 * 4 * (attention + experts)
    fewer = Recipe(rank=4, bits=16, rank_pattern={"experts.down_proj": 2})
    adapted = methods.attach(model_of(config), fewer, "tiny")
    assert methods.trainable_parameters(adapted) == 2 * (4 * (attention + 4 * 64) + 2 * 4 * 48)

    # what cannot be done on them is left out of a group, and refused by name
    adapted = methods.attach(model_of(config), Recipe(rank=4, bits=16, method="dylora"), "tiny")
    assert methods.trainable_parameters(adapted) == 2 * 4 * attention
    named = Recipe(rank=4, bits=16, dropout=0.1, target_modules=["experts.down_proj"])
    with pytest.raises(RecipeError, match="takes plain LoRA only"):
        methods.attach(model_of(config), named, "tiny")


def test_a_name_that_is_nowhere_is_told_with_those_that_are() -> None:
    with pytest.raises(RecipeError, match=r"no layer “query”\. It has: c_attn, c_fc, c_proj"):
        targets.resolve(model_of(CONFIGS["gpt2"]), ["c_attn", "query"])
