"""Rows of tokens to batches: which rows go together, and the tensors they become."""

from collections.abc import Iterator, Sequence
from random import Random

import torch
from torch import Tensor

from workers.tokens import IGNORE, Row

POOL_BATCHES = 16  # rows of this many batches are sorted by length together


class ByLength:
    """Batches of row numbers, of similar length so that little is padding, in an order that only the seed decides.

    Each pass over it is another epoch: other batches in another order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        random = Random(self.seed * 1_000_003 + self.epoch)
        self.epoch += 1
        order = random.sample(range(len(self.lengths)), len(self.lengths))
        pool = self.batch_size * POOL_BATCHES
        batches = []
        for start in range(0, len(order), pool):
            near = sorted(order[start : start + pool], key=self.lengths.__getitem__)
            batches += [near[i : i + self.batch_size] for i in range(0, len(near), self.batch_size)]
        random.shuffle(batches)
        return iter(batches)


def collate(rows: Sequence[Row], pad: int) -> dict[str, Tensor]:
    """A batch padded on the right: input_ids and labels [rows, longest], position_ids too if any row is packed.

    No attention mask: with causal attention nothing real looks at padding behind it, and without a mask attention
    takes its fastest path. Positions that start again tell transformers where a packed example ends; padding then
    counts as one more.
    """
    longest = max(len(row.ids) for row in rows)
    batch = {
        "input_ids": torch.tensor([row.ids + [pad] * (longest - len(row.ids)) for row in rows]),
        "labels": torch.tensor([row.labels + [IGNORE] * (longest - len(row.labels)) for row in rows]),
    }
    if any(len(row.parts) > 1 for row in rows):
        batch["position_ids"] = torch.tensor([_positions(row, longest) for row in rows])
    return batch


def _positions(row: Row, longest: int) -> list[int]:
    return [i for size in (*row.parts, longest - len(row.ids)) for i in range(size)]
