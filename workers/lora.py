"""A LoRA layer's forward and backward in as few operations as they need.

PEFT's own layer is right but general: it clones, converts and scales whole activations, which on a processor costs more
than the low-rank products. Here the converted A and scaled B (small) take that work, and only the layer's input is
kept for the backward pass; a 4-bit weight is dequantized again there. Nothing is approximated.
"""

from functools import wraps
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from workers import dylora


class _LoraLinear(torch.autograd.Function):
    """x [..., in] W^T + bias + scale (x A^T) B^T, with W [out, in] frozen; A [rank, in] and B [out, rank] learn."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, base: nn.Linear, scale: float) -> Tensor:
        weight = _dense(base)
        rows = x.reshape(-1, x.shape[-1]).to(weight.dtype)
        small_a, small_b = a.to(weight.dtype), (b * scale).to(weight.dtype)
        low = rows @ small_a.T
        y = rows @ weight.T if base.bias is None else torch.addmm(base.bias, rows, weight.T)
        y.addmm_(low, small_b.T)
        ctx.save_for_backward(rows, low, small_a, small_b)
        ctx.base, ctx.scale, ctx.dtype = base, scale, x.dtype
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor, None, None]:
        rows, low, small_a, small_b = ctx.saved_tensors
        gradient = grads[0].reshape(-1, grads[0].shape[-1])
        low_gradient = gradient @ small_b
        a_gradient = (low_gradient.T @ rows).float() if ctx.needs_input_grad[1] else None  # LoRA-FA freezes A
        b_gradient = (gradient.T @ low).float().mul_(ctx.scale)
        x_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = gradient @ _dense(ctx.base)
            x_gradient.addmm_(low_gradient, small_a)
            x_gradient = x_gradient.view(*grads[0].shape[:-1], -1).to(ctx.dtype)
        return x_gradient, a_gradient, b_gradient, None, None


def _dense(base: nn.Linear) -> Tensor:
    if isinstance(base, Linear4bit):
        dense: Tensor = dequantize_4bit(base.weight.data, base.weight.quant_state)
        return dense
    return base.weight


def speed_up(model: PeftModel) -> bool:
    """Use the forward above for training in every adapter layer; without gradients they work as before.

    False, and nothing changed, if any layer is of another kind (8 bit, dropout, DoRA, an embedding); such a model needs
    autocast, because PEFT computes a float32 adapter in float32.
    """
    layers = [m for m in model.modules() if isinstance(m, LoraLayer)]
    if not layers or not all(_is_plain(layer) for layer in layers):
        return False
    for layer in layers:
        _bind(layer)
    return True


def _is_plain(layer: LoraLayer) -> bool:
    base = layer.get_base_layer()
    return (
        (type(base) is nn.Linear or isinstance(base, Linear4bit))
        and isinstance(layer.lora_A, nn.ModuleDict)  # AdaLoRA has bare matrices
        and list(layer.lora_A) == ["default"]
        and isinstance(layer.lora_dropout["default"], nn.Identity)
        and not layer.lora_variant
        and not layer.lora_bias["default"]
    )


def _bind(layer: Any) -> None:
    original = layer.forward
    base, scale, nested = layer.get_base_layer(), layer.scaling["default"], dylora.of(layer)

    @wraps(original)
    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled() or layer.disable_adapters or layer.merged:
            return original(x, *args, **kwargs)
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        if nested is not None and layer.training:
            a = a * nested.factors(a)[:, None]
        return _LoraLinear.apply(x, a, b, base, scale)  # type: ignore[no-untyped-call]

    layer.forward = forward
