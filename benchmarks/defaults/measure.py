"""How well a trained adapter does on held-back rows: mean loss of an answer's token, and the share answered exactly."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.defaults.sets import Set
from studio.core.catalog import STARTER
from studio.core.conversation import Conversation
from studio.store import base_models
from workers import loss
from workers.batches import collate
from workers.model import load_base
from workers.probe import probe
from workers.tokens import Row, encode, load_tokenizer, prompt_of

AT_ONCE = 40  # answers
ROWS_AT_ONCE = 8
Bits = Literal[4, 8, 16]


def measure(models: Path, adapter: Path, data: Set, bits: Bits, max_length: int, answers: int) -> dict[str, float]:
    """`answers`: of how many held-back questions the model's own answers are compared, where one is right or wrong."""
    tokenizer, base = _base(models, bits)
    model = PeftModel.from_pretrained(base, str(adapter)).eval()
    rows = encode(tokenizer, data.held_back, max_length).rows
    found = {"loss": _loss(model, rows, tokenizer.pad_token_id or 0)}
    if data.match and answers:
        asked = data.held_back[:answers]
        given: list[str] = []
        for start in range(0, len(asked), AT_ONCE):
            given += _answers(model, tokenizer, asked[start : start + AT_ONCE], data.answer_tokens)
        right = sum(data.match(answer, c.answer) for answer, c in zip(given, asked, strict=True))
        found["exact"] = right / len(asked)
    model.unload()
    return found


def _loss(model: PeftModel, rows: Sequence[Row], pad: int) -> float:
    """Mean loss per learned token, in nats."""
    total = 0.0
    ordered = sorted(rows, key=lambda row: len(row.ids))
    with torch.no_grad():
        for start in range(0, len(ordered), ROWS_AT_ONCE):
            batch = collate(ordered[start : start + ROWS_AT_ONCE], pad)
            inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
            total += float(model(**inputs, num_items_in_batch=1).loss)
    return total / sum(row.learned for row in rows)


@cache
def _base(models: Path, bits: Bits) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    base = base_models.find(models, STARTER)
    assert base
    loaded = load_base(base, bits, probe())
    loss.install(loaded.model)
    return load_tokenizer(base.path), loaded.model


def _answers(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, asked: Sequence[Conversation], tokens: int
) -> list[str]:
    prompts = [prompt_of(tokenizer, conversation) for conversation in asked]
    inputs = tokenizer(prompts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt")
    with torch.no_grad():
        output = model.generate(
            **inputs.to(model.device),
            max_new_tokens=tokens,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=tokenizer.pad_token_id,
        )
    return tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
