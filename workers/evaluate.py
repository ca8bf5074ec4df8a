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
PROMPT_TOKENS = 512  # of a sample question; a longer one is left out

CHECK_SHARE = 0.25  # of the tokens trained on; reading a token without learning costs about half as much
MOST_CHECKS = 20  # of the held-back loss in a run; the untrained model is measured besides
ENOUGH_CHECKS, ENOUGH_ROWS = 12, 16  # to notice the best one, and for its loss to mean something
FEWEST_CHECKS, FEWEST_ROWS = 2, 8  # however short the run

Check = Callable[[], None]  # raises when the work is to be given up


@dataclass(frozen=True)
class Plan:
    """What is measured and when: always the same rows, so that the numbers can be compared."""

    rows: list[Row]
    steps: frozenset[int]  # after these steps; the untrained model is measured besides


@dataclass(frozen=True)
class Measured:
    loss: float  # nats per learned token
    accuracy: float  # share of learned tokens that the model would have written itself


def plan(rows: Sequence[Row], total_steps: int, train_tokens: int) -> Plan:
    """Evenly spaced checks that cost about an eighth of the run.

    As many as it affords of all rows. If those are too few to notice the best one, of fewer rows; if those were too
    few to mean anything, fewer checks.
    """
    if not rows:
        return Plan([], frozenset())
    budget = int(train_tokens * CHECK_SHARE)
    every = _tokens(rows)
    enough = _tokens(rows[:ENOUGH_ROWS])
    checks = budget // every - 1  # one is that of the untrained model
    if checks < ENOUGH_CHECKS:
        checks = min(ENOUGH_CHECKS, budget // enough - 1)
    checks = max(min(FEWEST_CHECKS, total_steps), min(MOST_CHECKS, checks, total_steps))
    chosen: list[Row] = []
    left = budget // (checks + 1)
    for row in rows:
        left -= len(row.ids)
        if left < 0 and len(chosen) >= FEWEST_ROWS:
            break
        chosen.append(row)
    return Plan(chosen, frozenset(round(total_steps * i / checks) for i in range(1, checks + 1)))


def _tokens(rows: Sequence[Row]) -> int:
    return sum(len(row.ids) for row in rows)


def measure(model: PeftModel, rows: Sequence[Row], pad: int, check: Check) -> Measured:
    """Over the learned tokens of all rows."""
    total, correct, learned = 0.0, 0, 0
    with _quiet(model):
        for batch in _batches(rows):
            check()
            inputs = {name: t.to(model.device) for name, t in collate(batch, pad).items()}
            output = model(**inputs, num_items_in_batch=1)
            total += float(output.loss)
            correct += int(output.correct)
            learned += sum(row.learned for row in batch)
    return Measured(total / learned, correct / learned)


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
