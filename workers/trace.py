"""What a training step holds in memory, from a model of shapes without numbers.

A step is run on two and on three layers, on torch's meta device, and the sizes of all tensors that are alive at the
same time are added up.
"""

import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AttentionInterface, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface

from studio.core.errors import ModelError
from studio.core.recipe import Recipe
from workers import lora, methods

TRACED_TOKENS = 4096  # of the step that is traced; what it holds grows in proportion to them
_FUSED = "studio-traced"  # transformers' name of the attention below


def bare(config: PreTrainedConfig, attention: str) -> PreTrainedModel:
    """The model on the device at hand, meta as a rule. Raises ModelError if transformers cannot build it."""
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            config,
            dtype=torch.bfloat16,
            attn_implementation="eager" if attention == "eager" else _FUSED,
            trust_remote_code=False,
        )
    except (ValueError, KeyError, AttributeError) as error:
        raise ModelError(
            f"The studio cannot train a model of the kind “{config.model_type}”.", "Choose another base model."
        ) from error
    return model


class _Ledger(TorchDispatchMode):
    """Adds up the bytes of tensors that are alive, those of `owned` apart."""

    def __init__(self, owned: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known = {t.untyped_storage()._cdata for t in (*owned.parameters(), *owned.buffers())}
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._see(tensor.untyped_storage())
        return made

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known or key in self._alive:
            return
        self._alive[key] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._alive.pop(key, 0)


class _FusedAttention(torch.autograd.Function):
    """What torch's fused attention keeps for its backward pass: inputs, output, and one number for each query."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, _, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
    output: Tensor = _FusedAttention.apply(query, key, value)  # type: ignore[no-untyped-call]
    return output.transpose(1, 2).contiguous(), None


AttentionInterface.register(_FUSED, _attend)
AttentionMaskInterface.register(_FUSED, lambda *_, **__: None)


def step(config: PreTrainedConfig, recipe: Recipe, attention: str, longest: int) -> dict[str, Any]:
    """Bytes that a step over one row of `tokens` holds, without and with gradient checkpointing.

    `kept` for the backward pass, `peak` at the worst moment of both passes, gradients of the adapter apart; None where
    a model cannot be run without numbers. `fast`: whether `workers.lora` takes over the adapter's layers; `autocast`:
    whether it could make them quicker, but does not take them.
    """
    tokens = longest if attention == "eager" else TRACED_TOKENS
    layers = config.get_text_config().num_hidden_layers
    found: dict[str, Any] = {"tokens": tokens}
    for name, checkpointing in (("off", False), ("on", True)):
        sizes = (min(2, layers), min(3, layers))
        shallow = [_adapted(config, recipe, attention, n) for n in sizes]
        fast = recipe.bits != 8 and all(lora.speed_up(model) for model in shallow)
        found["fast"], found["autocast"] = fast, not fast and not methods.computes_as_it_is(shallow[0])
        try:
            two, three = (_traced(model, tokens, fast, checkpointing) for model in shallow)
        except (RuntimeError, NotImplementedError, ValueError) as error:
            print(f"not traced: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            found[name] = None
            continue
        # all layers are alike: each further one adds as much as the third; frozen ones below those that learn, nothing
        above = recipe.method == "layers" and not checkpointing
        counting = min(layers, recipe.trained_layers) if above else layers
        found[name] = {part: two[part] + (counting - sizes[0]) * (three[part] - two[part]) for part in two}
    return found


def _adapted(config: PreTrainedConfig, recipe: Recipe, attention: str, layers: int) -> PeftModel:
    """The model with its adapter and only so many layers."""
    shallow = deepcopy(config)
    text = shallow.get_text_config()
    for name, value in list(vars(text).items()):
        if isinstance(value, list) and len(value) == text.num_hidden_layers:  # one entry for each layer
            setattr(text, name, value[:layers])
    text.num_hidden_layers = layers
    return methods.attach(bare(shallow, attention), recipe, "base")


def _traced(adapted: PeftModel, tokens: int, fast: bool, checkpointing: bool) -> dict[str, int]:
    model = adapted.get_base_model()
    model.train()
    # autocast does nothing on the meta device, so an adapter that needs it is traced on pretended processor tensors
    pretended = nullcontext() if fast else FakeTensorMode()
    with pretended, _checkpointing(model, checkpointing):
        if not fast:
            _pretend(adapted)
        device = "meta" if fast else "cpu"
        ids = torch.zeros(1, tokens, dtype=torch.long, device=device)
        # on the meta device only a mask of four dimensions is not looked into
        mask = torch.zeros(1, 1, tokens, tokens, dtype=torch.bfloat16) if fast else None
        inputs: dict[str, Tensor] = {"input_ids": ids}
        if not any(parameter.requires_grad for parameter in model.parameters()):  # learned tokens alone: at its input
            width = model.get_input_embeddings().weight.shape[1]
            inputs = {"inputs_embeds": torch.zeros(1, tokens, width, dtype=torch.bfloat16, device=device)}
            inputs["inputs_embeds"].requires_grad_()
        ledger = _Ledger(adapted)
        with ledger, torch.autocast("cpu", torch.bfloat16, enabled=not fast):
            hidden = model.base_model(**inputs, attention_mask=mask, use_cache=False).last_hidden_state
            kept = ledger.now
            hidden.backward(torch.empty_like(hidden))
    learned = sum(p.grad.nbytes for p in adapted.parameters() if p.grad is not None)
    adapted.zero_grad(set_to_none=True)
    return {"kept": kept, "peak": ledger.peak - learned}


def _pretend(adapted: PeftModel) -> None:
    """Put tensors that only pretend to be the processor's in the place of those of the meta device."""
    made: dict[int, Tensor] = {}  # what was shared stays shared
    for module in adapted.modules():
        for store in (module._parameters, module._buffers):
            for name, tensor in store.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
                    learns = tensor.requires_grad
                    made[id(tensor)] = nn.Parameter(empty, learns) if isinstance(tensor, nn.Parameter) else empty
                store[name] = made[id(tensor)]


@contextmanager
def _checkpointing(model: Any, wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    try:
        yield
    finally:
        model.activation_checkpointing_disable()
