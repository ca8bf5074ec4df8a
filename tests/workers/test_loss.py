from typing import Any

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

from studio.core.conversation import Conversation
from studio.core.recipe import Recipe
from studio.store.base_models import BaseModel
from workers import loss, methods
from workers.batches import collate
from workers.tokens import encode, pack

# PEFT 0.21 asks transformers 5.23 by a name that it calls outdated
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def load(base: BaseModel, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM.from_pretrained(base.path, dtype=dtype)


def adapted(base: BaseModel, ours: bool, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    model = load(base, dtype)
    if ours:
        assert loss.install(model)
    return methods.attach(model, Recipe(rank=4), "tiny")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_loss_and_gradients_are_those_of_the_models_own_loss(
    tiny_base: BaseModel, batch: dict[str, Any], dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "BLOCK_ELEMENTS", 2000)  # several blocks
    plain, ours = adapted(tiny_base, False, dtype), adapted(tiny_base, True, dtype)
    expected, got = plain(**batch).loss, ours(**batch).loss
    torch.testing.assert_close(got, expected.float(), rtol=tolerance, atol=tolerance)
    expected.backward(), got.backward()
    for (name, a), (_, b) in zip(plain.named_parameters(), ours.named_parameters(), strict=True):
        if a.grad is not None:
            scale = float(a.grad.abs().max()) or 1.0
            torch.testing.assert_close(b.grad / scale, a.grad / scale, rtol=0, atol=tolerance * 5, msg=name)


def test_gradient_accumulation_weighs_tokens_not_batches(tiny_base: BaseModel, batch: dict[str, Any]) -> None:
    model = adapted(tiny_base, True)
    whole = model(**batch, num_items_in_batch=torch.tensor(42)).loss
    halves = [model(**{k: v[i : i + 2] for k, v in batch.items()}, num_items_in_batch=42).loss for i in (0, 2)]
    assert whole.item() == pytest.approx(sum(halves).item(), rel=1e-5)
    assert whole.item() == pytest.approx(model(**batch).loss.item(), rel=1e-5)  # 3 rows of 12 and one of 6 learned


def test_without_labels_the_model_is_as_it_was(tiny_base: BaseModel, batch: dict[str, Any]) -> None:
    plain, ours = load(tiny_base), load(tiny_base)
    loss.install(ours)
    ids = batch["input_ids"]
    assert torch.equal(plain(input_ids=ids).logits, ours(input_ids=ids).logits)
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 2}
    assert torch.equal(plain.generate(ids, **options), ours.generate(ids, **options))


def test_packed_examples_cost_what_they_cost_apart(
    tiny_base: BaseModel, tokenizer: PreTrainedTokenizerFast, conversations: list[Conversation]
) -> None:
    model = load(tiny_base)
    loss.install(model)
    rows = encode(tokenizer, conversations, 200).rows
    packed = pack(rows, 150)
    assert len(packed) < len(rows) / 2
    apart = [model(**collate([row], 0), num_items_in_batch=1).loss for row in rows]
    together = model(**collate(packed, 0), num_items_in_batch=1).loss
    assert together.item() == pytest.approx(sum(apart).item(), rel=1e-4)


def test_models_that_bound_their_logits_keep_their_own_loss() -> None:
    config = Gemma2Config(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = Gemma2ForCausalLM(config)
    forward = model.forward
    assert not loss.install(model)
    assert model.forward == forward
