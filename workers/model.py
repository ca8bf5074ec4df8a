"""A base model in memory, in as few bits as the recipe asks and the device can.

Never runs a model's own code and opens nothing but safetensors.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from studio.core.errors import ModelError
from studio.store.base_models import BaseModel
from workers.probe import GIB, Machine

SHORT_ROW = 256  # tokens


@dataclass(frozen=True)
class Loaded:
    model: PreTrainedModel
    bits: int  # what it really is held in
    notice: str  # what the user should know about that; mostly empty
    gib: float


def attention_for(longest: int, machine: Machine) -> str:
    """transformers' name of the attention that is fastest for rows of up to `longest` tokens.

    On processors torch's fused attention has a slow backward pass, a fifth of a step at 256 tokens. The plain one keeps
    all [longest, longest] weights, so it is for short rows only.
    """
    return "eager" if machine.device == "cpu" and longest <= SHORT_ROW else "sdpa"


def load_base(
    base: BaseModel,
    bits: int,
    machine: Machine,
    attention: str = "sdpa",
    quantization: str = "nf4",
    double_quantization: bool = True,
) -> Loaded:
    """Raises ModelError, in words, if the weights cannot be loaded. The last two matter for 4 bits only."""
    notice = ""
    if reason := machine.bits[bits]:
        notice = f"Trained with the base model in 16 bit instead of {bits}: {reason}"
        bits = 16
    try:
        model = AutoModelForCausalLM.from_pretrained(
            base.path,
            dtype=machine.dtype,
            device_map={"": machine.device},
            quantization_config=_quantization(bits, machine.dtype, quantization, double_quantization),
            attn_implementation=attention,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
        )
    except (ValueError, KeyError, OSError) as error:  # what transformers raises for a folder it cannot make sense of
        raise ModelError(
            f"The base model {base.name} could not be loaded ({_first_line(error)}).",
            "Check its folder, or choose another base model.",
        ) from error
    _keep_trainable(model)
    size = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    return Loaded(model, bits, notice, size / GIB)


def _quantization(bits: int, dtype: torch.dtype, kind: str, double: bool) -> BitsAndBytesConfig | None:
    if bits == 4:
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=kind,
            bnb_4bit_use_double_quant=double,
            bnb_4bit_compute_dtype=dtype,
        )
    return BitsAndBytesConfig(load_in_8bit=True) if bits == 8 else None


def _keep_trainable(model: PreTrainedModel) -> None:
    """Stop bitsandbytes from repacking 4-bit weights at the first evaluation.

    On processors with AVX512_BF16 it does so in place, and from then on no gradient passes through them: training
    goes on with a third of its gradient, without a word (bitsandbytes 0.50.2).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            flagged: Any = module
            flagged.support_avx512bf16_for_cpu = False


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
