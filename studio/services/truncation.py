"""A DyLoRA adapter cut down to a smaller rank: what is left is a plain LoRA adapter that was trained at that rank too.

Only the first rows of A and columns of B stay. Alpha stays as well, so PEFT scales by alpha over the new rank, as in
training.
"""

from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from studio.core.errors import RecipeError
from studio.core.recipe import Recipe
from studio.store.artifacts import in_order


def require_choice(recipe: Recipe, rank: int) -> None:
    """Raises RecipeError, in words, if a run with this recipe has no adapter of that rank in it."""
    if recipe.method != "dylora":
        raise RecipeError(
            {"rank": "Only DyLoRA trains smaller ranks too. Take this adapter as it is, or train one with DyLoRA."}
        )
    if not 1 <= rank <= recipe.rank:
        raise RecipeError({"rank": f"This adapter has the ranks 1 to {recipe.rank}; {rank} is not one of them."})


def truncate_weights(path: str, rank: int) -> bytes:
    """The safetensors file at `path` with every pair A [r, in], B [out, r] cut to `rank`; equal input, equal bytes."""
    with safe_open(path, "numpy") as file:
        about = file.metadata() or {}
        tensors = {name: _cut(name, file.get_tensor(name), rank) for name in file.keys()}  # noqa: SIM118
    return in_order(save(tensors, metadata=about))


def truncate_config(config: dict[str, Any], rank: int) -> dict[str, Any]:
    return config | {"r": rank}


def _cut(name: str, tensor: Any, rank: int) -> Any:
    if ".lora_A." in name:
        return np.ascontiguousarray(tensor[:rank])
    return np.ascontiguousarray(tensor[:, :rank]) if ".lora_B." in name else tensor
