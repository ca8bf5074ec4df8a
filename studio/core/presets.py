"""Which recipe suits whom: a preset and what is known of the examples, the model and the machine, as settings with
their reasons.

The numbers come from experience that is published (a rank by the size of model and task, an alpha of one to two ranks,
fewer parameters for few examples) and from `benchmarks/defaults`, which holds them against other tools' defaults.
"""

from dataclasses import dataclass
from math import ceil, log2
from typing import Any, Literal, get_args

from studio.core.methods import METHODS, MethodInfo
from studio.core.recipe import Method, Preset, Recipe

Task = Literal["chat", "labels", "text", "preference", "verdict"]

# (parameters of the base model up to which a rate is the usual one, the rate)
LEARNING_RATES = ((300_000_000, 2e-3), (1_000_000_000, 1e-3), (3_000_000_000, 5e-4), (float("inf"), 2e-4))
FEW, ENOUGH, MANY = 200, 1000, 2000  # examples
BIG = 3_000_000_000  # parameters
USUAL_LENGTH, LONGEST = 1024, 4096  # tokens of a row: where nothing is known, and at most
# about what a token takes while it is learned from, without gradient checkpointing, measured with the starter model
TOKEN_BYTES, TOKEN_PARAMETERS = 1.5e6, 135e6
CHECKPOINTED = 1 / 6  # of that is left with gradient checkpointing
MEMORY_SHARE = 0.7  # of the device's that a run may plan with
GIB = 2**30
# (examples that are seen in all, fewest passes, most passes, rank)
_PLANS: dict[Preset, tuple[int, int, int, int]] = {
    "quick": (300, 1, 10, 8),
    "balanced": (900, 3, 15, 16),
    "thorough": (2400, 5, 25, 32),
    "auto": (2400, 5, 25, 16),
}


@dataclass(frozen=True)
class Facts:
    """What the advice depends on. What is None is not known, and then nothing is made of it."""

    rows: int  # examples to learn from and to check with; of documents, pieces
    parameters: int  # of the base model
    kind: Task = "chat"
    tokens: int | None = None  # of all examples together
    longest: int | None = None  # tokens of the longest example
    memory_gib: float | None = None  # of the device
    device: Literal["cpu", "cuda"] = "cpu"


@dataclass(frozen=True)
class Advice:
    recipe: Recipe
    reasons: dict[str, str]  # field -> why it has this value, for those that depend on the facts


def for_preset(preset: Preset, rows: int, parameters: int, kind: Task = "chat") -> Recipe:
    """The recipe a preset means for this many examples and a base model of so many parameters."""
    return advise(preset, Facts(rows, parameters, kind)).recipe


def advise(preset: Preset, facts: Facts, method: Method = "lora") -> Advice:
    """The recipe a preset means under these facts, and why.

    `method` is one that the user chose: other values follow from it. The recipe's own method stays the preset's, so
    that the choice can still be told from what is usual.
    """
    chosen: Rule = {}
    for rule in (_passes, _size, _rate, _batch, _row):
        chosen |= rule(preset, facts)
    row = chosen["max_length"][0] if "max_length" in chosen else USUAL_LENGTH
    chosen |= _memory(facts, chosen["batch_size"][0], row)
    chosen |= _method(METHODS[method], chosen)
    recipe = Recipe(preset=preset, **{name: value for name, (value, _) in chosen.items()})
    return Advice(recipe, {name: reason for name, (_, reason) in chosen.items()})


Rule = dict[str, tuple[Any, str]]  # field -> (value, reason)


def _passes(preset: Preset, facts: Facts) -> Rule:
    """Few examples are read more often: the number of passes aims at a number of examples seen."""
    seen, fewest, most, _ = _PLANS[preset]
    epochs = min(most, max(fewest, ceil(seen / max(facts.rows, 1))))
    often = "once" if epochs == 1 else f"{epochs} times"
    why = (
        f"at most {often}: it stops as soon as it gets no better"
        if preset == "auto"
        else f"{facts.rows:,} examples, each read {often}"
        if epochs == fewest
        else f"few examples are read more often: {often}"
    )
    rules: Rule = {"epochs": (epochs, why)}
    if preset == "quick":
        rules["max_steps"] = (150, "a first look takes no longer than this")
    return rules


def _size(preset: Preset, facts: Facts) -> Rule:
    """A rank by the examples: what a small add-on cannot hold, it cannot memorize either."""
    rank, why = _PLANS[preset][3], f"usual for “{preset}”"
    if facts.kind == "labels" and rank > 8:
        rank, why = 8, "choosing among labels needs little"
    elif (most := 8 if facts.rows < FEW else 16 if facts.rows < ENOUGH else rank) < rank and facts.kind != "text":
        rank, why = most, "few examples: a smaller add-on memorizes less"
    elif facts.kind == "text" and rank < 32:
        rank, why = 32, "a whole style and vocabulary needs more room"
    rules: Rule = {"rank": (rank, why), "alpha": (2 * rank, f"twice the rank of {rank}, as usual")}
    if facts.rows >= ENOUGH:
        rules["dropout"] = (0.0, "enough examples: nothing has to be hidden against memorizing")
    elif facts.device == "cuda":
        rules["dropout"] = (0.05, "few examples: hiding a little of the add-on keeps it from memorizing them")
    else:
        rules["dropout"] = (0.0, "it would slow a processor down; keeping the best model guards against memorizing")
    return rules


def _rate(preset: Preset, facts: Facts) -> Rule:
    """A small model needs larger corrections to learn anything at all; in a big one they would do harm."""
    rate = next(rate for most, rate in LEARNING_RATES if facts.parameters <= most)
    size = (
        f"{facts.parameters / 1e9:.1f} billion" if facts.parameters >= 1e9 else f"{facts.parameters / 1e6:.0f} million"
    )
    why = f"a model of {size} parameters" + (
        " needs large corrections" if rate >= 1e-3 else " takes middling corrections" if rate > 2e-4 else
        " is easily harmed by large corrections"
    )  # fmt: skip
    if facts.kind == "text":
        rate, why = rate / 2, f"{why}; half of that for texts"
    return {
        "learning_rate": (rate, why),
        "scheduler": ("cosine", "large corrections first, fine ones at the end"),
        "warmup_ratio": (0.1, "the first steps are careful, while nothing is known yet"),
    }


def _batch(preset: Preset, facts: Facts) -> Rule:
    batch = 4 if facts.rows < MANY else 8
    why = "few examples: small batches make more corrections of them" if batch == 4 else "many examples: steadier steps"
    return {"batch_size": (batch, why)}


def _row(preset: Preset, facts: Facts) -> Rule:
    """How long a row may be."""
    if facts.kind == "text":
        return {"packing": (True, "short texts share a row, so that none is padded")}
    if preset != "auto" or facts.longest is None or facts.longest <= USUAL_LENGTH:
        return {}
    longest = f"the longest example has {facts.longest:,} tokens"
    if facts.longest > LONGEST:
        return {"max_length": (LONGEST, f"{longest}; more than {LONGEST:,} takes too much memory")}
    return {"max_length": (64 * ceil(facts.longest / 64), f"{longest}, and none is to be cut")}


def _memory(facts: Facts, batch: int, row: int) -> Rule:
    """What has to change so that a batch fits into the device's memory, if that is known: as little as possible."""
    if facts.memory_gib is None:
        return {}
    rules: Rule = {}
    room = MEMORY_SHARE * facts.memory_gib * GIB
    if 2 * facts.parameters <= room / 4:
        rules["bits"] = (16, "the whole model fits into memory, so nothing of it has to be rounded")
    room -= facts.parameters * (2 if rules else 0.6)
    token = TOKEN_BYTES * (facts.parameters / TOKEN_PARAMETERS) ** (2 / 3)
    longest = min(row, facts.longest or row)
    at_once = int(room / token / longest)
    if at_once < 1:
        rules["gradient_checkpointing"] = ("on", "memory is short: parts are computed twice instead of being kept")
        at_once = max(1, int(room / (token * CHECKPOINTED) / longest))
    if at_once < batch:
        smaller = 2 ** int(log2(at_once))
        rules["batch_size"] = (smaller, f"{facts.memory_gib:.0f} GiB of memory hold no more at once")
        rules["gradient_accumulation"] = (batch // smaller, f"so that a step still learns from {batch} examples")
    return rules


def _method(info: MethodInfo, chosen: Rule) -> Rule:
    rules: Rule = {}
    if info.rate_factor != 1:
        rate = min(0.1, chosen["learning_rate"][0] * info.rate_factor)
        rules["learning_rate"] = (
            rate,
            f"{chosen['learning_rate'][1]}; {info.name} takes {info.rate_factor:g} × LoRA's",
        )
    if "packing" in chosen and not info.packs:
        rules["packing"] = (False, f"{info.name} does not go with packed examples")
    return rules


def task_of(shape: str) -> Task:
    """The kind of task that a data set of this shape is for, see `core.mapping.Shape`."""
    return next((task for task in get_args(Task) if task == shape), "chat")
