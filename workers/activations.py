"""Whether what a step keeps for its backward pass fits into memory, or parts are to be computed twice."""

from typing import Literal

import psutil
import torch
from transformers import PretrainedConfig, PreTrainedModel

from workers.probe import Machine

# tensors of a token that each layer keeps: as wide as the hidden state, and as its middle
KEPT_HIDDEN, KEPT_MIDDLE = 16, 5
MARGIN = 1.5  # the estimate is coarse, other programs grow, and running out costs more than computing twice


def wanted(
    choice: Literal["auto", "on", "off"], model: PreTrainedModel, rows: int, tokens: int, machine: Machine
) -> bool:
    """The recipe's choice; with auto, what the memory that is free now says. The model is loaded already."""
    if choice != "auto":
        return choice == "on"
    if not model.supports_gradient_checkpointing:
        return False
    return needs_checkpointing(kept_bytes(model.config, rows, tokens, machine.dtype.itemsize), free_bytes(machine))


def needs_checkpointing(kept: int, free: int) -> bool:
    """Whether `kept` bytes of activations are too many for `free` bytes of memory."""
    return kept * MARGIN > free


def kept_bytes(config: PretrainedConfig, rows: int, tokens: int, item_bytes: int) -> int:
    """About what the layers keep of a batch of `rows` × `tokens` until the backward pass, without checkpointing."""
    width = config.hidden_size
    middle = getattr(config, "intermediate_size", None) or 4 * width
    numbers = rows * tokens * (KEPT_HIDDEN * width + KEPT_MIDDLE * middle)
    if config._attn_implementation == "eager":  # the weights in float32, and again in the model's kind of number
        numbers += 3 * rows * config.num_attention_heads * tokens**2
    return int(numbers * config.num_hidden_layers * item_bytes)


def free_bytes(machine: Machine) -> int:
    if machine.device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)
