from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
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


def adapted(base: BaseModel, ours: bool, dtype: torch.dtype = torch.float32, smoothing: float = 0.0) -> Any:
    torch.manual_seed(0)
    model = load(base, dtype)
    if ours:
        assert loss.install(model, smoothing)
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


def bounding() -> Gemma2ForCausalLM:
    """A model that does something to its logits after the head."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=200, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, pad_token_id=0, bos_token_id=1, eos_token_id=2, final_logit_softcapping=2.0,
    )  # fmt: skip
    return Gemma2ForCausalLM(config).eval()


def test_models_that_bound_their_logits_are_measured_by_those(batch: dict[str, Any]) -> None:
    model = bounding()
    expected = model(**batch).loss
    assert not loss.install(model)
    assert model(**batch).loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_head_that_learns_gets_its_gradient(tiny_base: BaseModel, batch: dict[str, Any]) -> None:
    plain, ours = load(tiny_base), load(tiny_base)
    loss.install(ours)
    for model in (plain, ours):
        model(**batch).loss.backward()
    torch.testing.assert_close(ours.lm_head.weight.grad, plain.lm_head.weight.grad, rtol=1e-4, atol=1e-6)


def test_an_adapter_on_the_head_is_part_of_the_loss(tiny_base: BaseModel, batch: dict[str, Any]) -> None:
    plain, ours = load(tiny_base), load(tiny_base)
    loss.install(ours)
    values = []
    for model in (plain, ours):
        torch.manual_seed(0)
        config = LoraConfig(r=4, target_modules=["lm_head"], init_lora_weights=False, task_type="CAUSAL_LM")
        values.append(get_peft_model(model, config)(**batch).loss.item())
    assert values[1] == pytest.approx(values[0], rel=1e-4)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("block", [2000, 1 << 23])
def test_smoothed_labels_are_those_of_torch(
    tiny_base: BaseModel, batch: dict[str, Any], fused: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "BLOCK_ELEMENTS", block)
    if not fused:
        monkeypatch.setattr(loss, "_head_is_last", lambda _: False)
    torch.manual_seed(0)
    model = load(tiny_base)
    loss.install(model, smoothing=0.2)
    model = methods.attach(model, Recipe(rank=4), "tiny").train()
    got = model(**batch).loss
    got.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    logits, targets = model(input_ids=batch["input_ids"]).logits[:, :-1], batch["labels"][:, 1:]
    expected = functional.cross_entropy(logits.transpose(1, 2), targets, label_smoothing=0.2)
    expected.backward()
    assert got.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, p in model.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(gradients[name], p.grad, rtol=1e-3, atol=1e-6, msg=name)
    model.eval()
    plain = functional.cross_entropy(logits.transpose(1, 2), targets)
    assert model(**batch).loss.item() == pytest.approx(plain.item(), rel=1e-5)  # held back: not smoothed


@pytest.mark.parametrize("fused", [True, False])
def test_predictions_that_are_right_are_counted(tiny_base: BaseModel, batch: dict[str, Any], fused: bool) -> None:
    model = load(tiny_base) if fused else bounding()
    ids = batch["input_ids"]
    with torch.no_grad():
        likeliest = model(input_ids=ids).logits.argmax(-1)
    batch["labels"][:, 13:16] = likeliest[:, 12:15]  # what it would say, at three places of every row
    expected = (likeliest[:, :-1] == batch["labels"][:, 1:]).sum().item()
    assert loss.install(model) is fused
    assert model(**batch).correct.item() == expected >= 12
