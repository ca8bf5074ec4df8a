"""Everything that makes a resumed run exact, written to a checkpoint's folder and read back: the weights that learn,
optimizer, schedule, random numbers, and what has been counted so far. Tensors as safetensors, the rest as JSON.
"""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from safetensors.torch import save as save_to_bytes
from torch import Tensor, nn

from studio.store.artifacts import in_order

TENSORS, VALUES = "state.safetensors", "state.json"
_TENSOR, _PAIRS, _TUPLE = "tensor", "pairs", "tuple"


def save(folder: Path, tree: dict[str, Any]) -> None:
    """Write nested dicts, lists, tuples, tensors and plain values so that `load` gives them back."""
    tensors: dict[str, Tensor] = {}
    values = _split(tree, "", tensors)
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, folder / TENSORS)
    (folder / VALUES).write_text(json.dumps(values), encoding="utf-8")


def load(folder: Path) -> Any:
    tensors = load_file(folder / TENSORS)
    return _join(json.loads((folder / VALUES).read_text(encoding="utf-8")), tensors)


def save_tensors(tensors: dict[str, Tensor], path: Path, about: dict[str, str]) -> None:
    """A safetensors file whose bytes depend on its contents alone."""
    path.write_bytes(in_order(save_to_bytes(tensors, metadata=about)))


def random_numbers() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [name, np.asarray(keys).tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_numbers(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def learning_weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.data for name, parameter in model.named_parameters() if parameter.requires_grad}


def restore_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Raises KeyError if the model learns other weights than those."""
    for name, parameter in learning_weights(model).items():
        parameter.copy_(weights[name])


def are_finite(model: nn.Module) -> bool:
    return all(bool(torch.isfinite(parameter).all()) for parameter in learning_weights(model).values())


def _split(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[path] = value
        return {_TENSOR: path}
    if isinstance(value, dict):  # as pairs: an optimizer's keys are numbers, which JSON would make strings
        return {_PAIRS: [[key, _split(item, f"{path}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_split(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]}
    if isinstance(value, list):
        return [_split(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]
    return value


def _join(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_join(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        return tensors[value[_TENSOR]]
    if _TUPLE in value:
        return tuple(_join(item, tensors) for item in value[_TUPLE])
    return {key: _join(item, tensors) for key, item in value[_PAIRS]}
