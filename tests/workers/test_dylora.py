"""DyLoRA's promise: one training, and every smaller rank is as useful as it can be."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load, load_file

from studio.core.recipe import Recipe
from studio.services import truncation
from studio.store.base_models import BaseModel
from workers import dylora, lora, loss, methods
from workers.model import load_base
from workers.probe import probe

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
RANK = 8


def trained(base: BaseModel, method: str, batch: dict[str, Any], steps: int) -> PeftModel:
    torch.manual_seed(0)
    recipe = Recipe.model_validate({"method": method, "rank": RANK, "alpha": 16, "bits": 16, "learning_rate": 3e-3})
    model = load_base(base, 16, probe()).model
    loss.install(model)
    adapted = methods.attach(model, recipe, "tiny")
    optimizer = torch.optim.AdamW(methods.parameter_groups(adapted, recipe))
    assert lora.speed_up(adapted)
    adapted.train()
    for _ in range(steps):
        adapted(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return adapted.eval()


@torch.no_grad()
def loss_at(base: BaseModel, folder: Path, rank: int, batch: dict[str, Any], cut: Path) -> float:
    """Of the adapter in `folder`, cut to `rank`, as plain PEFT loads it."""
    import json

    config = truncation.truncate_config(json.loads((folder / "adapter_config.json").read_text()), rank)
    cut.mkdir(exist_ok=True)
    (cut / "adapter_config.json").write_text(json.dumps(config))
    weights = folder / "adapter_model.safetensors"
    (cut / "adapter_model.safetensors").write_bytes(truncation.truncate_weights(str(weights), rank))
    loaded = PeftModel.from_pretrained(load_base(base, 16, probe()).model, cut).eval()
    return float(loaded(**batch).loss)


def test_its_smaller_ranks_are_better_than_those_cut_from_plain_lora(
    tiny_base: BaseModel, batch: dict[str, Any], tmp_path: Path
) -> None:
    losses = {}
    for method in ("lora", "dylora"):
        folder = tmp_path / method
        folder.mkdir()
        methods.save(trained(tiny_base, method, batch, 60), folder, {"format": "pt"})
        losses[method] = [loss_at(tiny_base, folder, rank, batch, tmp_path / "cut") for rank in (1, 2, 4, RANK)]
    plain, nested = losses["lora"], losses["dylora"]
    assert all(ours < theirs for ours, theirs in zip(nested[:3], plain[:3], strict=True)), losses
    assert nested[0] < 0.7 * plain[0]
    assert nested == sorted(nested, reverse=True)  # more rank is never worse


def test_a_batch_uses_the_first_rows_with_the_scale_of_their_rank(tiny_base: BaseModel, batch: dict[str, Any]) -> None:
    """Both in PEFT's layers and in our own forward: as an adapter of the drawn rank would be."""
    for quick in (False, True):
        model = trained(tiny_base, "dylora", batch, 2).train()
        if not quick:  # the layers as PEFT has them
            for layer in model.modules():
                layer.__dict__.pop("forward", None) if dylora.of(layer) else None
        torch.manual_seed(5)
        with torch.autocast("cpu", torch.bfloat16, enabled=not quick):
            got = model(**batch).loss
        got.backward()
        layer = next(m for m in model.modules() if dylora.of(m))
        nested = dylora.of(layer)
        assert nested is not None and 0 < nested.drawn < RANK
        columns = layer.lora_B["default"].weight.grad.abs().sum(0) > 0
        assert columns.tolist() == [row < nested.drawn for row in range(RANK)]
        with torch.no_grad():
            for part in model.modules():
                if dylora.of(part):
                    part.lora_B["default"].weight[:, nested.drawn :] = 0
                    part.scaling["default"] = 16 / nested.drawn
            assert model.eval()(**batch).loss.item() == pytest.approx(got.item(), rel=0.01)


def test_ranks_are_drawn_from_random_numbers_that_a_checkpoint_keeps() -> None:
    nested = dylora.Nested(RANK, False)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = [nested.draw() or nested.drawn for _ in range(200)]
    torch.set_rng_state(state)
    assert first == [nested.draw() or nested.drawn for _ in range(200)]
    assert set(first) == set(range(1, RANK + 1))


def test_a_cut_file_is_in_order_and_its_rest_unchanged(
    tiny_base: BaseModel, batch: dict[str, Any], tmp_path: Path
) -> None:
    methods.save(trained(tiny_base, "dylora", batch, 1), tmp_path, {"format": "pt", "base_id": "x", "a": "b"})
    path = tmp_path / "adapter_model.safetensors"
    cut = truncation.truncate_weights(str(path), 3)
    assert cut == truncation.truncate_weights(str(path), 3)
    whole, part = load_file(path), load(cut)
    assert whole.keys() == part.keys()
    for name, tensor in part.items():
        assert torch.equal(tensor, whole[name][:3] if "lora_A" in name else whole[name][:, :3])
