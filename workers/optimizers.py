"""From a recipe to an optimizer and a schedule."""

import math
from typing import Any

import bitsandbytes
import torch
from torch.optim import AdamW, Muon, Optimizer
from transformers.optimization import Adafactor
from transformers.trainer_utils import SchedulerType

from studio.core.recipe import Recipe

DECAY_SHARE = 0.2  # of the run, in which the rate of a wsd schedule falls (Hägele et al. 2024, arXiv:2405.18392)

Group = dict[str, Any]  # `params`, and `lr` where it is not the recipe's


def create(recipe: Recipe, groups: list[Group]) -> Optimizer:
    """The recipe's optimizer of `groups`. Vectors (biases, norms, scales) do not decay: most have their rest at 1."""
    parts = [part for group in groups for part in _by_shape(group, recipe.weight_decay)]
    rate = recipe.learning_rate
    if recipe.optimizer == "adamw":
        return AdamW(parts, lr=rate, fused=True)
    if recipe.optimizer == "adafactor":
        return Adafactor(parts, lr=rate, scale_parameter=False, relative_step=False)
    if recipe.optimizer == "muon":
        return _Muon(parts, rate)
    kind = bitsandbytes.optim.AdamW8bit if recipe.optimizer.endswith("8bit") else bitsandbytes.optim.AdamW
    paged = recipe.optimizer.startswith("paged") and parts[0]["params"][0].is_cuda  # a processor has nothing to page
    made: Optimizer = kind(parts, lr=rate, is_paged=paged)
    return made


def schedule(recipe: Recipe, total_steps: int) -> dict[str, Any]:
    """transformers' arguments for the recipe's schedule, the warm-up included."""
    arguments: dict[str, Any] = {"warmup_steps": math.ceil(recipe.warmup_ratio * total_steps)}
    if recipe.scheduler == "wsd":
        falling = {"num_decay_steps": math.ceil(DECAY_SHARE * total_steps), "decay_type": "1-sqrt"}
        return arguments | {"lr_scheduler_type": SchedulerType.WARMUP_STABLE_DECAY, "lr_scheduler_kwargs": falling}
    if recipe.scheduler == "constant":
        return arguments | {"lr_scheduler_type": SchedulerType.CONSTANT_WITH_WARMUP}
    return arguments | {"lr_scheduler_type": SchedulerType(recipe.scheduler)}


def _by_shape(group: Group, weight_decay: float) -> list[Group]:
    matrices = [p for p in group["params"] if p.squeeze().ndim > 1]  # IA3 keeps its vectors as [width, 1]
    others = [p for p in group["params"] if p.squeeze().ndim <= 1]
    parts = ({"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0})
    return [group | part for part in parts if part["params"]]


class _Muon(Optimizer):
    """Muon (Jordan et al. 2024) for matrices and AdamW for all else, as one optimizer.

    The step is scaled as Liu et al. (2025, arXiv:2502.16982) do, so AdamW's learning rates suit it.
    """

    def __init__(self, groups: list[Group], lr: float) -> None:
        super().__init__(groups, {"lr": lr})
        matrices = [g for g in self.param_groups if all(p.ndim == 2 for p in g["params"])]
        others = [g for g in self.param_groups if not all(p.ndim == 2 for p in g["params"])]
        self._parts: list[Optimizer] = []
        if matrices:
            self._parts.append(Muon(matrices, lr=lr, adjust_lr_fn="match_rms_adamw"))
        if others:
            self._parts.append(AdamW(others, lr=lr, fused=True))
        self._gather()

    def _gather(self) -> None:
        """A schedule writes its rates into the groups that the parts read."""
        self.param_groups = [group for part in self._parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._gather()
