"""How much a run reads: rows, and how many tokens they have, counted where that is done and estimated where not."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from typing import Literal

from studio.core.conversation import Conversation
from studio.core.mapping import Mapping
from studio.core.recipe import Recipe
from studio.data.split import validation_count
from studio.diagnostics.forecast import Batch
from studio.diagnostics.lengths import Lengths, packed_length
from studio.services import datasets, lengths
from studio.services.context import Studio
from studio.store.datasets import opened

LOOKED_AT = 1000  # rows, where tokens are estimated
CHARS_A_TOKEN = 3.6  # in English; other languages have fewer
MARKS_A_MESSAGE, MARKS_A_ROW = 5, 20  # tokens that a chat template adds
PACKED_SHARE = 0.95  # of a packed row that is filled


@dataclass(frozen=True)
class Amount:
    """`rows` are those to learn from; 0: not known yet. Lengths are in tokens, before anything is cut."""

    rows: int
    validation_rows: int
    bars: list[tuple[int, int]]  # (length, rows of about that length), of all rows or of a sample
    longest: int
    known: Literal["counted", "estimated", "given"]
    share_longer: dict[int, float] = field(default_factory=dict)

    def mean(self, recipe: Recipe) -> float:
        """Tokens of a row, cut at the recipe's length."""
        rows = sum(count for _, count in self.bars)
        return sum(min(length, recipe.max_length) * count for length, count in self.bars) / max(1, rows)

    def read_rows(self, recipe: Recipe) -> int:
        """Rows of batches: fewer than examples if they are packed."""
        if not recipe.packing:
            return self.rows
        return ceil(self.rows * self.mean(recipe) / (self._longest_row(recipe) * PACKED_SHARE))

    def step_tokens(self, recipe: Recipe) -> float:
        row = self._longest_row(recipe) * PACKED_SHARE if recipe.packing else self.mean(recipe)
        most = self.read_rows(recipe) or recipe.batch_size * recipe.gradient_accumulation
        return row * min(recipe.batch_size * recipe.gradient_accumulation, most)

    def worst_batch(self, recipe: Recipe) -> Batch:
        return Batch(min(recipe.batch_size, self.read_rows(recipe) or recipe.batch_size), self._longest_row(recipe))

    def _longest_row(self, recipe: Recipe) -> int:
        longest = min(recipe.max_length, self.longest)
        return packed_length(longest, recipe.max_length) if recipe.packing else longest


def given(recipe: Recipe, rows: int = 0, tokens: int = 0) -> Amount:
    """Rows of `tokens` each; without them every row is as long as the recipe allows."""
    length = tokens or recipe.max_length
    held_back = validation_count(rows, recipe.validation_fraction) if rows else 0
    return Amount(rows - held_back, held_back, [(length, 1)], length, "given")


def of_dataset(studio: Studio, dataset_id: int, version: int, base_id: str, recipe: Recipe) -> Amount:
    """Raises NotFound if there is no such data set."""
    with opened(studio.home, dataset_id) as book:
        kept = book.version(version or None)
        held_back = validation_count(kept.usable, recipe.validation_fraction)
        counted = lengths.lengths(studio, dataset_id, base_id, kept.number, start=kept.rows <= lengths.QUICK_ROWS)
        if counted.lengths and counted.lengths.rows:
            return _counted(counted.lengths, kept.usable - held_back, held_back)
        some = [example.conversation for example in islice(book.read(kept.equals, learning_only=True), LOOKED_AT)]
    return _estimated(some, kept.usable - held_back, held_back)


def of_upload(studio: Studio, upload_id: str, mapping: Mapping | None, recipe: Recipe) -> Amount:
    """Raises DataError if the file cannot be read or holds nothing to learn from."""
    view = datasets.preview(studio, upload_id, mapping)
    datasets.check_trainable(view)
    held_back = validation_count(view.usable_rows, recipe.validation_fraction)
    some = islice(datasets.examples_of(studio, upload_id, mapping), LOOKED_AT)
    return _estimated(some, view.usable_rows - held_back, held_back)


def _counted(found: Lengths, rows: int, held_back: int) -> Amount:
    bars = [((bar["from"] + bar["to"]) // 2, bar["rows"]) for bar in found.bars if bar["rows"]]
    longer = {cut.length: 1 - cut.whole / found.rows for cut in found.cuts}
    return Amount(rows, held_back, bars, found.max, "counted", longer)


def _estimated(conversations: Iterable[Conversation], rows: int, held_back: int) -> Amount:
    bars = [(_tokens(conversation), 1) for conversation in conversations]
    longest = max((length for length, _ in bars), default=1)
    return Amount(rows, held_back, bars or [(1, 1)], longest, "estimated")


def _tokens(conversation: Conversation) -> int:
    chars = sum(len(message.content) for message in conversation.messages) + len(conversation.text)
    return MARKS_A_ROW + MARKS_A_MESSAGE * len(conversation.messages) + round(chars / CHARS_A_TOKEN)
