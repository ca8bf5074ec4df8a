"""A user's own choices, from a form, a command line or a `recipe.yaml`, laid over a preset, or refused in words."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from studio.core.errors import RecipeError
from studio.core.methods import METHODS, conflicts
from studio.core.presets import Facts, advise
from studio.core.recipe import PRESETS, TARGET_GROUPS, Method, Preset, Recipe


def build(choices: Mapping[str, Any], rows: int, parameters: int, facts: Facts | None = None) -> Recipe:
    """The preset's recipe for `rows` examples and a model's size, with the user's choices laid over it.

    `facts`, where more is known, say all that. Raises RecipeError with a sentence for each choice that cannot be used.
    """
    unknown = {name: _unknown_sentence(name) for name in choices if name not in Recipe.model_fields}
    if unknown:
        raise RecipeError(unknown)
    preset: Preset = next((known for known in PRESETS if known == choices.get("preset")), "balanced")
    method: Method = next((known for known in METHODS if known == choices.get("method")), "lora")
    base = advise(preset, facts or Facts(rows, parameters), method).recipe.model_dump()
    try:
        recipe = Recipe.model_validate(base | dict(choices))
    except ValidationError as error:
        raise RecipeError(_sentences(error, choices)) from None
    if found := conflicts(recipe):
        raise RecipeError(found)
    return recipe


def _unknown_sentence(name: str) -> str:
    near = get_close_matches(str(name), Recipe.model_fields, n=1)
    guess = f" Did you mean “{near[0]}”?" if near else f" The settings are: {', '.join(Recipe.model_fields)}."
    return f"There is no setting “{name}”.{guess}"


def _sentences(error: ValidationError, choices: Mapping[str, Any]) -> dict[str, str]:
    sentences = {}
    for problem in error.errors():
        name = str(problem["loc"][0])
        sentences[name] = (
            f"{Recipe.model_fields[name].title} ({name}) {_expectation(name)}; “{_short(choices.get(name))}” is not."
        )
    return sentences


def _expectation(name: str) -> str:
    field = Recipe.model_fields[name]
    if name == "target_modules":
        return f"must be one of {', '.join(TARGET_GROUPS)}, or module names separated by commas"
    if name == "rank_pattern":
        return "must be names with ranks from 1 to 256, for example down_proj=32, q_proj=4"
    allowed = get_args(field.annotation)
    if allowed:
        return f"must be one of {', '.join(str(a) for a in allowed)}"
    if field.annotation is bool:
        return "must be true or false"
    if field.annotation is str:
        return "must be a text of at most 200 characters"
    low = next((m for m in field.metadata if hasattr(m, "ge") or hasattr(m, "gt")), None)
    high = next((m.le for m in field.metadata if hasattr(m, "le")), None)
    kind = "a whole number" if field.annotation is int else "a number"
    if low is None:
        return f"must be {kind}"
    start = f"from {low.ge}" if hasattr(low, "ge") else f"above {low.gt}"
    return f"must be {kind} {start} to {high}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """`key=value` strings from a command line as choices for `build`."""
    choices: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise RecipeError({pair: f"“{pair}” is not a setting. Write key=value, for example rank=8."})
        try:
            read = yaml.safe_load(value)  # so that 8 is a number and true a truth value
            field = Recipe.model_fields.get(key.strip())
            word = field is not None and value.strip() in get_args(field.annotation)  # YAML's on and off are ours
            choices[key.strip()] = value.strip() if word else read
        except yaml.YAMLError:
            choices[key.strip()] = value.strip()
    return choices


def parse_yaml(text: str) -> dict[str, Any]:
    """The choices in a `recipe.yaml`."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" near line {mark.line + 1}" if mark else ""
        raise RecipeError(
            {"recipe": f"The recipe is not valid YAML{where}. Compare it with one the studio exported."}
        ) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise RecipeError({"recipe": "A recipe is a list of settings, one “key: value” a line."})
    return {str(key): value for key, value in content.items()}
