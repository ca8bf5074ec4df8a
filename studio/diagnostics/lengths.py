"""From the token counts of examples to what a chosen length means for them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from studio.core.finding import Finding

BARS = 32
PACKED_ROW = 256  # tokens; up to here attention is the plain kind, the fastest on a processor


@dataclass(frozen=True)
class Cut:
    """What happens at one length."""

    length: int
    whole: int  # examples that fit
    unanswered: int  # examples cut before the first token to learn
    kept: int  # tokens to learn that are kept


@dataclass(frozen=True)
class Lengths:
    """`cuts` are in order of length; at the last one every example is whole."""

    rows: int
    total: int
    learned: int
    p50: int
    p95: int
    max: int
    first: int  # the shortest length at which anything is learned at all
    bars: list[dict[str, int]]  # {from, to, rows}
    cuts: list[Cut]

    def at(self, length: int) -> Cut:
        """The nearest cut that is not longer, or the shortest."""
        fitting = [cut for cut in self.cuts if cut.length <= length]
        return fitting[-1] if fitting else self.cuts[0]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def distribution(
    counted: Sequence[tuple[int, int, int]], lengths: Sequence[int] = (), goes_on: bool = False
) -> Lengths:
    """`counted`: (tokens, tokens to learn, place of the first one) of each example; `lengths` to look at besides.

    `goes_on`: what does not fit is not cut but goes on in the next row, as plain text does.
    """
    if not counted:
        return Lengths(0, 0, 0, 0, 0, 0, 0, [], [Cut(1, 0, 0, 0)])
    tokens, learned, first = np.array(counted, np.int64).T
    longest = int(tokens.max())
    edges = np.unique(np.linspace(0, longest, min(BARS, longest) + 1).round().astype(int))
    counts, _ = np.histogram(tokens, edges + 0.5)
    bars = [
        {"from": int(low) + 1, "to": int(high), "rows": int(n)}
        for low, high, n in zip(edges, edges[1:], counts, strict=False)
    ]
    return Lengths(
        rows=len(tokens),
        total=int(tokens.sum()),
        learned=int(learned.sum()),
        p50=int(np.percentile(tokens, 50, method="nearest")),
        p95=int(np.percentile(tokens, 95, method="nearest")),
        max=longest,
        first=int(first.min()),
        bars=bars,
        cuts=[Cut(length, len(tokens), 0, int(learned.sum())) for length in _steps(longest, lengths)]
        if goes_on
        else [
            Cut(
                length,
                int((tokens <= length).sum()),
                int((first >= length).sum()),
                # exact where what is learned stands together at the end, as in most examples
                int(np.where(tokens <= length, learned, np.clip(length - first, 0, learned)).sum()),
            )
            for length in _steps(longest, lengths)
        ],
    )


def finding(lengths: Lengths, length: int, rows: Sequence[int] = ()) -> Finding | None:
    """What a run at `length` would lose; None if nothing."""
    cut = lengths.at(length)
    longer = lengths.rows - cut.whole
    if not longer:
        return None
    lost = 1 - cut.kept / max(lengths.learned, 1)
    share = "less than 1%" if lost < 0.01 else f"{lost:.0%}"
    words = (
        f"{longer:,} row{' is' if longer == 1 else 's are'} longer than {length:,} tokens and would be cut: "
        f"{share} of all that is to be learned is lost."
    )
    if cut.unanswered:
        words += f" {cut.unanswered:,} of them would be cut before the answer begins, and teach nothing."
    nothing = cut.unanswered == lengths.rows
    return Finding("too_long", "error" if nothing else "warning", longer, tuple(rows), words)


def _steps(longest: int, besides: Sequence[int]) -> list[int]:
    """Round lengths, four to each doubling, up to the first at which all examples are whole."""
    usual = [base * quarter // 4 for base in (2**n for n in range(4, 18)) for quarter in (4, 5, 6, 7)]
    steps = sorted({*usual, *(n for n in besides if n > 0)})
    return [n for n in steps if n <= longest] + [next((n for n in steps if n >= longest), longest)]


def packed_length(longest: int, max_length: int) -> int:
    """How long packed rows are to be, for examples of at most `longest` tokens.

    Attention costs with the square of a row, and examples in one row do not look at each other: a row longer than a
    few examples wins nothing. So it is short unless an example is long.
    """
    return min(max_length, max(PACKED_ROW, longest))
