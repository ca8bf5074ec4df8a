import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from studio.core.choices import build, parse_settings, parse_yaml
from studio.core.errors import RecipeError
from studio.core.presets import for_preset
from studio.core.recipe import ADVANCED_FIELDS, PRESETS, Recipe

ANYTHING = st.text(max_size=20) | st.floats() | st.integers() | st.none()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_whole_recipe(preset: str) -> None:
    assert build({"preset": preset}, 100, 10**8) == for_preset(preset, 100, 10**8)


def test_few_examples_are_read_more_often() -> None:
    assert for_preset("balanced", 60, 10**8).epochs > for_preset("balanced", 1000, 10**8).epochs


def test_big_models_are_corrected_more_gently() -> None:
    rates = [for_preset("balanced", 100, size).learning_rate for size in (10**8, 5 * 10**8, 2 * 10**9, 7 * 10**9)]
    assert rates == sorted(set(rates), reverse=True)


@pytest.mark.parametrize(
    ("choices", "rows", "steps"),
    [
        ({"epochs": 2}, 10, 6),  # 3 batches of 4, the last one short
        ({"epochs": 2, "gradient_accumulation": 2}, 10, 4),
        ({"epochs": 0.1}, 10, 1),
        ({"epochs": 100, "max_steps": 7}, 10, 7),
    ],
)
def test_steps_are_counted_as_they_are_made(choices: dict[str, float], rows: int, steps: int) -> None:
    assert build(choices, rows, 10**8).steps(rows) == steps


def test_own_choices_lie_over_the_preset() -> None:
    recipe = build({"preset": "quick", "rank": "4", "target_modules": "q_proj, v_proj"}, 100, 10**8)
    assert (recipe.preset, recipe.rank, recipe.target_modules) == ("quick", 4, ["q_proj", "v_proj"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rank", 0), ("rank", 10_000_000), ("rank", "many"), ("rank", True), ("rank", None), ("rank", 1.5),
        ("learning_rate", float("nan")), ("learning_rate", 0), ("learning_rate", 1e308), ("epochs", -1),
        ("bits", 5), ("preset", "forever"), ("scheduler", "<b>"), ("target_modules", "(a+)+$"), ("target_modules", []),
        ("packing", "perhaps"), ("seed", -1), ("max_length", 1), ("rank_pattern", "down_proj"), ("rank_pattern", "q=0"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_in_words_under_its_own_name(name: str, value: object) -> None:
    with pytest.raises(RecipeError) as caught:
        build({name: value}, 100, 10**8)
    assert list(caught.value.fields) == [name]
    assert str(Recipe.model_fields[name].title) in caught.value.fields[name]


def test_an_unknown_setting_names_the_likely_one() -> None:
    with pytest.raises(RecipeError, match="Did you mean “learning_rate”"):
        build({"learning_rat": 1}, 100, 10**8)


@given(st.dictionaries(st.sampled_from(sorted(Recipe.model_fields)), ANYTHING, max_size=3))
def test_no_choice_ends_in_anything_but_a_recipe_or_a_sentence(choices: dict[str, object]) -> None:
    try:
        assert isinstance(build(choices, 100, 10**8), Recipe)
    except RecipeError as error:
        assert set(error.fields) <= set(choices) and all(error.fields.values())


def test_yaml_round_trip_repeats_the_recipe() -> None:
    recipe = build({"preset": "thorough", "target_modules": "q_proj", "learning_rate": "2e-5"}, 77, 10**9)
    assert build(parse_yaml(recipe.as_yaml()), 5, 10**8) == recipe


@pytest.mark.parametrize("text", ["rank: [", "- 1\n- 2", "just words"])
def test_yaml_that_is_no_recipe_is_refused_in_words(text: str) -> None:
    with pytest.raises(RecipeError, match="recipe"):
        parse_yaml(text)


def test_settings_from_a_command_line() -> None:
    assert parse_settings(["rank=8", "packing=true", "target_modules=q_proj,v_proj"]) == {
        "rank": 8, "packing": True, "target_modules": "q_proj,v_proj",
    }  # fmt: skip
    with pytest.raises(RecipeError, match="key=value"):
        parse_settings(["rank"])


def test_on_and_off_stay_words_where_a_setting_has_such_words() -> None:
    assert parse_settings(["gradient_checkpointing=on", "packing=on"]) == {
        "gradient_checkpointing": "on",
        "packing": True,
    }


def test_every_setting_explains_itself() -> None:
    for name, field in Recipe.model_fields.items():
        assert field.title and field.description and field.description.endswith("."), name
    assert yaml.safe_load(Recipe().as_yaml()) == Recipe().model_dump()


def test_every_setting_but_the_preset_has_one_place_in_the_form() -> None:
    assert sorted(ADVANCED_FIELDS) == sorted(set(Recipe.model_fields) - {"preset"})


def test_ranks_of_single_layers_are_given_as_on_a_command_line() -> None:
    assert build({"rank_pattern": "down_proj=32, q_proj=4"}, 100, 10**8).rank_pattern == {"down_proj": 32, "q_proj": 4}
