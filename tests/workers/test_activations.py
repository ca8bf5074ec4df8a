from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from studio.core.recipe import Recipe
from workers import activations, lora, loss, methods
from workers.probe import probe

# PEFT 0.21 asks transformers 5.23 by a name that it calls outdated
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def model_of(attention: str) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=96, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=4, attn_implementation=attention, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(torch.bfloat16)


@pytest.mark.parametrize(("attention", "tokens"), [("eager", 64), ("sdpa", 64), ("sdpa", 300)])
def test_the_estimate_is_not_far_above_or_below_what_is_kept(attention: str, tokens: int) -> None:
    base = model_of(attention)
    loss.install(base)
    model = methods.attach(base, Recipe(rank=4), "tiny").train()
    assert lora.speed_up(model)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage  # held, so that no other takes its place
        return tensor

    ids = torch.randint(3, 60, (2, tokens))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(input_ids=ids, labels=ids)
    measured = sum(storage.nbytes() for storage in kept.values())
    estimated = activations.kept_bytes(base.config, 2, tokens, 2)
    assert 0.8 < estimated / measured < 2


def test_memory_decides_only_where_the_recipe_leaves_it_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model, machine = model_of("sdpa"), replace(probe(), device="cpu")
    needed = activations.kept_bytes(model.config, 4, 128, machine.dtype.itemsize)
    for free, wanted in ((needed, True), (2 * needed, False)):
        monkeypatch.setattr(activations, "free_bytes", lambda _, free=free: free)
        assert activations.wanted("auto", model, 4, 128, machine) is wanted
        assert activations.wanted("on", model, 4, 128, machine)
        assert not activations.wanted("off", model, 4, 128, machine)
