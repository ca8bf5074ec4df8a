"""From a recipe to adapter layers on a base model."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import PreTrainedModel

from studio.core.errors import RecipeError
from studio.core.recipe import Recipe


def attach(model: PreTrainedModel, recipe: Recipe, base_name: str) -> PeftModel:
    """The model with a fresh adapter; only the adapter learns, in float32 whatever the base is held in.

    At small learning rates bfloat16 adapters hardly move: an update is smaller than half the last digit.
    `base_name` is what the adapter's own config will call its base: a hub id or a folder's name, never a path.
    Raises RecipeError if the recipe names layers that the model does not have.
    """
    names = linear_names(model)
    if isinstance(recipe.target_modules, list):
        unknown = [n for n in recipe.target_modules if not any(m == n or m.endswith("." + n) for m in names)]
        if unknown:
            short = sorted({name.split(".")[-1] for name in names})
            raise RecipeError(
                {"target_modules": f"This base model has no layer “{unknown[0]}”. It has: {', '.join(short)}."}
            )
    adapted = get_peft_model(model, peft_config(recipe))
    assert isinstance(adapted, PeftModel)
    adapted.peft_config["default"].base_model_name_or_path = base_name  # PEFT would write the folder's whole path
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
    return adapted


def begin_from(model: PeftModel, folder: Path) -> None:
    """Give the fresh adapter the weights of a trained one. Raises RecipeError if they are of another shape."""
    weights = load_file(folder / "adapter_model.safetensors")
    fresh = get_peft_model_state_dict(model, save_embedding_layers=False)
    if {name: w.shape for name, w in weights.items()} != {name: w.shape for name, w in fresh.items()}:
        raise RecipeError({"rank": "To train on, rank, method and layers must be those of the first run."})
    set_peft_model_state_dict(model, weights)


def peft_config(recipe: Recipe) -> PeftConfig:
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=recipe.target_modules,
        task_type="CAUSAL_LM",
    )


def parameter_groups(model: PeftModel, recipe: Recipe) -> list[dict[str, Any]]:
    """What learns, for an optimizer: `params`, and `lr` where it is not the recipe's.

    With LoRA+ (Hayou et al. 2024, arXiv:2402.12354) B learns faster than A.
    """
    learning = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if recipe.lora_plus_ratio == 1:
        return [{"params": [p for _, p in learning]}]
    slow = [p for name, p in learning if "lora_B" not in name and "lora_embedding_B" not in name]
    fast = [p for name, p in learning if "lora_B" in name or "lora_embedding_B" in name]
    return [{"params": slow}, {"params": fast, "lr": recipe.learning_rate * recipe.lora_plus_ratio}]


def after_step(model: PeftModel, step: int) -> None:
    """What a method does after the optimizer's step number `step` (from 1), while the gradients are still there."""


def state(model: PeftModel) -> dict[str, Any]:
    """What a method has to know to go on exactly, besides the weights that learn."""
    return {}


def restore(model: PeftModel, state: dict[str, Any]) -> None:
    """Take over what `state` gave."""


def linear_names(model: PreTrainedModel) -> list[str]:
    """The full names of the layers that can carry an adapter."""
    head = model.get_output_embeddings()
    return [name for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head]


def trainable_parameters(model: PeftModel) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
