"""How good the model is now: the loss on held-back examples, and what it answers to a few of them.

Leaves the model as it found it: weights, mode and random numbers, so training goes on as if nobody had looked.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedTokenizerBase, StoppingCriteria, StoppingCriteriaList

from studio.core.conversation import Conversation
from workers.batches import collate
from workers.tokens import Row, as_question, prompt_of

SAMPLES = 3
ANSWER_TOKENS = 48
TOKENS_AT_ONCE = 2048  # padding included
FEWEST_ROWS = 8  # that are measured however short the run
PROMPT_TOKENS = 512  # of a sample question; a longer one is left out

MOST_CHECKS, FEWEST_CHECKS = 6, 3  # of the held-back loss in a run, before the first step and after the last included
CHECK_SHARE = 0.25  # of the tokens trained on; reading a token without learning costs about half as much

Check = Callable[[], None]  # raises when the work is to be given up


@dataclass(frozen=True)
class Plan:
    """What is measured and when: always the same rows, so that the numbers can be compared."""

    rows: list[Row]
    steps: frozenset[int]  # after these steps; the untrained model is measured besides


def plan(rows: Sequence[Row], total_steps: int, train_tokens: int) -> Plan:
    """Checks that cost about an eighth of the run: as many as that allows; if even few do not fit, of fewer rows."""
    if not rows:
        return Plan([], frozenset())
    budget = int(train_tokens * CHECK_SHARE)
    tokens = sum(len(row.ids) for row in rows)
    checks = max(FEWEST_CHECKS, min(MOST_CHECKS, budget // tokens))
    chosen: list[Row] = []
    left = budget // checks
    for row in rows:
        left -= len(row.ids)
        if left < 0 and len(chosen) >= FEWEST_ROWS:
            break
        chosen.append(row)
    rounds = checks - 1
    return Plan(chosen, frozenset(max(1, round(total_steps * i / rounds)) for i in range(1, rounds + 1)))


def validation_loss(model: PeftModel, rows: Sequence[Row], pad: int, check: Check) -> float:
    """Mean loss per learned token over all rows, in nats."""
    total, learned = 0.0, 0
    with _quiet(model):
        for batch in _batches(rows):
            check()
            inputs = {name: t.to(model.device) for name, t in collate(batch, pad).items()}
            total += float(model(**inputs, num_items_in_batch=1).loss)
            learned += sum(row.learned for row in batch)
    return total / learned


def _batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in sorted(rows, key=lambda r: len(r.ids), reverse=True):
        if batch and (len(batch) + 1) * len(batch[0].ids) > TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def sample_questions(tokenizer: PreTrainedTokenizerBase, held_back: Sequence[Conversation]) -> list[Conversation]:
    """The first few held-back examples whose questions differ and are not too long to read; of texts, openings."""
    chosen: dict[str, Conversation] = {}
    for conversation in (as_question(tokenizer, c) for c in held_back):
        if len(chosen) == SAMPLES:
            break
        if len(tokenizer(prompt_of(tokenizer, conversation), add_special_tokens=False)["input_ids"]) <= PROMPT_TOKENS:
            chosen.setdefault(conversation.question, conversation)
    return list(chosen.values())


def answers(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Conversation],
    check: Check,
    adapted: bool = True,
) -> list[str]:
    """What the model answers, always taking the likeliest next token; without its adapter if `adapted` is off."""
    prompts = [prompt_of(tokenizer, question) for question in questions]
    inputs = tokenizer(prompts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt")
    with _quiet(model), nullcontext() if adapted else model.disable_adapter():
        output = model.generate(
            **inputs.to(model.device),
            max_new_tokens=ANSWER_TOKENS,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=tokenizer.pad_token_id,
            stopping_criteria=StoppingCriteriaList([_Checked(check)]),
        )
    fresh = output[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in tokenizer.batch_decode(fresh, skip_special_tokens=True)]


class _Checked(StoppingCriteria):
    def __init__(self, check: Check) -> None:
        self.check = check

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        self.check()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


@contextmanager
def _quiet(model: PeftModel) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
