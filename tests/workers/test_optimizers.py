"""Every optimizer goes on from a snapshot as if nothing had happened; schedules rise and fall as they say."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import nn
from transformers.optimization import get_scheduler

from studio.core.recipe import Optimizer, Recipe
from workers import optimizers, snapshot

WIDTH = 96  # squared more than bitsandbytes' 4,096 numbers, below which it keeps 32 bits


def learner() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4))


def recipe_of(**choices: Any) -> Recipe:
    return Recipe.model_validate({"learning_rate": 1e-2, "weight_decay": 0.1} | choices)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> float:
    loss = torch.zeros(())
    for step in steps:
        x = torch.randn(16, WIDTH, generator=torch.Generator().manual_seed(step % 3))
        loss = (model(x) - x[:, :4]).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    return float(loss.detach())


def create(model: nn.Module, **choices: Any) -> torch.optim.Optimizer:
    return optimizers.create(recipe_of(**choices), [{"params": list(model.parameters())}])


@pytest.mark.parametrize("name", get_args(Optimizer))
def test_a_snapshot_in_the_middle_changes_nothing(name: str, tmp_path: Path) -> None:
    whole = learner()
    first, last = (train(whole, create(whole, optimizer=name), range(n)) for n in (1, 12))
    assert last < first

    whole, cut = learner(), learner()
    train(whole, create(whole, optimizer=name), range(6))
    before = create(cut, optimizer=name)
    train(cut, before, range(3))
    snapshot.save(tmp_path, {"optimizer": before.state_dict(), "weights": snapshot.learning_weights(cut)})

    state, resumed = snapshot.load(tmp_path), learner()
    after = create(resumed, optimizer=name)
    snapshot.restore_weights(resumed, state["weights"])
    after.load_state_dict(state["optimizer"])
    train(resumed, after, range(3, 6))
    for (key, a), (_, b) in zip(whole.named_parameters(), resumed.named_parameters(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize("name", get_args(Optimizer))
def test_a_schedule_reaches_every_group(name: str) -> None:
    model = learner()
    halves = [list(model[0].parameters()), list(model[2].parameters())]  # type: ignore[index]
    groups: list[optimizers.Group] = [{"params": halves[0]}, {"params": halves[1], "lr": 0.08}]
    optimizer = optimizers.create(recipe_of(optimizer=name), groups)
    assert sorted({group["lr"] for group in optimizer.param_groups}) == [0.01, 0.08]
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    train(model, optimizer, range(1))
    assert all(torch.equal(p, before[key]) for key, p in model.named_parameters())


def test_matrices_decay_and_vectors_do_not() -> None:
    groups = create(learner()).param_groups
    assert [(group["weight_decay"], {p.ndim for p in group["params"]}) for group in groups] == [(0.1, {2}), (0.0, {1})]


def test_eight_bit_states_are_small() -> None:
    model = learner()
    sizes = {}
    for name in ("adamw", "adamw-8bit"):
        optimizer = create(model, optimizer=name)
        train(model, optimizer, range(1))
        weight = next(p for p in model.parameters() if p.numel() == WIDTH * WIDTH)
        sizes[name] = sum(t.nbytes for t in optimizer.state[weight].values() if torch.is_tensor(t) and t.numel() > 256)
    assert sizes["adamw-8bit"] <= sizes["adamw"] / 3.9


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ("constant", {5: 0.5, 10: 1.0, 60: 1.0, 99: 1.0}),
        ("linear", {5: 0.5, 10: 1.0, 55: 0.5, 100: 0.0}),
        ("cosine", {5: 0.5, 10: 1.0, 55: 0.5, 100: 0.0}),
        ("wsd", {5: 0.5, 10: 1.0, 79: 1.0, 85: 0.5, 100: 0.0}),  # 1 - sqrt(1/4) a quarter down the last fifth
    ],
)
def test_the_rate_rises_and_falls(scheduler: str, expected: dict[int, float]) -> None:
    given = optimizers.schedule(Recipe.model_validate({"scheduler": scheduler, "warmup_ratio": 0.1}), 100)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = get_scheduler(
        given["lr_scheduler_type"], optimizer, given["warmup_steps"], 100, given.get("lr_scheduler_kwargs", {})
    )
    rates = []
    for _ in range(101):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    for step, rate in expected.items():
        assert rates[step] == pytest.approx(rate, abs=1e-6), step
