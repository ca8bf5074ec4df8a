import torch

from workers.batches import ByLength, collate
from workers.tokens import IGNORE, Row


def test_every_row_comes_once_an_epoch_and_epochs_differ() -> None:
    batches = ByLength([i % 7 for i in range(50)], batch_size=4, seed=3)
    first, second = list(batches), list(batches)
    assert len(first) == len(batches) == 13
    assert sorted(i for b in first for i in b) == sorted(i for b in second for i in b) == list(range(50))
    assert first != second


def test_the_same_seed_gives_the_same_order() -> None:
    lengths = list(range(40))
    assert list(ByLength(lengths, 4, 3)) == list(ByLength(lengths, 4, 3)) != list(ByLength(lengths, 4, 4))


def test_rows_of_a_batch_are_of_similar_length() -> None:
    lengths = [(i * 37) % 100 for i in range(64)]
    padded = sum(max(lengths[i] for i in b) * len(b) for b in ByLength(lengths, 4, 0))
    assert padded < 1.1 * sum(lengths)


def test_padding_is_on_the_right_and_never_learned() -> None:
    batch = collate([Row([5, 6, 7], [IGNORE, 6, 7], (3,)), Row([8], [8], (1,))], pad=2)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 2, 2]]
    assert batch["labels"].tolist() == [[IGNORE, 6, 7], [8, IGNORE, IGNORE]]
    assert set(batch) == {"input_ids", "labels"}


def test_packed_rows_count_their_positions_anew() -> None:
    batch = collate([Row([1] * 5, [1] * 5, (2, 3)), Row([1] * 3, [1] * 3, (3,))], pad=0)
    assert torch.equal(batch["position_ids"], torch.tensor([[0, 1, 0, 1, 2], [0, 1, 2, 0, 1]]))
