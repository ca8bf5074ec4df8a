"""The loss on the answers, without computing what nobody reads.

A causal language model computes logits [batch, seq, vocabulary] for every token, then drops those of questions and
padding. `install` makes it apply the head to the learned positions only, a block of rows at a time, and take the
gradient with respect to the hidden states in the same pass: the head is frozen, so nothing else needs the logits.
The idea is Liger's fused linear cross-entropy (Hsu et al. 2024, arXiv:2410.10989).
"""

from functools import wraps
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from workers.tokens import IGNORE

BLOCK_ELEMENTS = 1 << 23  # logits held at once: 32 MiB in float32
# settings with which an architecture rescales or bounds its logits after the head
_RESCALING = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


class _HeadLoss(torch.autograd.Function):
    """Sum of cross-entropies of `hidden` [n, width] through a frozen head `weight` [vocabulary, width]."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, wanted: bool) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        gradient = torch.empty_like(hidden) if wanted else None
        rows = max(1, BLOCK_ELEMENTS // weight.shape[0])
        for start in range(0, hidden.shape[0], rows):
            block, target = hidden[start : start + rows], targets[start : start + rows, None]
            logits = functional.linear(block, weight).float()
            highest = logits.amax(-1, keepdim=True)
            total -= (logits.gather(-1, target) - highest).sum()
            scores = logits.sub_(highest).exp_()
            sums = scores.sum(-1, keepdim=True)
            total += sums.log().sum()
            if gradient is not None:
                scores.div_(sums)  # the softmax; minus one at the target it is the gradient of the logits
                scores.scatter_add_(-1, target, torch.full_like(sums, -1.0))
                torch.mm(scores.to(weight.dtype), weight, out=gradient[start : start + rows])
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0].to(gradient.dtype), None, None, None


def head_loss(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """The sum over learned positions of -log p(next token), in float32.

    hidden [batch, seq, width], labels [batch, seq] with IGNORE where nothing is learned; position i predicts label i+1.
    """
    targets = labels[:, 1:].reshape(-1)
    learned = (targets != IGNORE).nonzero().squeeze(1)
    chosen = hidden[:, :-1].reshape(-1, hidden.shape[-1]).index_select(0, learned).to(weight.dtype)
    wanted = torch.is_grad_enabled() and chosen.requires_grad
    total: Tensor = _HeadLoss.apply(chosen, weight, targets.index_select(0, learned), wanted)  # type: ignore[no-untyped-call]
    return total


def install(model: PreTrainedModel) -> bool:
    """Give the model's forward the loss above whenever labels come; without labels it stays as it was.

    False, and nothing changed, where the head is not the last thing the model does to its logits, or is trained.
    Call it on the base model, before an adapter is attached.
    """
    if not _head_is_last(model):
        return False
    original = model.forward

    @wraps(type(model).forward)  # unbound, so that its signature, which `generate` reads, keeps all its names
    def forward(self: PreTrainedModel, *args: Any, **kwargs: Any) -> Any:
        labels = kwargs.pop("labels", None)
        if labels is None:
            return original(*args, **kwargs)
        count = kwargs.pop("num_items_in_batch", None)
        hidden = self.base_model(*args, **kwargs, use_cache=False).last_hidden_state
        total = head_loss(hidden, self.get_output_embeddings().weight, labels)
        return CausalLMOutputWithPast(loss=total / (count if count is not None else (labels[:, 1:] != IGNORE).sum()))

    model.forward = MethodType(forward, model)
    return True


def _head_is_last(model: PreTrainedModel) -> bool:
    """Whether logits are exactly the head applied to the last hidden state: read from the settings, then tried."""
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear) or head.bias is not None or not head.weight.is_floating_point():
        return False
    if any(getattr(model.config, name, None) not in (None, 1, 1.0) for name in _RESCALING):
        return False
    ids = torch.arange(8, device=head.weight.device)[None]
    with torch.no_grad():
        expected = model(input_ids=ids, use_cache=False).logits
        got = head(model.base_model(input_ids=ids, use_cache=False).last_hidden_state)
    return torch.allclose(got.float(), expected.float(), rtol=0.02, atol=0.02)
