from dataclasses import replace

import pytest

from studio.core.recipe import Recipe
from studio.diagnostics import forecast
from studio.diagnostics.forecast import Batch, Facts, Machine

# Llama 3.1 8B with r=16 on q, k, v and o, as `workers.forecast` counts and traces it
FACTS = Facts(
    parameters=8_030_261_248, trainable_parameters=13_631_488, extra_parameters=13_631_488,
    linear_parameters=6_979_321_856, linear_rows=1_376_256, linear_layers=224, adapter_bytes=54_525_952,
    vocabulary=128_256, hidden=4096, layers=32, context=131_072, head_block=1 << 23, attention="sdpa",
    step={
        "tokens": 4096, "fast": True, "autocast": False, "off": {"kept": 19_424_870_400, "peak": 19_739_426_816},
        "on": {"kept": 1_176_551_424, "peak": 2_080_243_712},
    },
    picture={},
)  # fmt: skip
CARD = Machine("cuda", "A card", 24.0, 23.0, "bfloat16", {"4": "", "8": "", "16": ""}, 0.5)
BATCH = Batch(4, 2048)


def recipe(**settings: object) -> Recipe:
    return Recipe.model_validate({"rank": 16, "bits": 16, "batch_size": 4, "max_length": 2048} | settings)


def test_llama_8b_in_16_bit_takes_about_20_gib() -> None:
    needed = forecast.memory(FACTS, recipe(), CARD, BATCH, checkpointing=True)
    assert needed.weights == pytest.approx(14.96, abs=0.01)
    assert needed.adapters == pytest.approx(13_631_488 * 4 / 2**30)
    assert needed.optimizer == pytest.approx(2 * needed.adapters)
    assert 18 < needed.total < 22
    assert needed.as_dict()["total"] == pytest.approx(sum(needed.as_dict().values()) / 2, abs=0.001)


def test_four_bit_holds_linear_layers_in_a_quarter_and_constants_beside_them() -> None:
    needed = forecast.memory(FACTS, recipe(bits=4), CARD, BATCH, checkpointing=True)
    others = FACTS.parameters - FACTS.linear_parameters
    assert needed.weights * 2**30 == FACTS.linear_parameters / 2 + 2 * others
    assert needed.quantization_constants * 2**30 == pytest.approx(FACTS.linear_parameters / 64, rel=0.02)
    single = forecast.memory(FACTS, recipe(bits=4, double_quantization=False), CARD, BATCH, checkpointing=True)
    assert single.quantization_constants > 3.5 * needed.quantization_constants


def test_a_machine_that_cannot_quantize_holds_16_bit() -> None:
    without = replace(CARD, bits={"4": "it does not work", "8": "", "16": ""})
    assert forecast.memory(FACTS, recipe(bits=4), without, BATCH, True).weights == pytest.approx(14.96, abs=0.01)


@pytest.mark.parametrize(("optimizer", "size"), [("adamw", 8), ("paged-adamw-8bit", 2), ("muon", 4)])
def test_each_optimizer_keeps_its_own_state(optimizer: str, size: int) -> None:
    needed = forecast.memory(FACTS, recipe(optimizer=optimizer), CARD, BATCH, True)
    assert needed.optimizer * 2**30 == size * FACTS.trainable_parameters


def test_all_logits_are_held_where_the_head_cannot_stand_alone() -> None:
    alone = forecast.memory(FACTS, recipe(), CARD, BATCH, True).logits
    whole = forecast.memory(replace(FACTS, head_block=0), recipe(), CARD, BATCH, True).logits
    assert alone < 0.3 and whole > 10


def test_a_model_that_cannot_be_traced_is_reckoned_by_its_width() -> None:
    untraced = replace(FACTS, step={"tokens": 4096, "fast": True, "autocast": False, "off": None, "on": None})
    kept, checkpointed = (forecast.memory(untraced, recipe(), CARD, BATCH, on).activations for on in (False, True))
    assert kept > 10 * checkpointed > 0


def test_checkpointing_is_chosen_where_activations_would_not_fit() -> None:
    assert forecast.checkpoints(FACTS, recipe(), CARD, BATCH)
    assert not forecast.checkpoints(FACTS, recipe(), replace(CARD, memory_gib=141.0, free_gib=140.0), BATCH)
    assert not forecast.checkpoints(FACTS, recipe(gradient_checkpointing="off"), CARD, BATCH)


@pytest.mark.parametrize(
    ("memory", "free", "verdict"), [(24, 23.5, "fits"), (24, 21, "tight"), (20, 20, "wont_fit"), (16, 16, "wont_fit")]
)
def test_it_fits_is_tight_or_will_not_fit(memory: float, free: float, verdict: str) -> None:
    needed = forecast.memory(FACTS, recipe(), CARD, BATCH, checkpointing=True)
    assert 19 < needed.total < 20.5
    assert forecast.fits(needed, replace(CARD, memory_gib=memory, free_gib=free)) == verdict


def test_nothing_is_changed_where_it_fits() -> None:
    assert forecast.make_it_fit(FACTS, recipe(), replace(CARD, memory_gib=80.0, free_gib=79.0), BATCH) == []


def test_the_gentlest_changes_come_first_and_keep_the_step_as_it_was() -> None:
    changes = forecast.make_it_fit(FACTS, recipe(gradient_checkpointing="off"), CARD, BATCH)
    assert [change.field for change in changes][:1] == ["gradient_checkpointing"]
    smaller = {
        change.field: change for change in forecast.make_it_fit(FACTS, recipe(), replace(CARD, free_gib=20.0), BATCH)
    }
    assert (smaller["batch_size"].old, smaller["batch_size"].new) == (4, 2)
    assert "2 such batches make one step" in smaller["batch_size"].cost


def test_on_a_small_card_bits_and_length_go_too_and_it_is_said_what_is_cut() -> None:
    small = replace(CARD, memory_gib=8.0, free_gib=7.5)
    changes = {c.field: c for c in forecast.make_it_fit(FACTS, recipe(), small, BATCH, {1024: 0.25})}
    assert changes["bits"].new == 4
    assert changes["batch_size"].new == 1
    assert "max_length" not in changes or changes["max_length"].cost.startswith("Longer examples are cut")
    assert forecast.card_for(19.9) == 24 and forecast.card_for(1000) is None
