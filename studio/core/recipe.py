"""Every hyperparameter, declared once: default, bounds, words, and who needs to see it.

The form, the command line, the worker, `recipe.yaml` and the docs all follow from `Recipe`. A preset gives a whole
recipe for a number of examples; `build` lays a user's own choices over it and explains what cannot be used.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from math import ceil
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from studio.core.errors import RecipeError

Preset = Literal["quick", "balanced", "thorough"]
PRESETS: tuple[Preset, ...] = get_args(Preset)
MAX_VALIDATION_ROWS = 200  # enough for a steady curve; more only slows every check down
# (parameters of the base model up to which a rate is the preset's, the rate). The first was found by trying: with the
# starter and the sample, `quick` ends at a held-back loss of 0.27 with it, and at 1.90 with 5e-4.
LEARNING_RATES = ((300_000_000, 2e-3), (1_000_000_000, 1e-3), (3_000_000_000, 5e-4), (float("inf"), 2e-4))


class Recipe(BaseModel):
    """How to train. All values are concrete: what is written here is what the trainer does."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    preset: Preset = Field(
        "balanced",
        title="How long",
        description="Quick for a first look, balanced for most uses, thorough for the last bit.",
    )
    method: Literal["lora"] = Field(
        "lora", title="Method", description="LoRA trains a small add-on and leaves the base model as it is."
    )
    bits: Literal[4, 8, 16] = Field(
        4,
        title="Bits per base weight",
        description="4 (QLoRA) holds the base model in a quarter of the memory; 16 is a little more exact.",
    )
    rank: int = Field(
        16,
        ge=1,
        le=256,
        title="LoRA rank",
        description="The size of the add-on. Higher learns more detail and uses more memory.",
    )
    alpha: int = Field(
        32,
        ge=1,
        le=1024,
        title="LoRA alpha",
        description="How strongly the add-on speaks. One to two times the rank is usual.",
    )
    dropout: float = Field(
        0.0,
        ge=0,
        le=0.9,
        title="LoRA dropout",
        description="Hides a random share of the add-on at each step, against memorising.",
    )
    target_modules: Literal["all-linear"] | list[str] = Field(
        "all-linear",
        title="Layers with an add-on",
        description="all-linear, or names separated by commas, for example q_proj, v_proj.",
    )
    learning_rate: float = Field(
        5e-4,
        gt=0,
        le=0.1,
        title="Learning rate",
        description="The size of each correction. Too high and the loss jumps about.",
    )
    epochs: float = Field(
        3, gt=0, le=100, title="Passes (epochs)", description="How often the model reads all your examples."
    )
    max_steps: int = Field(
        0, ge=0, le=1_000_000, title="Most steps", description="Stops after this many corrections. 0 means no limit."
    )
    batch_size: int = Field(
        4,
        ge=1,
        le=256,
        title="Examples at once",
        description="Examples read together. More is steadier and takes more memory.",
    )
    gradient_accumulation: int = Field(
        1,
        ge=1,
        le=256,
        title="Batches per step",
        description="Collects several batches before each correction; saves memory.",
    )
    max_length: int = Field(
        1024,
        ge=16,
        le=131_072,
        title="Longest example",
        description="In tokens (about three quarters of a word). What is longer is cut off at the end.",
    )
    packing: bool = Field(
        False,
        title="Pack short examples",
        description="Puts several short examples into one row, so that none is padded.",
    )
    warmup_ratio: float = Field(
        0.1, ge=0, le=0.5, title="Warm-up", description="The share of the run in which the learning rate rises gently."
    )
    scheduler: Literal["cosine", "linear", "constant"] = Field(
        "cosine", title="Schedule", description="How the learning rate falls after the warm-up."
    )
    weight_decay: float = Field(
        0.0, ge=0, le=1, title="Weight decay", description="Pulls the add-on's weights gently towards zero."
    )
    validation_fraction: float = Field(
        0.1,
        ge=0,
        le=0.5,
        title="Held back to check",
        description=f"Share of the examples kept unseen, to check progress (at most {MAX_VALIDATION_ROWS}).",
    )
    checkpoint_minutes: float = Field(
        2.0,
        gt=0,
        le=120,
        title="Minutes between checkpoints",
        description="After a power cut at most this much is trained again.",
    )
    checkpoint_steps: int = Field(
        0,
        ge=0,
        le=1_000_000,
        title="Steps between checkpoints",
        description="Saves after so many steps too. 0 means by time alone.",
    )
    seed: int = Field(
        42, ge=0, le=2**31 - 1, title="Seed", description="The same seed, data and settings give the same run."
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_values_as_numbers(cls, value: Any, info: Any) -> Any:
        if isinstance(value, bool) and info.field_name != "packing":
            raise ValueError("yes and no are not numbers")
        return value

    @field_validator("target_modules", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        if not isinstance(value, str) or value.strip() == "all-linear":
            return value.strip() if isinstance(value, str) else value
        return [name.strip() for name in value.split(",") if name.strip()]

    @field_validator("target_modules", mode="after")
    @classmethod
    def _plain_names(cls, value: str | list[str]) -> str | list[str]:
        # PEFT would take a string as a regular expression, which a hostile one can hang on
        if isinstance(value, list) and not (
            value and all(n.replace("_", "").replace(".", "").isalnum() for n in value)
        ):
            raise ValueError("give all-linear or module names separated by commas")
        return value

    def as_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(), sort_keys=False)

    def steps(self, rows: int) -> int:
        """How many corrections the recipe means for so many rows to learn from (after packing)."""
        batches = -(-rows // self.batch_size)
        total = ceil(self.epochs * -(-batches // self.gradient_accumulation))
        return max(1, min(total, self.max_steps or total))


SIMPLE_FIELDS: tuple[str, ...] = ("preset",)
ADVANCED_FIELDS: tuple[str, ...] = tuple(name for name in Recipe.model_fields if name not in SIMPLE_FIELDS)


def for_preset(preset: Preset, rows: int, parameters: int) -> Recipe:
    """The recipe a preset means for this many examples and a base model of so many parameters.

    Few examples are read more often: the number of passes aims at a number of examples seen. A small model needs
    larger corrections to learn a fact at all; in a big one they would do harm.
    """
    seen, fewest, most = {"quick": (300, 1, 10), "balanced": (900, 3, 15), "thorough": (2400, 5, 25)}[preset]
    return Recipe(
        preset=preset,
        epochs=min(most, max(fewest, ceil(seen / max(rows, 1)))),
        max_steps=150 if preset == "quick" else 0,
        rank={"quick": 8, "balanced": 16, "thorough": 32}[preset],
        alpha={"quick": 16, "balanced": 32, "thorough": 64}[preset],
        learning_rate=next(rate for most, rate in LEARNING_RATES if parameters <= most),
    )


def build(choices: Mapping[str, Any], rows: int, parameters: int) -> Recipe:
    """The preset's recipe for `rows` examples and a model's size, with the user's choices laid over it.

    Raises RecipeError with a sentence for each choice that cannot be used.
    """
    unknown = {name: _unknown_sentence(name) for name in choices if name not in Recipe.model_fields}
    if unknown:
        raise RecipeError(unknown)
    preset = choices.get("preset", "balanced")
    base = for_preset(preset if preset in PRESETS else "balanced", rows, parameters).model_dump()
    try:
        return Recipe.model_validate(base | dict(choices))
    except ValidationError as error:
        raise RecipeError(_sentences(error, choices)) from None


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
        return "must be all-linear or module names separated by commas"
    allowed = get_args(field.annotation)
    if allowed:
        return f"must be one of {', '.join(str(a) for a in allowed)}"
    if field.annotation is bool:
        return "must be true or false"
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
            choices[key.strip()] = yaml.safe_load(value)  # so that 8 is a number and true a truth value
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
