from typing import Any

import pytest
import torch

from studio.core.recipe import Recipe
from studio.store.base_models import BaseModel
from workers import lora, methods
from workers.model import load_base
from workers.probe import probe

# PEFT 0.21 asks transformers 5.23 by a name that it calls outdated
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def adapted(base: BaseModel, bits: int, recipe: Recipe) -> Any:
    torch.manual_seed(0)
    model = methods.attach(load_base(base, bits, probe()).model, recipe, "tiny")
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.train()


@pytest.mark.parametrize("bits", [4, 16])
def test_loss_and_gradients_are_those_of_pefts_own_layers(
    tiny_base: BaseModel, bits: int, batch: dict[str, Any]
) -> None:
    plain, ours = (adapted(tiny_base, bits, Recipe(rank=4, alpha=12)) for _ in range(2))
    assert lora.speed_up(ours)
    with torch.autocast("cpu", torch.bfloat16):
        expected = plain(**batch).loss
    got = ours(**batch).loss
    expected.backward(), got.backward()
    assert got.item() == pytest.approx(expected.item(), rel=0.02)
    for (name, a), (_, b) in zip(plain.named_parameters(), ours.named_parameters(), strict=True):
        if a.grad is not None:
            assert b.grad.dtype == torch.float32
            alike = torch.nn.functional.cosine_similarity(a.grad.flatten(), b.grad.flatten(), dim=0)
            assert alike > 0.98, name
            assert float(b.grad.norm()) == pytest.approx(float(a.grad.norm()), rel=0.1), name


def test_gradients_are_the_true_ones_in_float32() -> None:
    torch.manual_seed(0)
    base = torch.nn.Linear(6, 5).requires_grad_(False)
    x, a, b = (torch.randn(*shape, requires_grad=True) for shape in ((2, 3, 6), (4, 6), (5, 4)))
    inputs = (x, a, b)
    expected = base(x) + 0.5 * (x @ a.T) @ b.T
    got = lora._LoraLinear.apply(x, a, b, base, 0.5)
    torch.testing.assert_close(got, expected)
    weights = torch.randn_like(expected)
    for mine, theirs in zip(
        torch.autograd.grad((got * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_the_adapter_can_still_be_switched_off(tiny_base: BaseModel, batch: dict[str, Any]) -> None:
    model = adapted(tiny_base, 16, Recipe(rank=4))
    lora.speed_up(model)
    with model.disable_adapter():
        bare = model(**batch).loss.item()
    assert bare != model(**batch).loss.item()


@pytest.mark.parametrize(("bits", "dropout"), [(8, 0.0), (16, 0.1)])
def test_other_layers_are_left_to_peft(tiny_base: BaseModel, bits: int, dropout: float) -> None:
    assert not lora.speed_up(adapted(tiny_base, bits, Recipe(rank=4, dropout=dropout)))
