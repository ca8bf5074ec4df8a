"""The loss on the answers, without computing what nobody reads.

A causal language model computes logits [batch, seq, vocabulary] for every token, then drops those of questions and
padding. `install` makes it apply the head to the learned positions only, a block of rows at a time, and take the
gradient with respect to the hidden states in the same pass: the head is frozen, so nothing else needs the logits.
The idea is Liger's fused linear cross-entropy (Hsu et al. 2024, arXiv:2410.10989).
"""

from dataclasses import dataclass
from functools import wraps
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from workers.tokens import IGNORE

BLOCK_ELEMENTS = 1 << 23  # logits held at once: 32 MiB in float32
# settings with which an architecture rescales or bounds its logits after the head
_RESCALING = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


@dataclass
class Scored(CausalLMOutputWithPast):
    """What the model's forward gives when labels come; it has no logits."""

    correct: Tensor | None = None  # how many learned tokens have the highest logit; of a tie both are right


class _HeadLoss(torch.autograd.Function):
    """Sum of cross-entropies of `hidden` [n, width] through a frozen head `weight` [vocabulary, width], and hits."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, smoothing: float, wanted: bool
    ) -> tuple[Tensor, Tensor]:
        total = hidden.new_zeros((), dtype=torch.float32)
        correct = torch.zeros((), dtype=torch.long, device=hidden.device)
        gradient = torch.empty_like(hidden) if wanted else None
        vocabulary = weight.shape[0]
        rows = max(1, BLOCK_ELEMENTS // vocabulary)
        for start in range(0, hidden.shape[0], rows):
            block, target = hidden[start : start + rows], targets[start : start + rows, None]
            logits = functional.linear(block, weight).float()
            highest = logits.amax(-1, keepdim=True)
            at_target = logits.gather(-1, target) - highest
            correct += (at_target == 0).sum()
            total -= (1 - smoothing) * at_target.sum()
            scores = logits.sub_(highest)
            if smoothing:
                total -= smoothing * scores.mean(-1).sum()
            sums = scores.exp_().sum(-1, keepdim=True)
            total += sums.log().sum()
            if gradient is not None:
                scores.div_(sums)  # the softmax; minus the wanted distribution it is the gradient of the logits
                if smoothing:
                    scores.sub_(smoothing / vocabulary)
                scores.scatter_add_(-1, target, torch.full_like(sums, smoothing - 1))
                torch.mm(scores.to(weight.dtype), weight, out=gradient[start : start + rows])
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(correct)
        return total, correct

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0].to(gradient.dtype), None, None, None, None


def head_loss(hidden: Tensor, weight: Tensor, labels: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """The sum over learned positions of -log p(next token), in float32, and how many of them are predicted right.

    hidden [batch, seq, width], labels [batch, seq] with IGNORE where nothing is learned; position i predicts label i+1.
    With `smoothing` ε the wanted distribution is 1-ε on the next token and ε spread evenly over the vocabulary.
    """
    targets = labels[:, 1:].reshape(-1)
    learned = (targets != IGNORE).nonzero().squeeze(1)
    chosen = hidden[:, :-1].reshape(-1, hidden.shape[-1]).index_select(0, learned).to(weight.dtype)
    wanted = torch.is_grad_enabled() and chosen.requires_grad
    total, correct = _HeadLoss.apply(chosen, weight, targets.index_select(0, learned), smoothing, wanted)  # type: ignore[no-untyped-call]
    return total, correct


def logits_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """The same from logits [batch, seq, vocabulary]: for heads that learn, or that are not the last thing done."""
    targets = labels[:, 1:].reshape(-1)
    learned = (targets != IGNORE).nonzero().squeeze(1)
    chosen = logits[:, :-1].reshape(-1, logits.shape[-1]).index_select(0, learned).float()
    targets = targets.index_select(0, learned)
    with torch.no_grad():
        correct = (chosen.gather(-1, targets[:, None]) == chosen.amax(-1, keepdim=True)).sum()
    return functional.cross_entropy(chosen, targets, reduction="sum", label_smoothing=smoothing), correct


def install(model: PreTrainedModel, smoothing: float = 0.0) -> bool:
    """Give the model's forward the loss above whenever labels come; without labels it stays as it was.

    Labels are smoothed in training only, so a held-back loss is comparable between runs. Call it on the base model,
    before an adapter is attached. False where the head is not the last thing the model does to its logits; then, and
    where an adapter changes the head or it is trained itself, all logits are computed.
    """
    fused = _head_is_last(model)
    original = model.forward

    @wraps(type(model).forward)  # unbound, so that its signature, which `generate` reads, keeps all its names
    def forward(self: PreTrainedModel, *args: Any, **kwargs: Any) -> Any:
        labels = kwargs.pop("labels", None)
        if labels is None:
            return original(*args, **kwargs)
        count = kwargs.pop("num_items_in_batch", None)
        kwargs["use_cache"] = False
        smoothed = smoothing if self.training else 0.0
        head = self.get_output_embeddings()
        if fused and type(head) is torch.nn.Linear and not head.weight.requires_grad:
            hidden = self.base_model(*args, **kwargs).last_hidden_state
            total, correct = head_loss(hidden, head.weight, labels, smoothed)
        else:
            total, correct = logits_loss(original(*args, **kwargs).logits, labels, smoothed)
        learned = count if count is not None else (labels[:, 1:] != IGNORE).sum()
        return Scored(loss=total / learned, correct=correct)

    model.forward = MethodType(forward, model)
    return fused


def rescales_logits(config: PretrainedConfig) -> bool:
    """Whether the settings say that the head's output is not yet the logits."""
    return any(getattr(config, name, None) not in (None, 1, 1.0) for name in _RESCALING)


def _head_is_last(model: PreTrainedModel) -> bool:
    """Whether logits are exactly the head applied to the last hidden state: read from the settings, then tried."""
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear) or head.bias is not None or not head.weight.is_floating_point():
        return False
    if rescales_logits(model.config):
        return False
    ids = torch.arange(8, device=head.weight.device)[None]
    with torch.no_grad():
        expected = model(input_ids=ids, use_cache=False).logits
        got = head(model.base_model(input_ids=ids, use_cache=False).last_hidden_state)
    return torch.allclose(got.float(), expected.float(), rtol=0.02, atol=0.02)
