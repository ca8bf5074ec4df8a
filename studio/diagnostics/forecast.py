"""From what `workers.forecast` counts of a model to memory, and what to change. Pure functions, no torch.

Bytes inside, GiB (2^30) at the edge. Each constant says where it comes from; `benchmarks/forecast` measures how far the
whole is off.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import ceil, log
from typing import Any, Literal

from studio.core.recipe import Recipe

GIB = 1 << 30
Fits = Literal["fits", "tight", "wont_fit"]
CARDS_GIB = (8, 12, 16, 24, 32, 40, 48, 80, 96, 141, 192)  # graphics cards that are sold
TIGHT_SHARE = 0.9  # of the memory that is free now: above it other programs, or a longer row, may be too much
MOST_SHARE = 0.95  # of all memory: the system itself needs the rest
NF4_BLOCK, NF4_GROUP = 64, 256  # bitsandbytes: weights that share a constant; constants that share a second one
LAYER_TABLES = 16 * 4 + 256 * 4  # bytes of code tables that each quantized layer has for itself
FP32 = 4  # adapters learn in float32, see `workers.methods`
# bytes of optimizer state for each trainable number, by a word in the optimizer's name; AdamW keeps two moments
OPTIMIZER_BYTES = (("8bit", 2.0), ("adafactor", 0.1), ("muon", 4.0), ("", 8.0))
AUTO_MARGIN = 1.5
CUDA_CONTEXT_GIB = 0.6
PROCESSOR_EXTRA_GIB = 0.19  # seen beside libraries and tensors: tokenizer, kernels' scratch
# what malloc keeps beside a step's tensors, in parts of them, without and with checkpointing, and at most: it cannot
# give back what lies between pieces in use, but pieces of 32 MiB and more, as big models have them, go by themselves
MALLOC_KEEPS, MALLOC_KEEPS_GIB = (0.38, 1.9), 0.8
# what an architecture that cannot be traced keeps of a token in a layer, in numbers of its width (arXiv:2205.05198)
USUAL_KEPT, USUAL_CHECKPOINTED = 20.0, 1.0
WHOLE_LOGITS = 14  # bytes of each logit: 16 bit, float32, log-softmax and gradient at once


@dataclass(frozen=True)
class Facts:
    """What is counted of a model with an adapter; see `workers.forecast.facts`."""

    parameters: int
    trainable_parameters: int
    extra_parameters: int  # that the adapter adds, learning or not
    linear_parameters: int  # of matrices that can be held in 4 or 8 bit
    linear_rows: int
    linear_layers: int
    adapter_bytes: int
    vocabulary: int
    hidden: int
    layers: int
    context: int
    head_block: int  # logits held at once; 0: all of them
    attention: str
    step: dict[str, Any]
    picture: dict[str, Any]


@dataclass(frozen=True)
class Machine:
    device: str
    device_name: str
    memory_gib: float
    free_gib: float
    compute_dtype: str
    bits: dict[str, str]  # "4", "8", "16" -> why not; empty if it works
    framework_gib: float

    @property
    def dtype_bytes(self) -> int:
        return 4 if self.compute_dtype == "float32" else 2

    def bits_for(self, wanted: int) -> int:
        """What the trainer will really hold the base model in."""
        return 16 if self.bits.get(str(wanted)) else wanted


@dataclass(frozen=True)
class Batch:
    """What goes through the model at once, at worst."""

    rows: int
    longest: int  # tokens, padding included

    @property
    def tokens(self) -> int:
        return self.rows * self.longest


@dataclass(frozen=True)
class Memory:
    """GiB by part, at the worst moment of a run."""

    weights: float
    quantization_constants: float
    adapters: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    mapped_file: (
        float  # of a base model that is quantized on a processor: pages the system takes back when it needs them
    )
    other: float

    @property
    def total(self) -> float:
        """What the system will show for the process."""
        return float(sum(asdict(self).values()))

    @property
    def needed(self) -> float:
        """What must really be there."""
        return self.total - self.mapped_file

    def as_dict(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in (asdict(self) | {"total": self.total}).items()}


@dataclass(frozen=True)
class Change:
    field: str
    old: Any
    new: Any
    cost: str


# memory


def memory(facts: Facts, recipe: Recipe, machine: Machine, batch: Batch, checkpointing: bool) -> Memory:
    quantized = facts.linear_parameters if machine.bits_for(recipe.bits) < 16 else 0
    own = max(0, facts.trainable_parameters - facts.extra_parameters)  # of the base's own weights, in float32 to learn
    packed = quantized * machine.bits_for(recipe.bits) / 8
    weights = packed + (facts.parameters - quantized - own) * machine.dtype_bytes
    learning = facts.trainable_parameters
    activations = _activations(facts, machine, batch, checkpointing) / GIB
    malloc = min(MALLOC_KEEPS[checkpointing] * activations, MALLOC_KEEPS_GIB)
    beside = machine.framework_gib + PROCESSOR_EXTRA_GIB + malloc
    return Memory(
        weights=weights / GIB,
        quantization_constants=_constants(facts, machine.bits_for(recipe.bits), recipe.double_quantization) / GIB,
        adapters=FP32 * (own + facts.extra_parameters) / GIB,
        gradients=FP32 * learning / GIB,
        optimizer=_optimizer_bytes(recipe) * learning / GIB,
        activations=activations,
        logits=_logits(facts, batch) / GIB,
        mapped_file=facts.parameters * 2 / GIB if quantized and machine.device == "cpu" else 0.0,
        other=CUDA_CONTEXT_GIB if machine.device == "cuda" else beside,
    )


def checkpoints(facts: Facts, recipe: Recipe, machine: Machine, batch: Batch) -> bool:
    """Whether activations will be computed again instead of kept: as the recipe says, or by memory if it does not."""
    wanted = recipe.gradient_checkpointing
    if wanted == "auto":  # as `workers.activations` decides it, once the model is loaded
        kept = memory(facts, recipe, machine, batch, False)
        return AUTO_MARGIN * kept.activations > machine.free_gib - (kept.needed - kept.activations - kept.logits)
    return wanted == "on"


def fits(memory: Memory, machine: Machine) -> Fits:
    if memory.needed > MOST_SHARE * machine.memory_gib:
        return "wont_fit"
    return "tight" if memory.needed > TIGHT_SHARE * machine.free_gib else "fits"


def _constants(facts: Facts, bits: int, double: bool) -> float:
    if bits == 4:  # one float32 a block; doubly quantized one byte, and a float32 for each group of these
        per_block = 1 + 4 / NF4_GROUP if double else 4
        return facts.linear_parameters / NF4_BLOCK * per_block + facts.linear_layers * LAYER_TABLES
    return 4 * facts.linear_rows if bits == 8 else 0.0  # one float32 scale for each row


def _optimizer_bytes(recipe: Recipe) -> float:
    return next(size for word, size in OPTIMIZER_BYTES if word in recipe.optimizer)


def _activations(facts: Facts, machine: Machine, batch: Batch, checkpointing: bool) -> float:
    traced = facts.step["on" if checkpointing else "off"]
    if traced is None:
        kept = facts.layers * facts.hidden * (USUAL_CHECKPOINTED if checkpointing else USUAL_KEPT)
        a_layer = facts.hidden * USUAL_KEPT if checkpointing else 0
        return batch.tokens * (kept + a_layer) * machine.dtype_bytes
    # traced in 16 bit over one row; what is held grows with the tokens
    for_a_token: float = max(traced.values()) / facts.step["tokens"]
    return for_a_token * batch.tokens * machine.dtype_bytes / 2


def _logits(facts: Facts, batch: Batch) -> float:
    if not facts.head_block:
        return float(batch.tokens * facts.vocabulary * WHOLE_LOGITS)
    rows = min(batch.tokens, max(1, facts.head_block // facts.vocabulary))
    learned = 2 * batch.tokens * facts.hidden * 2  # the hidden states that are learned from, and their gradient
    return float(rows * facts.vocabulary * (FP32 + 2) + learned)


# what to change


def make_it_fit(
    facts: Facts, recipe: Recipe, machine: Machine, batch: Batch, share_longer: dict[int, float] | None = None
) -> list[Change]:
    """The gentlest changes after which it fits, or after which it needs least; none if it fits as it is.

    `share_longer`: length -> share of examples that would be cut there, where it is known.
    """
    changes: list[Change] = []
    for change, lighter, smaller in _lighter(recipe, machine, batch, share_longer or {}):
        before = memory(facts, recipe, machine, batch, checkpoints(facts, recipe, machine, batch))
        if fits(before, machine) == "fits":
            break
        if facts.attention == "eager" and smaller.longest != batch.longest:
            continue  # this attention was counted at one length only
        after = memory(facts, lighter, machine, smaller, checkpoints(facts, lighter, machine, smaller))
        if after.needed < 0.98 * before.needed:
            changes = [c for c in changes if c.field != change.field] + [_joined(changes, change)]
            recipe, batch = lighter, smaller
    return changes


def _lighter(
    recipe: Recipe, machine: Machine, batch: Batch, share_longer: dict[int, float]
) -> Iterator[tuple[Change, Recipe, Batch]]:
    """One change after the other, each on top of those before; the gentlest first."""
    if recipe.gradient_checkpointing == "off":
        recipe = recipe.model_copy(update={"gradient_checkpointing": "on"})
        cost = "Each step takes about a third longer; the result is the same."
        yield Change("gradient_checkpointing", "off", "on", cost), recipe, batch
    while recipe.batch_size > 1:
        size = recipe.batch_size // 2
        accumulation = recipe.gradient_accumulation * ceil(recipe.batch_size / size)
        cost = f"{accumulation} such batches make one step, so it learns as before, a little slower."
        change = Change("batch_size", recipe.batch_size, size, cost)
        recipe = recipe.model_copy(update={"batch_size": size, "gradient_accumulation": accumulation})
        batch = Batch(min(batch.rows, size), batch.longest)
        yield change, recipe, batch
    for bits in (8, 4):
        if bits < machine.bits_for(recipe.bits) and machine.bits_for(bits) == bits:
            cost = "The base model is held a little less exactly; answers are nearly as good."
            change = Change("bits", recipe.bits, bits, cost)
            recipe = recipe.model_copy(update={"bits": bits})
            yield change, recipe, batch
    while batch.longest > 128:
        length = 2 ** ceil(log(batch.longest, 2) - 1)
        cut = share_longer.get(length)
        cost = "Longer examples are cut at the end" + ("." if cut is None else f": {cut:.0%} of them.")
        change = Change("max_length", recipe.max_length, length, cost)
        recipe = recipe.model_copy(update={"max_length": length})
        batch = Batch(batch.rows, length)
        yield change, recipe, batch


def _joined(changes: list[Change], change: Change) -> Change:
    """Two changes of the same setting as one."""
    first = next((c for c in changes if c.field == change.field), change)
    return Change(change.field, first.old, change.new, change.cost)


def card_for(needed_gib: float) -> int | None:
    """The smallest graphics card, in GB as they are sold, that holds so much."""
    return next((card for card in CARDS_GIB if needed_gib <= TIGHT_SHARE * card), None)
