"""Which layers of a model an add-on goes on: a recipe's group or names, found in whatever architecture this is.

Works from the modules' names and kinds alone, so a model without weights (on the meta device) does as well.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from studio.core.errors import RecipeError
from studio.core.recipe import TargetGroup

_ATTENTION = re.compile(r"(^|[._])(self_)?(attn|attention|self_attention|mixer)([._]|$)")
_MLP = re.compile(r"(^|[._])(mlp|feed_forward|ffn|block_sparse_moe|experts?|shared_expert)([._]|$)")
# last names of what asks and what is passed on; fused layers do both
_QUERY_OR_VALUE = re.compile(
    r"^(q|v|query|value|wq|wv|q_[ab])(_proj|_lin)?$|qkv|query_key_value|^c_attn$|^in_proj", re.I
)
_KEY = re.compile(r"^(k|key|wk)(_proj|_lin)?$", re.I)
_VALUE = re.compile(r"^(v|value|wv)(_proj|_lin)?$|qkv|query_key_value|^c_attn$", re.I)
_WAY_DOWN = re.compile(r"^(down_proj|w2|fc2|fc_out|c_proj|dense_4h_to_h|wo|output_linear)$")


@dataclass(frozen=True)
class Targets:
    """Names of modules as PEFT takes them, and of weights of experts that stand together in one tensor."""

    modules: list[str]
    parameters: list[str]


def resolve(model: PreTrainedModel, wanted: TargetGroup | list[str]) -> Targets:
    """Raises RecipeError if a name is of no layer that can carry an add-on."""
    if isinstance(wanted, list):
        return _named(model, wanted)
    linear = linear_names(model)
    if wanted == "attention-qv":
        chosen = [n for n in linear if in_attention(n) and _QUERY_OR_VALUE.search(_last(n))]
    elif wanted == "attention":
        chosen = [n for n in linear if in_attention(n)]
    elif wanted == "attention-mlp":
        chosen = [n for n in linear if in_attention(n) or _MLP.search(_parent(n))]
    else:
        chosen = linear
    if not chosen:
        raise RecipeError(
            {"target_modules": f"This base model has no layers known as {wanted}. Choose all-linear, or name them."}
        )
    if wanted == "all-linear-embeddings":
        chosen = chosen + _embeddings(model)
    experts = [] if wanted in ("attention-qv", "attention") else expert_names(model)
    return Targets(shortest(model, chosen), _suffixes(experts))


def _named(model: PreTrainedModel, wanted: list[str]) -> Targets:
    known = [*linear_names(model), *_embeddings(model, both=True)]
    experts = expert_names(model)
    for name in wanted:
        if not any(_is(name, full) for full in (*known, *experts)):
            raise RecipeError({"target_modules": _unknown(name, known + experts)})
    return Targets(
        [name for name in wanted if any(_is(name, full) for full in known)],
        [name for name in wanted if any(_is(name, full) for full in experts)],
    )


def require_names(model: PreTrainedModel, field: str, names: Iterable[str]) -> None:
    """Raises RecipeError for `field` if the model has no layer of one of these names."""
    known = [*linear_names(model), *_embeddings(model, both=True), *expert_names(model)]
    for name in names:
        if not any(_is(name, full) for full in known):
            raise RecipeError({field: _unknown(name, known)})


def linear_names(model: PreTrainedModel) -> list[str]:
    """The full names of the linear layers, the output head excepted."""
    head = model.get_output_embeddings()
    return [n for n, m in model.named_modules() if isinstance(m, nn.Linear | Conv1D) and m is not head]


def expert_names(model: PreTrainedModel) -> list[str]:
    """The full names of weights [experts, out, in] that a mixture of experts holds in one tensor."""
    return [n for n, p in model.named_parameters() if p.dim() == 3 and _MLP.search(n)]


def norm_names(model: PreTrainedModel) -> list[str]:
    """The full names of the layers that only scale: LayerNorm, RMSNorm and their kin."""
    return [
        n for n, m in model.named_modules() if "norm" in type(m).__name__.lower() and any(True for _ in m.parameters())
    ]


def biased_names(model: PreTrainedModel) -> list[str]:
    """The full names of the linear layers with a bias."""
    modules = dict(model.named_modules())
    return [n for n in linear_names(model) if isinstance(modules[n], nn.Linear) and modules[n].bias is not None]


def scaled_names(model: PreTrainedModel) -> tuple[list[str], list[str]]:
    """What IA³ scales: keys and values as they come out, and the MLP's last layer as it goes in."""
    linear = linear_names(model)
    out = [n for n in linear if in_attention(n) and (_KEY.search(_last(n)) or _VALUE.search(_last(n)))]
    down = [n for n in linear if _MLP.search(_parent(n)) and _WAY_DOWN.search(_last(n))]
    if not out or not down:
        raise RecipeError({"method": "IA³ does not know this base model's layers. Choose LoRA."})
    return shortest(model, out), shortest(model, down)


def owner_names(model: PreTrainedModel, within: str = "") -> list[str]:
    """The full names of the modules, in `within` or everywhere, that hold weights of their own."""
    return [
        name
        for name, module in model.named_modules()
        if (not within or name.startswith(within + ".")) and any(True for _ in module.parameters(recurse=False))
    ]


def block_names(model: PreTrainedModel) -> list[str]:
    """The full names of the model's layers, the one nearest to the input first."""
    count = model.config.get_text_config().num_hidden_layers
    lists = [n for n, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    if not lists:
        raise RecipeError({"method": "This base model's layers could not be found. Choose LoRA, or full fine-tuning."})
    return [f"{min(lists, key=len)}.{i}" for i in range(count)]


def is_tied(model: PreTrainedModel) -> bool:
    """Whether the output head is the input embedding."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    return isinstance(head, nn.Module) and getattr(head, "weight", None) is getattr(embedding, "weight", ())


def in_attention(name: str) -> bool:
    return bool(_ATTENTION.search(_parent(name)))


def shortest(model: PreTrainedModel, chosen: Iterable[str]) -> list[str]:
    """The shortest endings of names that PEFT takes for these modules and for no others."""
    wanted = set(chosen)
    others = [
        n for n, m in model.named_modules() if n not in wanted and isinstance(m, nn.Linear | Conv1D | nn.Embedding)
    ]
    return sorted({next(e for e in _endings(n) if not any(_is(e, o) for o in others)) for n in wanted})


def _suffixes(parameters: list[str]) -> list[str]:
    return sorted({".".join(name.split(".")[-2:]) for name in parameters})


def _embeddings(model: PreTrainedModel, both: bool = False) -> list[str]:
    """The input embedding, and the head if it has weights of its own (or `both`)."""
    wanted: list[torch.nn.Module] = [model.get_input_embeddings()]
    head = model.get_output_embeddings()
    if isinstance(head, nn.Module) and (both or not is_tied(model)):
        wanted.append(head)
    return [n for n, m in model.named_modules() if any(m is w for w in wanted)]


def _unknown(name: str, known: Iterable[str]) -> str:
    return f"This base model has no layer “{name}”. It has: {', '.join(sorted({_last(n) for n in known}))}."


def _is(name: str, full: str) -> bool:
    """As PEFT matches names."""
    return full == name or full.endswith("." + name)


def _endings(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _parent(name: str) -> str:
    return name.rpartition(".")[0]
