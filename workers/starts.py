"""Where a LoRA adapter starts: from what the base model's weights or the examples tell, instead of from chance.

PiSSA and OLoRA begin with the weights' main directions and take those out of the base model, which then is not the
base any more. Here it stays as it is: the adapter has twice the rank, and its second half holds the same start with
the sign turned and never learns, so that both together begin at nothing. The function that is learned is the same, and
the adapter fits the untouched base. On a 4-bit base the directions are those of its rounded weights.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from peft import EvaConfig, PeftModel, initialize_lora_eva_weights
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from studio.core.errors import ModelError, RecipeError

SVD_ROUNDS = 16  # of the randomized SVD, as in PiSSA's own fast one
Factors = Callable[[Tensor, int], tuple[Tensor, Tensor]]  # weight [out, in], rank -> B [out, rank], A [rank, in]


def pissa(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The principal singular values and vectors. Meng et al. 2024, arXiv:2404.02948."""
    u, s, v = torch.svd_lowrank(weight, q=min(rank, *weight.shape), niter=SVD_ROUNDS)
    root = s.sqrt()
    return u * root, root[:, None] * v.T


def olora(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Q's first columns and R's first rows, QR = weight. Büyükakyüz 2024, arXiv:2406.01775."""
    q = torch.linalg.qr(weight[:, :rank])[0]  # the first columns of Q depend on the first columns of the weight alone
    return q, q.T @ weight


class _Beside(nn.Module):
    """The learning half of A [rank, in] or B [out, rank] with the frozen one behind it, along `dim`."""

    frozen: Tensor

    def __init__(self, whole: Tensor, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("frozen", torch.zeros_like(whole.chunk(2, dim)[0]))

    def forward(self, learning: Tensor) -> Tensor:
        return torch.cat((learning, self.frozen), self.dim)

    def right_inverse(self, whole: Tensor) -> Tensor:
        return whole.chunk(2, self.dim)[0].clone()


def counterweigh(model: PeftModel) -> None:
    """Let only the first half of every linear layer's adapter learn, and hold zeros in the other."""
    for _, layer in _layers(model):
        for half, dim in ((layer.lora_A, 0), (layer.lora_B, 1)):
            parametrize.register_parametrization(half["default"], "weight", _Beside(half["default"].weight, dim))


def begin(model: PeftModel, factors: Factors, scaled: bool) -> None:
    """Start every counterweighed layer's adapter at `factors` of its weight.

    `scaled`: the factors' product is what the layer is to add, so the adapter's scale is taken out of it.
    """
    for _, layer in _layers(model):
        root = math.sqrt(layer.scaling["default"]) if scaled else 1.0
        b, a = factors(_dense(layer.get_base_layer()), layer.r["default"] // 2)
        for half, start, sign in ((layer.lora_A, a, 1.0), (layer.lora_B, b, -1.0)):
            held = half["default"].parametrizations["weight"]
            room = tuple(slice(size) for size in start.shape)  # a layer may be smaller than the rank
            held.original.data[room] = start / root
            held[0].frozen[room] = sign * start / root


def halves(model: PeftModel) -> Iterator[tuple[str, Any]]:
    """Name in a file, and what holds the learning and the frozen half, of each counterweighed matrix."""
    for name, layer in _layers(model):
        for kind in ("lora_A", "lora_B"):
            matrix = getattr(layer, kind)["default"]
            if parametrize.is_parametrized(matrix, "weight"):
                yield f"{name}.{kind}.weight", matrix


def freeze(layer: nn.Module) -> None:
    """Make a layer's weight a buffer: PEFT turns gradients of parameters on again whenever an adapter is switched."""
    weight: Any = layer.weight
    del layer.weight
    layer.register_buffer("weight", weight.data)


def eva(model: PeftModel, batch: dict[str, Tensor]) -> None:
    """A from the main directions of what goes into each layer. Paischer et al. 2024, arXiv:2410.07170.

    Of one batch, and without giving layers different ranks. Raises RecipeError if it has fewer learned tokens than
    the rank, for which the library would wait for ever.
    """
    config = model.peft_config["default"]
    most = max([config.r, *config.rank_pattern.values()])
    learned = int((batch["labels"] != -100).sum())
    if learned < most:
        raise RecipeError(
            {"initialization": f"EVA starts from {most} words of answers at least; these examples have {learned}."}
        )
    config.init_lora_weights, config.eva_config = "eva", EvaConfig(rho=1.0)
    initialize_lora_eva_weights(model, [batch], show_progress_bar=False)
    config.init_lora_weights, config.eva_config = True, None


def loftq(model: PeftModel, folder: str) -> None:
    """B A as near as can be to what 4 bits lost of each weight. Li et al. 2023, arXiv:2310.08659, with one round.

    Reads the base model's own weights from `folder` once more, in 16 bit.
    """
    try:
        whole = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, trust_remote_code=False, use_safetensors=True, local_files_only=True
        )
    except (ValueError, OSError) as error:
        raise ModelError("The base model could not be read again for LoftQ.", "Choose another start.") from error
    for name, layer in _layers(model):
        exact = _dense(whole.get_submodule(name.removeprefix("base_model.model.")))
        b, a = pissa(exact - _dense(layer.get_base_layer()).cpu(), layer.r["default"])
        layer.lora_A["default"].weight.data[: len(a)] = a
        layer.lora_B["default"].weight.data[:, : len(a)] = b / layer.scaling["default"]


def batch_of(rows: Sequence[Any], pad: int, most: int = 1024) -> dict[str, Tensor]:
    """Rows for `eva`: as many of the first as have about `most` tokens, padded."""
    chosen, tokens = [], 0
    for row in rows:
        chosen.append(row)
        tokens += len(row.ids)
        if tokens >= most:
            break
    longest = max(len(row.ids) for row in chosen)
    fill = [longest - len(row.ids) for row in chosen]
    return {
        "input_ids": torch.tensor([row.ids + [pad] * more for row, more in zip(chosen, fill, strict=True)]),
        "labels": torch.tensor([row.labels + [-100] * more for row, more in zip(chosen, fill, strict=True)]),
    }


def _layers(model: PeftModel) -> list[tuple[str, Any]]:
    """Names and linear layers with an adapter."""
    return [(n, m) for n, m in model.named_modules() if isinstance(m, LoraLayer) and "default" in m.lora_A]


def _dense(base: nn.Module) -> Tensor:
    """The weight [out, in] in float32."""
    weight: Tensor = dequantize_module_weight(base).detach().to(torch.float32)
    return weight.T if isinstance(base, Conv1D) else weight
