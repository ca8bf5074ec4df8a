"""What counts as better, when enough is enough, and which weights are kept."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from workers import snapshot
from workers.best import LEAST_IMPROVEMENT, Best


def learner(value: float = 0.0) -> PeftModel:
    model = get_peft_model(nn.Sequential(nn.Linear(1, 1)), LoraConfig(r=1, target_modules=["0"]))
    assert isinstance(model, PeftModel)
    return set_to(model, value)


def weight(model: PeftModel) -> torch.nn.Parameter:
    return model.base_model.model[0].lora_B["default"].weight


def set_to(model: PeftModel, value: float) -> PeftModel:
    with torch.no_grad():
        weight(model).fill_(value)
    return model


def seen(losses: list[float], patience: int = 3, keep: bool = True) -> tuple[Best, Any]:
    """A best check that saw those losses; the weight is the number of the check."""
    model = learner()
    best = Best(model, keep, patience)
    for step, loss in enumerate(losses, start=1):
        set_to(model, step)
        best.see(step, loss)
    return best, model


def test_the_weights_of_the_lowest_loss_come_back() -> None:
    best, model = seen([3.0, 2.0, 2.5, 2.2])
    assert (best.step, best.loss) == (2, 2.0)
    assert best.put_back() and weight(model).item() == 2


@pytest.mark.parametrize(
    ("losses", "patience", "exhausted"),
    [
        ([3.0, 2.0, 2.5, 2.2], 3, False),
        ([3.0, 2.0, 2.5, 2.2, 2.1], 3, True),
        ([3.0, 2.0, 2.5, 2.2, 1.9, 2.0], 3, False),  # it counts from the newest best one
        ([2.0] * 9, 0, False),
        ([2.0, 2.0 - LEAST_IMPROVEMENT / 2, 2.0 - LEAST_IMPROVEMENT / 2], 2, True),  # less than that is noise
        ([2.0, float("nan"), float("nan")], 2, True),
    ],
)
def test_patience_ends_after_so_many_checks_without_improvement(
    losses: list[float], patience: int, exhausted: bool
) -> None:
    assert seen(losses, patience)[0].exhausted is exhausted


def test_without_keeping_there_is_nothing_to_put_back() -> None:
    best, model = seen([3.0, 2.0, 2.5], keep=False)
    assert best.step == 2 and not best.put_back() and weight(model).item() == 3


def test_a_snapshot_carries_it_all(tmp_path: Path) -> None:
    before, _ = seen([3.0, 2.0, 2.5])
    snapshot.save(tmp_path, {"best": before.state()})
    model = learner(9)
    after = Best(model, True, 3)
    after.restore(snapshot.load(tmp_path)["best"])
    after.see(4, 2.1)
    assert not after.exhausted
    after.see(5, 2.1)
    assert after.exhausted and (after.step, after.loss) == (2, 2.0)
    assert after.put_back() and weight(model).item() == 2


def test_nothing_seen_survives_a_snapshot_too(tmp_path: Path) -> None:
    snapshot.save(tmp_path, {"best": Best(learner(), True, 3).state()})
    after = Best(learner(), True, 3)
    after.restore(snapshot.load(tmp_path)["best"])
    after.see(1, 100.0)
    assert after.step == 1
