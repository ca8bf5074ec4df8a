from typing import Any, get_args

import pytest

from studio.core.choices import build
from studio.core.errors import RecipeError
from studio.core.methods import METHOD_FIELDS, METHODS, START_NAMES, allowed, conflicts, unused
from studio.core.recipe import Initialization, Method, Recipe


def test_every_method_and_start_of_the_recipe_is_described() -> None:
    assert set(METHODS) == set(get_args(Method))
    assert set(START_NAMES) == set(get_args(Initialization))
    for info in METHODS.values():
        assert info.sentence.endswith(".") and "arXiv:" in info.paper
        assert info.uses <= set(METHOD_FIELDS) <= set(Recipe.model_fields)
        assert info.starts[0] == "default" and info.rate_factor > 0


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_chosen_with_some_bits(method: Method) -> None:
    assert any(not conflicts(Recipe(method=method, bits=bits)) for bits in (4, 8, 16))


@pytest.mark.parametrize(
    ("choices", "field", "words"),
    [
        ({"method": "full", "bits": 4}, "bits", "Choose 16 bits"),
        ({"method": "layers", "bits": 8}, "bits", "Choose 16 bits"),
        ({"method": "dora", "bits": 8}, "bits", "Choose 4 or 16 bits"),
        ({"method": "ia3", "bits": 4}, "bits", "On 4-bit weights"),
        ({"method": "dora", "initialization": "pissa"}, "initialization", "DoRA cannot start from PiSSA"),
        ({"initialization": "loftq", "bits": 16}, "initialization", "nothing to make up for"),
        ({"initialization": "olora", "bits": 8}, "initialization", "8-bit ones cannot be read back"),
        ({"method": "vera", "target_modules": "all-linear-embeddings"}, "target_modules", "Choose all-linear"),
        ({"method": "prompt", "packing": True}, "packing", "Switch packing off"),
        ({"method": "oft", "rank": 1}, "rank", "2 or more"),
        ({"method": "prefix", "gradient_checkpointing": "on"}, "gradient_checkpointing", "Choose off or auto"),
    ],
)
def test_what_cannot_go_together_is_refused_by_field_before_a_run(
    choices: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(RecipeError) as raised:
        build(choices, rows=60, parameters=100_000_000)
    assert list(raised.value.fields) == [field]
    assert words in raised.value.fields[field]


def test_what_has_no_meaning_is_greyed_out_and_never_refused() -> None:
    recipe = Recipe(method="prompt", initialization="pissa", rank=1)
    assert conflicts(recipe) == {}
    grey = unused(recipe)
    assert grey["rank"] == "Prompt tuning has no use for it."
    assert "virtual_tokens" not in grey and "trained_layers" in grey
    assert "quantization" in unused(Recipe(bits=16)) and "quantization" not in unused(Recipe(bits=4))
    assert "nothing to be faster than" in unused(Recipe(method="lora-fa"))["lora_plus_ratio"]
    assert "hold_back_by" in unused(Recipe()) and "hold_back_by" not in unused(Recipe(hold_back="group"))


@pytest.mark.parametrize(
    ("field", "option", "choices", "words"),
    [
        ("method", "full", {"bits": 4}, "Choose 16 bits"),
        ("method", "full", {"bits": 16}, ""),
        ("bits", 8, {"method": "dora"}, "DoRA cannot read 8-bit"),
        ("bits", 16, {"method": "full", "bits": 4}, ""),  # mends what is wrong
        ("packing", True, {"method": "prefix"}, "Switch packing off"),
        ("initialization", "eva", {"method": "lora-fa"}, ""),
        ("rank", 8, {"method": "norms"}, "has no use for it"),
    ],
)
def test_an_option_says_why_it_cannot_be_chosen(field: str, option: Any, choices: dict[str, Any], words: str) -> None:
    reason = allowed(field, option, Recipe.model_validate(choices))
    assert words in reason and bool(words) == bool(reason)
