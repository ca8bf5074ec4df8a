"""Every method on a tiny model: what learns, how much of it, and that plain PEFT gives the same answers afterwards.

The tiny model by hand: 2 layers of width 64, keys and values 32, MLP 128. In and out of a layer's seven matrices add up
to 128 + 96 + 96 + 128 + 192 + 192 + 192 = 1024.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import Qwen2Config, Qwen2ForCausalLM

from studio.core.errors import RecipeError
from studio.core.recipe import Recipe
from studio.store.base_models import BaseModel
from workers import copies, loss, methods, snapshot
from workers.model import load_base
from workers.probe import probe

pytestmark = [
    # PEFT 0.21 asks transformers 5.23 by a name that it calls outdated
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    # said by plain PEFT as it loads
    pytest.mark.filterwarnings("ignore:.*tie_word_embeddings|.*has no bias term|Unsupported layer type"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported|.*rank_pattern keys did not match"),
]

IN_AND_OUT = 2 * 1024
OUT = 2 * (64 + 32 + 32 + 64 + 128 + 128 + 64)
WEIGHTS = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 64 * 128 * 3)
VOCABULARY = 290  # what the tiny tokenizer found
# what is chosen, bits, and how many numbers learn at rank 4
CASES: dict[str, tuple[dict[str, Any], int, int]] = {
    "lora": ({}, 4, 4 * IN_AND_OUT),
    "lora, few layers": ({"target_modules": "attention-qv"}, 16, 2 * 4 * (128 + 96)),
    "lora, a list": ({"target_modules": ["o_proj"], "rank_pattern": {"o_proj": 2}}, 16, 2 * 2 * 128),
    "lora, ranks": ({"rank_pattern": {"down_proj": 8}}, 16, 4 * IN_AND_OUT + 2 * 4 * 192),
    "gaussian": ({"initialization": "gaussian"}, 16, 4 * IN_AND_OUT),
    "pissa": ({"initialization": "pissa"}, 16, 4 * IN_AND_OUT),
    "pissa, 4 bits": ({"initialization": "pissa", "rank_pattern": {"q_proj": 2}}, 4, 4 * IN_AND_OUT - 2 * 2 * 128),
    "olora": ({"initialization": "olora", "rslora": True}, 16, 4 * IN_AND_OUT),
    "eva": ({"initialization": "eva"}, 4, 4 * IN_AND_OUT),
    "loftq": ({"initialization": "loftq"}, 4, 4 * IN_AND_OUT),
    "lora+": ({"rslora": True, "lora_plus_ratio": 16}, 16, 4 * IN_AND_OUT),
    "dora": ({"method": "dora"}, 4, 4 * IN_AND_OUT + OUT),
    "lora-fa": ({"method": "lora-fa"}, 16, 4 * OUT),
    "adalora": ({"method": "adalora"}, 16, 6 * (IN_AND_OUT + 2 * 7)),
    "vera": ({"method": "vera"}, 4, OUT + 4 * 2 * 7),
    "dylora": ({"method": "dylora"}, 16, 4 * IN_AND_OUT),
    "oft": ({"method": "oft"}, 4, 2 * (6 * 64 + 128) // 4 * (4 * 3 // 2)),
    "ia3": ({"method": "ia3"}, 16, 2 * (32 + 32 + 128)),
    "prompt": ({"method": "prompt"}, 4, 5 * 64),
    "prefix": ({"method": "prefix"}, 16, 5 * 2 * 2 * 32),
    "norms": ({"method": "norms"}, 4, (2 * 2 + 1) * 64),
    "layers": ({"method": "layers", "trained_layers": 1}, 16, WEIGHTS // 2 + 2 * 64),
    "full": ({"method": "full"}, 16, WEIGHTS + 5 * 64 + 2 * VOCABULARY * 64),
}


def recipe_of(choices: dict[str, Any], bits: int) -> Recipe:
    return Recipe.model_validate(
        {"rank": 4, "alpha": 8, "virtual_tokens": 5, "learning_rate": 1e-2, "bits": bits} | choices
    )


def fresh(base: BaseModel, recipe: Recipe, batch: dict[str, Any], seed: int = 0) -> PeftModel:
    torch.manual_seed(seed)
    model = load_base(base, recipe.bits, probe()).model
    if not methods.learns_head(model, recipe):
        assert loss.install(model)
    return methods.attach(model, recipe, "tiny/base", 3, batch)


def learn(model: PeftModel, recipe: Recipe, batch: dict[str, Any], steps: range) -> list[float]:
    optimizer = torch.optim.AdamW(methods.parameter_groups(model, recipe))
    autocast, losses = methods.needs_autocast(model), []
    model.train()
    for step in steps:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = model(**batch).loss
        value.backward()
        optimizer.step()
        methods.after_step(model, step)
        optimizer.zero_grad()
        losses.append(value.item())
    return losses


@torch.no_grad()
def logits(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    found: torch.Tensor = model.eval()(input_ids=batch["input_ids"]).logits
    return found.float()


def say(model: PeftModel, batch: dict[str, Any]) -> torch.Tensor:
    ids = batch["input_ids"][:1, :8]
    said: torch.Tensor = model.generate(  # as transformers does it, token by token
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, min_new_tokens=4, do_sample=False
    )
    return said


@pytest.mark.parametrize("case", CASES)
def test_learns_and_gives_the_same_in_plain_peft(
    tiny_base: BaseModel, batch: dict[str, Any], tmp_path: Path, case: str
) -> None:
    choices, bits, count = CASES[case]
    recipe = recipe_of(choices, bits)
    model = fresh(tiny_base, recipe, batch)
    learning = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    assert {p.dtype for p in learning.values()} == {torch.float32}
    assert methods.trainable_parameters(model) == count

    losses = learn(model, recipe, batch, range(1, 4))
    assert all(math.isfinite(value) for value in losses) and losses[-1] < losses[0] + 0.5
    moved = [name for name, p in model.named_parameters() if name in learning and not torch.equal(p, learning[name])]
    assert len(moved) == len(learning)

    trained = logits(model, batch)
    with model.disable_adapter():
        untouched = logits(model, batch)
    torch.testing.assert_close(untouched, logits(load_base(tiny_base, bits, probe()).model, batch))
    assert methods.trainable_parameters(model) == count  # switching off and on makes nothing learn that did not

    methods.save(model, tmp_path, {"format": "pt"})
    loaded = PeftModel.from_pretrained(load_base(tiny_base, bits, probe()).model, tmp_path)
    # AdaLoRA drops what is 0, and adds up the rest in another order
    close = {"atol": 0.1, "rtol": 0.02} if case == "adalora" else {"atol": 1e-4, "rtol": 1e-5}
    torch.testing.assert_close(logits(loaded, batch), trained, **close)
    assert torch.equal(say(loaded, batch), say(model, batch))

    further = fresh(tiny_base, recipe, batch, seed=1)
    methods.begin_from(further, tmp_path)
    torch.testing.assert_close(logits(further, batch), trained, **close)


@pytest.mark.parametrize("case", CASES)
def test_counts_without_weights(case: str) -> None:
    """As a forecast does: on the meta device, where a model has shapes only."""
    choices, bits, count = CASES[case]
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.device("meta"):
        model = methods.attach(LlamaForCausalLM(config), recipe_of(choices, bits), "tiny")
    assert methods.trainable_parameters(model) == count


def test_adalora_goes_on_exactly_from_what_was_saved(tiny_base: BaseModel, batch: dict[str, Any]) -> None:
    recipe = recipe_of({"method": "adalora", "learning_rate": 5e-2}, 16)
    whole = fresh(tiny_base, recipe, batch)
    learn(whole, recipe, batch, range(1, 3))
    weights = {name: w.clone() for name, w in snapshot.learning_weights(whole).items()}
    saved = methods.state(whole)
    saved["adalora"] = {k: {n: t.clone() for n, t in v.items()} if k != "rank_pattern" else v
                        for k, v in saved["adalora"].items()}  # fmt: skip
    assert saved["adalora"]["ipt"] and saved["adalora"]["rank_pattern"]
    again = fresh(tiny_base, recipe, batch, seed=7)
    snapshot.restore_weights(again, weights)
    methods.restore(again, saved)
    after = [(learn(m, recipe, batch, range(3, 4)), snapshot.learning_weights(m)) for m in (whole, again)]
    assert after[0][0] == after[1][0]
    assert all(torch.equal(w, after[1][1][name]) for name, w in after[0][1].items())
    kept = whole.peft_config["default"].rank_pattern
    assert sum(sum(ranks) for ranks in kept.values()) == 4 * 14  # of 6 that each began with


def test_frozen_halves_are_part_of_what_is_saved(tiny_base: BaseModel, batch: dict[str, Any]) -> None:
    recipe = recipe_of({"initialization": "pissa"}, 16)
    one, other = fresh(tiny_base, recipe, batch), fresh(tiny_base, recipe, batch, seed=3)
    snapshot.restore_weights(other, snapshot.learning_weights(one))
    methods.restore(other, methods.state(one))
    assert torch.equal(logits(one, batch), logits(other, batch))
    assert torch.equal(logits(one, batch), logits(load_base(tiny_base, 16, probe()).model, batch))  # begins at nothing


def test_lora_plus_makes_b_faster_and_vectors_do_not_decay(tiny_base: BaseModel, batch: dict[str, Any]) -> None:
    recipe = recipe_of({"method": "dora", "lora_plus_ratio": 16, "weight_decay": 0.1}, 16)
    model = fresh(tiny_base, recipe, batch)
    groups = methods.parameter_groups(model, recipe)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {
        kind: {(g["lr"], g["weight_decay"]) for g in groups for p in g["params"] if f".{kind}." in names[id(p)]}
        for kind in ("lora_A", "lora_B", "lora_magnitude_vector")
    }
    assert found == {"lora_A": {(1e-2, 0.1)}, "lora_B": {(0.16, 0.1)}, "lora_magnitude_vector": {(1e-2, 0.0)}}
    assert sum(len(g["params"]) for g in groups) == 3 * 14


def test_biases_learn_where_there_are_some(tmp_path: Path, batch: dict[str, Any]) -> None:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, pad_token_id=0, tie_word_embeddings=True,
    )  # fmt: skip
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "qwen")
    base = BaseModel("qwen", "Qwen", tmp_path / "qwen", "", "")
    recipe = recipe_of({"method": "bias"}, 4)
    model = fresh(base, recipe, batch)
    assert methods.trainable_parameters(model) == 2 * (64 + 32 + 32)
    before = logits(model, batch)
    learn(model, recipe, batch, range(1, 4))
    methods.save(model, tmp_path, {"format": "pt"})
    loaded = PeftModel.from_pretrained(load_base(base, 4, probe()).model, tmp_path)
    assert torch.equal(logits(loaded, batch), logits(model, batch))
    assert not torch.equal(before, logits(model, batch))


def test_a_tied_head_learns_with_its_embedding(tmp_path: Path, batch: dict[str, Any]) -> None:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, pad_token_id=0, tie_word_embeddings=True,
    )  # fmt: skip
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "qwen")
    base = BaseModel("qwen", "Qwen", tmp_path / "qwen", "", "")
    recipe = recipe_of({"method": "full"}, 16)
    model = fresh(base, recipe, batch)
    assert methods.trainable_parameters(model) == sum(
        p.numel() for p in load_base(base, 16, probe()).model.parameters()
    )
    learn(model, recipe, batch, range(1, 4))
    saved = copies.state_dict(model)
    head, embedding = (next(w for n, w in saved.items() if part in n) for part in ("lm_head", "embed_tokens"))
    assert torch.equal(head, embedding)
    methods.save(model, tmp_path, {"format": "pt"})
    loaded = PeftModel.from_pretrained(load_base(base, 16, probe()).model, tmp_path)
    assert torch.equal(logits(loaded, batch), logits(model, batch))


@pytest.mark.parametrize(
    ("choices", "field", "words"),
    [
        ({"method": "bias"}, "method", "no biases to train. Choose norms"),
        ({"method": "layers", "trained_layers": 3}, "trained_layers", "has 2 layers, not 3"),
        ({"rank_pattern": {"query": 2}}, "rank_pattern", "no layer “query”"),
        ({"target_modules": ["query"]}, "target_modules", "no layer “query”"),
        ({"initialization": "eva", "rank": 256}, "initialization", "256 words of answers"),
    ],
)
def test_what_a_model_cannot_do_is_said_by_field(
    tiny_base: BaseModel, batch: dict[str, Any], choices: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(RecipeError) as raised:
        fresh(tiny_base, recipe_of(choices, 16), batch)
    assert words in raised.value.fields[field]


def test_an_adapter_of_another_shape_is_no_beginning(
    tiny_base: BaseModel, batch: dict[str, Any], tmp_path: Path
) -> None:
    methods.save(fresh(tiny_base, recipe_of({}, 16), batch), tmp_path, {"format": "pt"})
    for choices in ({"rank": 8}, {"method": "norms"}, {"method": "adalora"}, {"initialization": "pissa"}):
        with pytest.raises(RecipeError, match="must be those of the first run"):
            methods.begin_from(fresh(tiny_base, recipe_of(choices, 16), batch), tmp_path)
