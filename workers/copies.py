"""Training a model's own weights: norms, its last layers, or all of it.

PEFT's LN tuning puts a copy beside a module and uses the copy, whatever kind of module it is. So what was trained is an
adapter like any other: it can be switched off, and plain PEFT puts it on the base model. The copies are held in
float32, because bfloat16 would swallow small corrections, and take part rounded to the base's type, as they are saved.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from peft import LNTuningConfig, PeftModel, get_peft_model
from peft.tuners.ln_tuning.layer import LNTuningLayer
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import PreTrainedModel

from studio.core.errors import RecipeError
from workers.targets import block_names, is_tied, norm_names, owner_names


def names_of_norms(model: PreTrainedModel) -> list[str]:
    names = norm_names(model)
    if not names:
        raise RecipeError({"method": "This base model has no normalization layers with weights. Choose LoRA."})
    return names


def names_of_last_layers(model: PreTrainedModel, count: int) -> list[str]:
    """Raises RecipeError if there are not so many."""
    blocks = block_names(model)
    if count > len(blocks):
        told = f"This base model has {len(blocks)} layers, not {count}. Choose fewer, or full fine-tuning."
        raise RecipeError({"trained_layers": told})
    return [name for block in blocks[-count:] for name in owner_names(model, block)]


def attach(model: PreTrainedModel, names: list[str]) -> PeftModel:
    """Copies of the modules of these full names, which learn; all else is frozen."""
    tied = is_tied(model)
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*tie_word_embeddings")  # seen to below
        warnings.filterwarnings("ignore", "Unsupported layer type")  # of norms and embeddings, and none the less copied
        copied = get_peft_model(model, LNTuningConfig(target_modules=names, task_type="CAUSAL_LM"))
    assert isinstance(copied, PeftModel)
    mine: dict[Any, Any] = {}  # the base's modules, and their copies
    for layer in _layers(copied):
        copy = layer.ln_tuning_layers["default"]
        mine[layer.base_layer] = copy
        for name, weight in list(copy.named_parameters(recurse=False)):
            dtype = weight.dtype
            weight.data = weight.data.to(torch.float32)
            parametrize.register_parametrization(copy, name, _Rounded(dtype), unsafe=True)
    if tied and head in mine and embedding in mine:
        mine[head].parametrizations["weight"].original = mine[embedding].parametrizations["weight"].original
    return copied


def state_dict(model: PeftModel) -> dict[str, Tensor]:
    """The copies' weights as PEFT names them in a file, in the base's type."""
    return {
        f"{module_name}.ln_tuning_layers.{name}": getattr(layer.ln_tuning_layers["default"], name).detach()
        for module_name, layer in model.named_modules()
        if isinstance(layer, LNTuningLayer)
        for name in layer.ln_tuning_layers["default"].parametrizations
    }


def load(model: PeftModel, weights: dict[str, Tensor]) -> None:
    for module_name, layer in model.named_modules():
        if isinstance(layer, LNTuningLayer):
            for name, held in layer.ln_tuning_layers["default"].parametrizations.items():
                held.original.data.copy_(weights[f"{module_name}.ln_tuning_layers.{name}"])


def are_in(model: PeftModel) -> bool:
    return next(_layers(model), None) is not None


class _Rounded(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, weight: Tensor) -> Tensor:
        return weight.to(self.dtype)


def _layers(model: PeftModel) -> Iterator[LNTuningLayer]:
    return (m for m in model.modules() if isinstance(m, LNTuningLayer))
