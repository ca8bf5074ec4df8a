"""Every hyperparameter, declared once: default, bounds, words, and who needs to see it.

The form, the command line, the worker, `recipe.yaml` and the docs all follow from `Recipe`. `core.presets` says which
recipe suits whom, `core.methods` what goes together, `core.choices` lays a user's own choices over a preset.
"""

from math import ceil
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

Preset = Literal["quick", "balanced", "thorough", "auto"]
PRESETS: tuple[Preset, ...] = get_args(Preset)
Method = Literal[
    "lora", "dora", "lora-fa", "adalora", "vera", "dylora", "oft", "ia3",
    "prompt", "prefix", "bias", "norms", "layers", "full",
]  # fmt: skip
Initialization = Literal["default", "gaussian", "pissa", "olora", "eva", "loftq"]
TargetGroup = Literal["attention-qv", "attention", "attention-mlp", "all-linear", "all-linear-embeddings"]
Optimizer = Literal["adamw", "adamw-8bit", "paged-adamw", "paged-adamw-8bit", "adafactor", "muon"]
Scheduler = Literal["cosine", "linear", "constant", "wsd"]
TARGET_GROUPS: tuple[TargetGroup, ...] = get_args(TargetGroup)
MAX_VALIDATION_ROWS = 200  # enough for a steady curve; more only slows every check down


class Recipe(BaseModel):
    """How to train. All values are concrete: what is written here is what the trainer does."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    preset: Preset = Field(
        "balanced",
        title="How long",
        description="Quick for a first look, balanced for most uses, thorough for the last bit. "
        "Auto trains until it stops getting better.",
    )

    method: Method = Field(
        "lora",
        title="Method",
        description="LoRA trains a small add-on and leaves the base model as it is.",
    )
    initialization: Initialization = Field(
        "default",
        title="Start of the add-on",
        description="pissa, olora, eva and loftq start from what the base model's weights or your examples tell.",
    )
    rslora: bool = Field(
        False,
        title="Rank-stabilized (rsLoRA)",
        description="Divides alpha by the rank's square root, so that high ranks keep their strength.",
    )
    lora_plus_ratio: float = Field(
        1.0,
        ge=1,
        le=64,
        title="LoRA+ ratio",
        description="How many times faster the add-on's second half (B) learns. 1 is plain LoRA, 16 is LoRA+.",
    )
    rank: int = Field(
        16,
        ge=1,
        le=256,
        title="LoRA rank",
        description="The size of the add-on. Higher learns more detail and uses more memory.",
    )
    rank_pattern: dict[str, int] = Field(
        {},
        title="Other ranks for some layers",
        description="For example down_proj=32, q_proj=4. The others have the rank above.",
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
    target_modules: TargetGroup | list[str] = Field(
        "all-linear",
        title="Layers with an add-on",
        description=f"{', '.join(TARGET_GROUPS)}, or names separated by commas, for example q_proj, v_proj.",
    )
    virtual_tokens: int = Field(
        20,
        ge=1,
        le=1024,
        title="Virtual tokens",
        description="How many learned tokens stand before every question (prompt and prefix tuning).",
    )
    trained_layers: int = Field(
        2,
        ge=1,
        le=1024,
        title="Layers trained",
        description="How many of the model's last layers learn (partial fine-tuning).",
    )
    bits: Literal[4, 8, 16] = Field(
        4,
        title="Bits per base weight",
        description="4 (QLoRA) holds the base model in a quarter of the memory; 16 is a little more exact.",
    )
    quantization: Literal["nf4", "fp4"] = Field(
        "nf4", title="Kind of 4 bit", description="nf4 is made for the weights of trained models; fp4 is coarser."
    )
    double_quantization: bool = Field(
        True,
        title="Double quantization",
        description="Quantizes the 4-bit weights' own constants too; saves about 0.4 bits a weight.",
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
    optimizer: Optimizer = Field(
        "adamw",
        title="Optimizer",
        description="8-bit and paged kinds save memory on a graphics card; on a processor they are slower.",
    )
    scheduler: Scheduler = Field(
        "cosine",
        title="Schedule",
        description="How the learning rate falls after the warm-up. wsd stays level and falls at the end.",
    )
    warmup_ratio: float = Field(
        0.1, ge=0, le=0.5, title="Warm-up", description="The share of the run in which the learning rate rises gently."
    )
    weight_decay: float = Field(
        0.0, ge=0, le=1, title="Weight decay", description="Pulls the add-on's weights gently towards zero."
    )
    max_gradient_norm: float = Field(
        1.0,
        ge=0,
        le=1000,
        title="Gradient clipping",
        description="No correction is larger than this. 0 switches it off.",
    )
    neftune_alpha: float = Field(
        0.0,
        ge=0,
        le=100,
        title="NEFTune noise",
        description="Noise on the input while learning, against memorising; 5 is usual, 0 is none.",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        le=0.5,
        title="Label smoothing",
        description="Asks for a little less certainty in every word; 0 is none.",
    )
    seed: int = Field(
        42, ge=0, le=2**31 - 1, title="Seed", description="The same seed, data and settings give the same run."
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
    gradient_checkpointing: Literal["auto", "on", "off"] = Field(
        "auto",
        title="Gradient checkpointing",
        description="Computes parts twice instead of keeping them: slower, less memory. auto: only where needed.",
    )

    validation_fraction: float = Field(
        0.1,
        ge=0,
        le=0.5,
        title="Held back to check",
        description=f"Share of the examples kept unseen, to check progress (at most {MAX_VALIDATION_ROWS}).",
    )
    hold_back: Literal["random", "group", "dataset"] = Field(
        "random",
        title="Which are held back",
        description="random: any of them. group: all rows with the same value in a column. dataset: another data set.",
    )
    hold_back_by: str = Field(
        "",
        max_length=200,
        title="By which column or data set",
        description="For group the name of a column, for dataset its number under “Data”, for example 3.",
    )
    keep_best: bool = Field(
        True,
        title="Keep the best",
        description="Your model is the one with the fewest mistakes on held-back examples, not simply the last.",
    )
    patience: int = Field(
        3,
        ge=0,
        le=100,
        title="Stop early",
        description="Stops when it has not improved for this many checks. 0 goes on to the end.",
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

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_values_as_numbers(cls, value: Any, info: Any) -> Any:
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError("yes and no are not numbers")
        return value

    @field_validator("target_modules", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        if not isinstance(value, str) or value.strip() in TARGET_GROUPS:
            return value.strip() if isinstance(value, str) else value
        return [name.strip() for name in value.split(",") if name.strip()]

    @field_validator("target_modules", mode="after")
    @classmethod
    def _plain_names(cls, value: str | list[str]) -> str | list[str]:
        # PEFT would take a string as a regular expression, which a hostile one can hang on
        if isinstance(value, list) and not (value and all(_is_plain(name) for name in value)):
            raise ValueError("give a group or module names separated by commas")
        return value

    @field_validator("rank_pattern", mode="before")
    @classmethod
    def _split_pattern(cls, value: Any) -> Any:
        if value is None or not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        return {name.strip(): rank.strip() for name, _, rank in pairs}

    @field_validator("rank_pattern", mode="after")
    @classmethod
    def _plain_pattern(cls, value: dict[str, int]) -> dict[str, int]:
        if not all(_is_plain(name) and 1 <= rank <= 256 for name, rank in value.items()):
            raise ValueError("give module names with ranks from 1 to 256")
        return value

    def as_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(), sort_keys=False)

    def steps(self, rows: int) -> int:
        """How many corrections the recipe means for so many rows to learn from (after packing)."""
        batches = -(-rows // self.batch_size)
        total = ceil(self.epochs * -(-batches // self.gradient_accumulation))
        return max(1, min(total, self.max_steps or total))


def _is_plain(name: str) -> bool:
    return name.replace("_", "").replace(".", "").isalnum()


# "More settings", in the order in which they are shown
GROUPS: dict[str, tuple[str, ...]] = {
    "Method": (
        "method", "initialization", "rslora", "lora_plus_ratio", "rank", "rank_pattern", "alpha", "dropout",
        "target_modules", "virtual_tokens", "trained_layers", "bits", "quantization", "double_quantization",
    ),
    "Learning": (
        "learning_rate", "epochs", "max_steps", "optimizer", "scheduler", "warmup_ratio", "weight_decay",
        "max_gradient_norm", "neftune_alpha", "label_smoothing", "seed",
    ),
    "Memory and speed": ("batch_size", "gradient_accumulation", "max_length", "packing", "gradient_checkpointing"),
    "Checking and saving": (
        "validation_fraction", "hold_back", "hold_back_by", "keep_best", "patience",
        "checkpoint_minutes", "checkpoint_steps",
    ),
}  # fmt: skip
ADVANCED_FIELDS: tuple[str, ...] = tuple(name for names in GROUPS.values() for name in names)
