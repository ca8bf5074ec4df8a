from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from studio.core.conversation import Conversation
from studio.core.recipe import Recipe
from studio.core.run_state import Wish
from studio.store.base_models import BaseModel
from workers import evaluate, loss, methods
from workers.model import load_base
from workers.probe import probe
from workers.progress import StopAsked
from workers.tokens import IGNORE, Row, encode

# PEFT 0.21 asks transformers 5.23 by a name that it calls outdated
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def nothing() -> None:
    return None


def adapted(base: BaseModel, bits: int = 16) -> Any:
    torch.manual_seed(0)
    loaded = load_base(base, bits, probe())
    loss.install(loaded.model)
    model = methods.attach(loaded.model, Recipe(rank=4), "tiny")
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_loss_and_accuracy_are_means_over_learned_tokens_of_all_rows(
    tiny_base: BaseModel, tokenizer: PreTrainedTokenizerFast, conversations: list[Conversation]
) -> None:
    model = adapted(tiny_base).eval()
    rows = encode(tokenizer, conversations, 200).rows
    total = sum(
        model(input_ids=torch.tensor([r.ids]), labels=torch.tensor([r.labels])).loss.item() * r.learned for r in rows
    )
    expected = total / sum(r.learned for r in rows)
    assert evaluate.measure(model, rows, 0, nothing).loss == pytest.approx(expected, rel=0.01)
    learned = sum(r.learned for r in rows)
    for row in rows[::2]:  # what the model would say becomes what it is to say
        likeliest = model(input_ids=torch.tensor([row.ids])).logits[0].argmax(-1).tolist()
        for at in range(1, len(row.ids)):
            row.labels[at] = likeliest[at - 1] if row.labels[at] != IGNORE else IGNORE
    right = sum(r.learned for r in rows[::2])
    assert evaluate.measure(model, rows, 0, nothing).accuracy == pytest.approx(right / learned, rel=0.1)


@pytest.mark.parametrize("bits", [4, 16])
def test_training_goes_on_as_if_nobody_had_looked(
    bits: int,
    tiny_base: BaseModel,
    tokenizer: PreTrainedTokenizerFast,
    conversations: list[Conversation],
    batch: dict[str, Any],
) -> None:
    def losses(look: bool) -> list[float]:
        model = adapted(tiny_base, bits).train()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
        rows, seen = encode(tokenizer, conversations[:6], 200).rows, []
        for _ in range(4):
            if look:
                evaluate.measure(model, rows, 0, nothing)
                evaluate.answers(model, tokenizer, conversations[:2], nothing)
                evaluate.answers(model, tokenizer, conversations[:2], nothing, adapted=False)
            value = model(**batch).loss
            value.backward()
            optimizer.step()
            optimizer.zero_grad()
            seen.append(value.item())
        return seen

    plain = losses(look=False)
    assert plain == losses(look=True)
    assert plain[-1] < plain[0]


def test_answers_before_training_are_the_base_models(
    tiny_base: BaseModel, tokenizer: PreTrainedTokenizerFast, conversations: list[Conversation]
) -> None:
    model = adapted(tiny_base).float()  # in fewer bits a wider batch may tip the scales between two tokens
    with_adapter = evaluate.answers(model, tokenizer, conversations[:3], nothing)
    without = evaluate.answers(model, tokenizer, conversations[:3], nothing, adapted=False)
    bare = [evaluate.answers(model, tokenizer, [c], nothing, adapted=False)[0] for c in conversations[:3]]
    assert without == bare  # padding on the left changes nothing
    assert without != with_adapter


def test_answering_stops_when_the_run_is_to_end(
    tiny_base: BaseModel, tokenizer: PreTrainedTokenizerFast, conversations: list[Conversation]
) -> None:
    def stop() -> None:
        raise StopAsked(Wish.DISCARD)

    model = adapted(tiny_base).train()
    with pytest.raises(StopAsked):
        evaluate.answers(model, tokenizer, conversations[:3], stop)
    assert model.training


def test_sample_questions_differ(tokenizer: PreTrainedTokenizerFast, conversations: list[Conversation]) -> None:
    doubled = [conversations[0], *conversations]
    assert evaluate.sample_questions(tokenizer, doubled) == conversations[:3]


def rows_of(count: int, tokens: int) -> list[Row]:
    return [Row([1] * tokens, [1] * tokens, (tokens,)) for _ in range(count)]


def test_a_long_run_is_checked_often_and_on_everything() -> None:
    plan = evaluate.plan(rows_of(20, 100), total_steps=500, train_tokens=400_000)
    assert len(plan.rows) == 20
    assert sorted(plan.steps) == list(range(25, 501, 25))


def test_a_shorter_run_is_checked_on_fewer_rows_but_often_enough_to_notice_the_best() -> None:
    plan = evaluate.plan(rows_of(100, 100), total_steps=240, train_tokens=120_000)
    assert len(plan.rows) == 23  # 30,000 tokens for 13 checks
    assert sorted(plan.steps) == list(range(20, 241, 20))


def test_a_run_too_short_for_that_is_checked_less_often_but_on_enough_rows() -> None:
    plan = evaluate.plan(rows_of(100, 200), total_steps=150, train_tokens=64_000)
    assert len(plan.rows) == evaluate.ENOUGH_ROWS
    assert sorted(plan.steps) == [38, 75, 112, 150]
    shortest = evaluate.plan(rows_of(100, 200), total_steps=2, train_tokens=1600)
    assert len(shortest.rows) == evaluate.FEWEST_ROWS and sorted(shortest.steps) == [1, 2]
    assert evaluate.plan(rows_of(100, 200), total_steps=1, train_tokens=800).steps == {1}


@pytest.mark.parametrize("held_back", [1, 9, 40, 200])
@pytest.mark.parametrize("steps", [40, 300, 5000])
def test_checks_cost_at_most_an_eighth_of_any_run_that_is_not_tiny(held_back: int, steps: int) -> None:
    train_tokens = steps * 4 * 80
    plan = evaluate.plan(rows_of(held_back, 80), steps, train_tokens)
    tokens = sum(len(row.ids) for row in plan.rows) * (len(plan.steps) + 1)
    assert tokens <= evaluate.CHECK_SHARE * train_tokens
    assert max(plan.steps) == steps and len(plan.steps) >= (2 if steps < 100 else evaluate.ENOUGH_CHECKS)


def test_without_held_back_rows_nothing_is_checked() -> None:
    assert evaluate.plan([], 100, 1000) == evaluate.Plan([], frozenset())
