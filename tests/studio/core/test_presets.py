from typing import Any

import pytest

from studio.core.choices import build
from studio.core.methods import METHODS
from studio.core.presets import Facts, advise, for_preset, task_of
from studio.core.recipe import PRESETS, Recipe

SMALL = 134_515_008


def recipe(preset: Any = "balanced", rows: int = 300, parameters: int = SMALL, **known: Any) -> Recipe:
    return advise(preset, Facts(rows, parameters, **known)).recipe


@pytest.mark.parametrize("preset", PRESETS)
def test_every_value_that_is_not_the_usual_one_has_a_reason(preset: Any) -> None:
    for facts in (Facts(60, SMALL), Facts(9000, 7 * 10**9, "labels"), Facts(40, SMALL, "text", longest=600)):
        advice = advise(preset, facts)
        changed = {name for name, value in advice.recipe.model_dump().items() if value != getattr(Recipe(), name)}
        assert changed - {"preset"} <= set(advice.reasons)
        assert all(reason and len(reason) <= 100 for reason in advice.reasons.values())


def test_few_examples_get_a_smaller_add_on_that_is_read_more_often() -> None:
    few, many = recipe(rows=60), recipe(rows=3000)
    assert few.rank < many.rank and few.epochs > many.epochs


def test_a_graphics_card_hides_a_little_of_the_add_on_where_examples_are_few() -> None:
    assert recipe(rows=300, device="cuda").dropout == 0.05
    assert recipe(rows=3000, device="cuda").dropout == recipe(rows=300).dropout == 0


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("rows", [0, 12, 500, 100_000])
def test_alpha_is_one_to_two_ranks(preset: Any, rows: int) -> None:
    assert 1 <= recipe(preset, rows).alpha / recipe(preset, rows).rank <= 2


def test_labels_need_less_and_texts_more() -> None:
    assert recipe(rows=1000, kind="labels").rank < recipe(rows=1000).rank < recipe(rows=1000, kind="text").rank
    assert recipe(kind="text").packing and not recipe().packing


def test_auto_may_read_as_often_as_thorough_and_stops_when_it_gets_no_better() -> None:
    auto = advise("auto", Facts(60, SMALL))
    assert auto.recipe.epochs == recipe("thorough", 60).epochs
    assert auto.recipe.patience > 0 and auto.recipe.keep_best
    assert "stops" in auto.reasons["epochs"]


def test_auto_takes_a_length_that_cuts_nothing() -> None:
    assert recipe("auto", longest=1500).max_length == 1536
    assert recipe("auto", longest=100_000).max_length == 4096
    assert recipe("auto", longest=300).max_length == recipe("balanced", longest=1500).max_length == 1024


def test_a_batch_that_does_not_fit_is_gathered_from_smaller_ones() -> None:
    roomy, tight = recipe(rows=5000, memory_gib=64), recipe(rows=5000, memory_gib=8)
    assert (roomy.batch_size, roomy.gradient_accumulation) == (8, 1)
    assert tight.batch_size < 8 and tight.batch_size * tight.gradient_accumulation == 8


def test_a_big_model_on_a_small_card_computes_parts_twice() -> None:
    big = recipe(parameters=7_600_000_000, memory_gib=16, device="cuda")
    assert big.gradient_checkpointing == "on" and big.bits == 4
    assert recipe(memory_gib=16).gradient_checkpointing == "auto"


@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_is_rounded_where_the_whole_model_fits(preset: Any) -> None:
    assert recipe(preset, memory_gib=16).bits == 16
    assert recipe(preset, parameters=7_600_000_000, memory_gib=16).bits == 4
    assert recipe(preset).bits == 4  # nothing is known of the memory


def test_what_is_known_beside_rows_and_size_counts_for_choices_too() -> None:
    assert build({}, 300, SMALL, Facts(300, SMALL, "text")) == for_preset("balanced", 300, SMALL, "text")
    assert build({"rank": 5}, 300, SMALL, Facts(300, SMALL, "text")).rank == 5


def test_shapes_of_data_sets_are_tasks() -> None:
    assert [task_of(shape) for shape in ("labels", "text", "messages", "columns", "")] == [
        "labels", "text", "chat", "chat", "chat",
    ]  # fmt: skip


def test_the_usual_rate_follows_the_method_until_one_is_chosen() -> None:
    usual = build({}, 300, SMALL).learning_rate
    assert build({"method": "vera"}, 300, SMALL).learning_rate == pytest.approx(usual * METHODS["vera"].rate_factor)
    assert build({"method": "vera", "learning_rate": 1e-3}, 300, SMALL).learning_rate == 1e-3
    assert advise("balanced", Facts(300, SMALL), "vera").recipe.method == "lora"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_texts_without_a_conflict_nobody_chose(method: Any) -> None:
    bits = next(bits for bits in (4, 16) if not METHODS[method].refusal(bits))
    build({"method": method, "bits": bits}, 300, SMALL, Facts(300, SMALL, "text"))
