"""Count a base model with its adapter, and what a training step on it holds, without its weights. By hand:

    python -m workers.forecast --model FOLDER_OR_CONFIG.json [--set rank=8 …]
    python -m workers.forecast --answer                 answer questions, one JSON object a line

The model is built from its configuration on torch's meta device, where tensors have shapes and no numbers. The adapter
is attached by the very function the trainer uses, so PEFT itself counts every method. Nothing of real weight is
allocated; `workers.trace` runs a step on it.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import json
import select
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from studio.core.choices import build, parse_settings
from studio.core.errors import ModelError, StudioError
from studio.core.lifeline import end_with_parent
from studio.core.recipe import Recipe
from workers import methods
from workers.loss import BLOCK_ELEMENTS, rescales_logits
from workers.model import attention_for
from workers.probe import GIB, probe
from workers.trace import bare, step

IDLE_SECONDS = 600  # after which a process that answers ends
_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container
_FRAMEWORK_BYTES = psutil.Process().memory_info().rss  # of libraries alone: nothing has been done yet


def facts(config: PreTrainedConfig, recipe: Recipe, longest: int) -> dict[str, Any]:
    """All that can be known of training `recipe` on a model before its weights are here.

    `longest` is the longest row in tokens; it decides which attention the trainer takes.
    Raises ModelError or RecipeError.
    """
    attention = attention_for(longest, probe())
    with torch.device("meta"):
        model = bare(config, attention)
        head, parts = model.get_output_embeddings(), list(_parts(model))
        base = sum(p.numel() for p in model.parameters())
        linear = [m for m in model.modules() if isinstance(m, nn.Linear) and m is not head]
        adapted = methods.attach(model, recipe, "base")
        return {
            "parameters": base,
            "trainable_parameters": methods.trainable_parameters(adapted),
            "extra_parameters": sum(p.numel() for p in adapted.parameters()) - base,
            "linear_parameters": sum(m.weight.numel() for m in linear),
            "linear_rows": sum(m.out_features for m in linear),
            "linear_layers": len(linear),
            "adapter_bytes": _adapter_bytes(adapted),
            "vocabulary": head.weight.shape[0],
            "hidden": head.weight.shape[1],
            "layers": config.get_text_config().num_hidden_layers,
            "context": getattr(config.get_text_config(), "max_position_embeddings", None) or 0,
            "head_block": BLOCK_ELEMENTS if _head_alone(model) else 0,
            "attention": attention,
            "step": step(config, recipe, attention, longest),
            "picture": _picture(adapted, parts),
        }


def machine() -> dict[str, Any]:
    """What training may use here, and what the libraries alone take of it."""
    found = probe()
    if found.device == "cuda":
        free, total = torch.cuda.mem_get_info()
    else:
        free, total = psutil.virtual_memory().available, psutil.virtual_memory().total
        limit = _LIMIT.read_text(encoding="utf-8").strip() if _LIMIT.is_file() else "max"
        if limit != "max":
            free, total = min(free, int(limit)), min(total, int(limit))
    return {
        "device": found.device,
        "device_name": found.device_name,
        "memory_gib": total / GIB,
        "free_gib": free / GIB,
        "compute_dtype": found.compute_dtype,
        "bits": {str(bits): reason for bits, reason in found.bits.items()},
        "framework_gib": _FRAMEWORK_BYTES / GIB,
    }


def configuration(source: Path | dict[str, Any]) -> PreTrainedConfig:
    """Raises ModelError if transformers does not know such a model."""
    try:
        if isinstance(source, dict):
            made = AutoConfig.for_model(**source)
        else:
            made = AutoConfig.from_pretrained(source, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, OSError, TypeError) as error:
        reason = str(error).partition("\n")[0][:160]
        raise ModelError(
            f"The base model's configuration cannot be read ({reason}).",
            "Choose another base model.",
        ) from error
    assert isinstance(made, PreTrainedConfig)
    return made


# counting


def _parts(model: PreTrainedModel) -> Iterator[tuple[str, nn.Module]]:
    """Every module that holds parameters of its own."""
    for name, module in model.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            yield name, module


def _picture(adapted: PeftModel, parts: list[tuple[str, nn.Module]]) -> dict[str, Any]:
    """What one transformer block looks like, and what of it learns.

    `block`: modules of the first block in order; `outside`: those that are in none; `shared`: trainable parameters that
    belong to no module of the base model.
    """
    learning = dict.fromkeys((name for name, _ in parts), 0)
    shared = 0
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            plain = name.replace("base_model.model.", "", 1)
            owner = max((n for n in learning if plain.startswith(n + ".")), key=len, default=None)
            if owner is None:
                shared += parameter.numel()
            else:
                learning[owner] += parameter.numel()
    first = next((n.split(".0.", 1)[0] + ".0." for n, _ in parts if ".0." in n), "-")
    blocks = first.removesuffix("0.")
    described = [(name, _described(name.removeprefix(first), module, learning[name])) for name, module in parts]
    return {
        "block": [d for name, d in described if name.startswith(first)],
        "outside": [d for name, d in described if not name.startswith(blocks)],
        "learning_in_blocks": sum(n for name, n in learning.items() if name.startswith(blocks)),
        "shared": shared,
    }


def _described(name: str, module: nn.Module, learning: int) -> dict[str, Any]:
    weight = getattr(module, "weight", None)
    sizes = list(weight.shape) if isinstance(weight, Tensor) else []
    matrix = isinstance(module, nn.Linear)
    return {
        "name": name,
        "kind": "linear" if matrix else "embedding" if isinstance(module, nn.Embedding) else "other",
        "in": module.in_features if matrix else sizes[0] if sizes else 0,
        "out": module.out_features if matrix else sizes[-1] if sizes else 0,
        "parameters": sum(p.numel() for p in module.parameters(recurse=False)),
        "trainable": learning,
    }


def _adapter_bytes(adapted: PeftModel) -> int:
    try:
        return sum(t.nbytes for t in get_peft_model_state_dict(adapted, save_embedding_layers=False).values())
    except NotImplementedError:  # prompts are written as numbers, and here are none
        return 4 * methods.trainable_parameters(adapted)


def _head_alone(model: PreTrainedModel) -> bool:
    """Whether `workers.loss` will apply the head to learned positions only; there it is tried besides."""
    head = model.get_output_embeddings()
    plain = isinstance(head, nn.Linear) and head.bias is None
    return plain and not rescales_logits(model.config)


# answering


def answered(asked: dict[str, Any]) -> dict[str, Any]:
    """The answer to {"config": {…} or "folder": path, "recipe": {…}, "longest": tokens}, or to {"machine": true}."""
    if asked.get("machine"):
        return {"machine": machine()}
    source = asked.get("config") or Path(asked["folder"])
    return {"facts": facts(configuration(source), Recipe.model_validate(asked["recipe"]), int(asked["longest"]))}


def answer() -> None:
    """One line in, one line out, until nobody asks any more."""
    while select.select([sys.stdin], [], [], IDLE_SECONDS)[0] and (line := sys.stdin.readline()):
        try:
            said = answered(json.loads(line))
        except Exception as error:
            in_words = isinstance(error, StudioError)
            told = str(error) if in_words else f"This cannot be reckoned before training ({type(error).__name__})."
            said = {"error": told}
            if not in_words:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        print(json.dumps(said), flush=True)


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workers.forecast", description="Reckon before training.")
    parser.add_argument("--model", type=Path, help="folder of a base model, or its config.json")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting of the recipe")
    parser.add_argument("--answer", action="store_true", help="answer questions on stdin")
    parser.add_argument("--parent", type=int, help="end when this process is not the parent any more")
    options = parser.parse_args(given)
    if options.answer == bool(options.model):
        parser.error("give --model, or --answer")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    warnings.simplefilter("ignore")
    transformers_logging.set_verbosity_error()
    if options.parent:
        end_with_parent(options.parent)
    if options.answer:
        answer()
        return 0
    try:
        recipe = build(parse_settings(options.set), rows=1000, parameters=1_000_000_000)
        print(json.dumps(facts(configuration(options.model), recipe, recipe.max_length), indent=2))
    except StudioError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
