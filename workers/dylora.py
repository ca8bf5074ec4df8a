"""DyLoRA: one run that trains every rank up to the adapter's own, so that the rank can be chosen afterwards.

For each batch a rank b is drawn from 1..r and only the first b rows of A and columns of B take part, with the scale of
an adapter of rank b; what matters most thus gathers in the first ones. `studio.services.truncation` cuts
a trained adapter down. Valipour et al. 2022, arXiv:2210.07558: b uniform, all of the first b learn.
"""

import math
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn


class Nested:
    """The rank of the batch that is being learned, as factors for the rows of A: [rank], 0 beyond the drawn one.

    Factors, not slices: they work with every kind of base layer, and gradients of what is left out are exactly 0.
    """

    def __init__(self, rank: int, rank_stabilized: bool) -> None:
        self.rank, self._root = rank, rank_stabilized
        self.drawn = rank
        self._rows = torch.arange(rank)

    def draw(self) -> None:
        """From torch's random numbers, which a checkpoint keeps."""
        self.drawn = int(torch.randint(1, self.rank + 1, ()))

    def factors(self, like: Tensor) -> Tensor:
        scale = self.rank / self.drawn
        kept = (self._rows < self.drawn) * (math.sqrt(scale) if self._root else scale)
        return kept.to(like)


def nest(model: PeftModel, rank: int, rank_stabilized: bool) -> None:
    """Make a LoRA model draw a rank for each batch it learns from; otherwise it uses all of its rank."""
    nested = Nested(rank, rank_stabilized)

    def before(module: nn.Module, given: Any) -> None:
        if module.training and torch.is_grad_enabled():
            nested.draw()

    model.register_forward_pre_hook(before)
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.nested = nested
            layer.lora_A["default"].register_forward_hook(_masked(nested))


def of(layer: nn.Module) -> Nested | None:
    return getattr(layer, "nested", None)


def _masked(nested: Nested) -> Any:
    def after(module: nn.Module, given: Any, low: Tensor) -> Tensor | None:
        return low * nested.factors(low) if module.training and torch.is_grad_enabled() else None

    return after
