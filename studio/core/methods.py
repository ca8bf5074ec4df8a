"""Every fine-tuning method: what it is, which settings it reads, what it goes together with and what not, and why.

`workers.methods` carries them out; `docs/methods.md` says what was seen. Pure words and rules, no torch.
"""

from dataclasses import dataclass
from typing import Any

from studio.core.recipe import Initialization, Method, Recipe

_LORA = frozenset({"initialization", "rslora", "lora_plus_ratio", "rank", "alpha", "dropout", "target_modules"})
_COPY_BITS = "trains the model's own weights, and rounded ones cannot learn. Choose 16 bits"
_KEEPS_ROUNDED = "Choose 4 or 16 bits"


@dataclass(frozen=True)
class MethodInfo:
    """A method as people speak of it, and the rules it brings."""

    name: str
    sentence: str
    paper: str
    uses: frozenset[str] = frozenset()  # fields of the recipe beside those of every method
    refused_bits: tuple[tuple[int, str], ...] = ()  # (bits, why not and what instead)
    starts: tuple[Initialization, ...] = ("default",)
    embeddings: bool = False  # whether it can be put on the input embedding
    merges: str = ""  # why it cannot become part of the base model's weights; empty if it can
    packs: bool = True
    rate_factor: float = 1.0  # its usual learning rate against LoRA's

    def refusal(self, bits: int) -> str:
        return dict(self.refused_bits).get(bits, "")


_NOTHING_TO_MERGE = "it stands before the question and is not part of any weight"
_VECTORS_BEFORE = "its tokens would have to stand before every example in a row"

METHODS: dict[Method, MethodInfo] = {
    "lora": MethodInfo(
        "LoRA",
        "Adds two small matrices to each layer and leaves the base model as it is.",
        "Hu et al. 2021, arXiv:2106.09685",
        _LORA | {"rank_pattern"},
        starts=("default", "gaussian", "pissa", "olora", "eva", "loftq"),
        embeddings=True,
    ),
    "dora": MethodInfo(
        "DoRA",
        "LoRA that learns how strong each output is apart from its direction: often a little better, and slower.",
        "Liu et al. 2024, arXiv:2402.09353",
        _LORA | {"rank_pattern"},
        ((8, f"DoRA cannot read 8-bit weights back. {_KEEPS_ROUNDED}."),),
        starts=("default", "gaussian"),
        embeddings=True,
    ),
    "lora-fa": MethodInfo(
        "LoRA-FA",
        "LoRA whose first matrix stays as it began: half as much to learn and less memory.",
        "Zhang et al. 2023, arXiv:2308.03303",
        (_LORA | {"rank_pattern"}) - {"lora_plus_ratio"},
        starts=("default", "gaussian", "eva"),
        rate_factor=2.0,
    ),
    "adalora": MethodInfo(
        "AdaLoRA",
        "Begins with more rank than it may keep and takes it away where it matters least.",
        "Zhang et al. 2023, arXiv:2303.10512",
        frozenset({"rank", "alpha", "dropout", "target_modules"}),
        ((8, f"AdaLoRA mixes kinds of numbers on 8-bit weights. {_KEEPS_ROUNDED}."),),
        rate_factor=2.0,
    ),
    "vera": MethodInfo(
        "VeRA",
        "Learns only two short lists of numbers a layer, between random matrices that all layers share.",
        "Kopiczko et al. 2023, arXiv:2310.11454",
        frozenset({"rank", "dropout", "target_modules"}),
        rate_factor=10.0,
    ),
    "dylora": MethodInfo(
        "DyLoRA",
        "LoRA that trains all smaller ranks too, so the rank can be chosen after training.",
        "Valipour et al. 2022, arXiv:2210.07558",
        _LORA,
        starts=("default", "gaussian"),
    ),
    "oft": MethodInfo(
        "OFT",
        "Turns the layers' inputs without stretching them; the rank is the size of the blocks that are turned.",
        "Qiu et al. 2023, arXiv:2306.07280; 2025, arXiv:2506.19847",
        frozenset({"rank", "target_modules"}),
        rate_factor=0.5,
    ),
    "ia3": MethodInfo(
        "IA³",
        "Learns only how strongly keys, values and the inside of each layer speak: very few numbers.",
        "Liu et al. 2022, arXiv:2205.05638",
        refused_bits=tuple(
            (bits, f"On {bits}-bit weights IA³ gives numbers of a kind that attention refuses. Choose 16 bits.")
            for bits in (4, 8)
        ),
        rate_factor=5.0,
    ),
    "prompt": MethodInfo(
        "Prompt tuning",
        "Learns a few made-up words that stand before every question.",
        "Lester et al. 2021, arXiv:2104.08691",
        frozenset({"virtual_tokens"}),
        merges=_NOTHING_TO_MERGE,
        packs=False,
        rate_factor=15.0,
    ),
    "prefix": MethodInfo(
        "Prefix tuning",
        "Learns what every layer believes to have read before the question.",
        "Li and Liang 2021, arXiv:2101.00190",
        frozenset({"virtual_tokens"}),
        merges=_NOTHING_TO_MERGE,
        packs=False,
        rate_factor=10.0,
    ),
    "bias": MethodInfo(
        "BitFit",
        "Trains only the biases of the layers, in models that have some.",
        "Ben Zaken et al. 2021, arXiv:2106.10199",
        rate_factor=5.0,
    ),
    "norms": MethodInfo(
        "Norm tuning",
        "Trains only the layers that keep the signal at one strength.",
        "Zhao et al. 2023, arXiv:2312.11420",
        rate_factor=5.0,
    ),
    "layers": MethodInfo(
        "Partial fine-tuning",
        "Trains the last layers of the model whole and leaves the others as they are.",
        "Lee et al. 2019, arXiv:1911.03090",
        frozenset({"trained_layers"}),
        ((4, f"Partial fine-tuning {_COPY_BITS}."), (8, f"Partial fine-tuning {_COPY_BITS}.")),
        rate_factor=0.1,
    ),
    "full": MethodInfo(
        "Full fine-tuning",
        "Trains every weight of the model: the most freedom, by far the most memory, and a file as large as the model.",
        "Howard and Ruder 2018, arXiv:1801.06146",
        refused_bits=((4, f"Full fine-tuning {_COPY_BITS}."), (8, f"Full fine-tuning {_COPY_BITS}.")),
        rate_factor=0.1,
    ),
}

START_NAMES: dict[Initialization, str] = {
    "default": "the usual start", "gaussian": "Gaussian", "pissa": "PiSSA", "olora": "OLoRA", "eva": "EVA",
    "loftq": "LoftQ",
}  # fmt: skip
METHOD_FIELDS: tuple[str, ...] = (
    "initialization", "rslora", "lora_plus_ratio", "rank", "rank_pattern", "alpha", "dropout", "target_modules",
    "virtual_tokens", "trained_layers",
)  # fmt: skip


def unused(recipe: Recipe) -> dict[str, str]:
    """Fields that mean nothing beside the others that are chosen, each with the reason: to be greyed out."""
    info = METHODS[recipe.method]
    found = {name: f"{info.name} has no use for it." for name in METHOD_FIELDS if name not in info.uses}
    if recipe.method == "lora-fa":
        found["lora_plus_ratio"] = "LoRA-FA trains only the second half (B), so there is nothing to be faster than."
    if recipe.bits != 4:
        found["quantization"] = found["double_quantization"] = "Only for a base model held in 4 bits."
    if recipe.hold_back == "random":
        found["hold_back_by"] = "Only where examples are held back by group or data set."
    return found


def conflicts(recipe: Recipe) -> dict[str, str]:
    """Choices that cannot run together, by the field to change: what, why, and what to do."""
    info, found = METHODS[recipe.method], {}
    if reason := info.refusal(recipe.bits):
        found["bits"] = reason
    if "initialization" in info.uses and recipe.initialization not in info.starts:
        known = ", ".join(info.starts)
        found["initialization"] = f"{info.name} cannot start from {START_NAMES[recipe.initialization]}. Choose {known}."
    elif recipe.method == "lora" and recipe.initialization == "loftq" and recipe.bits != 4:
        found["initialization"] = (
            f"LoftQ makes up for what 4 bits lose; with {recipe.bits} bits there is nothing to make up for. "
            "Choose 4 bits, or another start."
        )
    elif recipe.initialization in ("pissa", "olora") and recipe.method == "lora" and recipe.bits == 8:
        found["initialization"] = (
            f"{START_NAMES[recipe.initialization]} starts from the base model's weights, and 8-bit ones cannot be read "
            "back. Choose 4 or 16 bits, or another start."
        )
    if "target_modules" in info.uses and recipe.target_modules == "all-linear-embeddings" and not info.embeddings:
        found["target_modules"] = f"{info.name} cannot be put on embeddings. Choose all-linear."
    if recipe.packing and not info.packs:
        found["packing"] = f"{info.name} does not go with packed examples: {_VECTORS_BEFORE}. Switch packing off."
    if recipe.method == "oft" and recipe.rank < 2:
        found["rank"] = "OFT turns blocks of at least 2 numbers. Choose a rank of 2 or more."
    if recipe.method == "prefix" and recipe.gradient_checkpointing == "on":
        found["gradient_checkpointing"] = (
            "Prefix tuning keeps what was read, which gradient checkpointing throws away. Choose off or auto."
        )
    return found


def allowed(field: str, option: Any, recipe: Recipe) -> str:
    """Why `option` cannot be chosen for `field` with the recipe's other choices; empty if it can."""
    if reason := unused(recipe).get(field):
        return reason
    before, after = conflicts(recipe), conflicts(recipe.model_copy(update={field: option}))
    return " ".join(sentence for name, sentence in after.items() if name == field or name not in before)
