"""Opening pages of a big table: first, middle, last, after deletions, by finding, by row number, and a search.

    python benchmarks/data/pages.py [--rows 1000000]

Wanted: under 200 ms a page.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import median

from common import pair

from studio.core.conversation import Conversation, Message
from studio.store import examples

SIZE = 25


def unlearned(conversation: Conversation) -> Conversation:
    question, answer = conversation.messages
    return replace(conversation, messages=(question, replace(answer, learn=False)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    random = Random(1)

    def conversations() -> object:
        for number in range(rows):
            question, answer = pair(random, number)
            yield Conversation((Message("user", question), Message("assistant", answer)), number + 2)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "examples.db"
        begun = time.perf_counter()
        examples.create(path, conversations(), "Made up")  # type: ignore[arg-type]
        print(f"{rows:,} rows stored in {time.perf_counter() - begun:.1f} s, {path.stat().st_size / 2**20:,.0f} MiB")
        pages = rows // SIZE
        with examples.opened(path) as book:
            book.keep_report(1, {}, {"html": range(0, rows, 7)})

            def measure(name: str, call: Callable[[], object]) -> None:
                begun = time.perf_counter()
                call()
                first = time.perf_counter() - begun
                again = []
                for _ in range(5):
                    begun = time.perf_counter()
                    call()
                    again.append(time.perf_counter() - begun)
                print(f"{name:<42} first {first * 1000:7.1f} ms, then {median(again) * 1000:6.1f} ms")

            measure("first page", lambda: book.page(1, 0, SIZE))
            measure("middle page", lambda: book.page(1, pages // 2, SIZE))
            measure("last page", lambda: book.page(1, pages - 1, SIZE))
            measure("page with a row number", lambda: book.place_of_row(1, rows // 3))
            measure("last page of a finding", lambda: book.flagged(1, "html", rows // 7 // SIZE, SIZE))
            measure("a search that finds a row near the end", lambda: book.search(1, f"the lamp {rows - 9} ", 0, SIZE))
            begun = time.perf_counter()
            book.change(1, "Deleted", lambda c: None, range(0, rows, 100))
            print(f"{rows // 100:,} rows deleted in {time.perf_counter() - begun:.1f} s")
            measure("last page after that", lambda: book.page(2, (rows - rows // 100) // SIZE - 1, SIZE))
            begun = time.perf_counter()
            book.restore(2, 1, "Undone")
            book.change(3, "Marked", unlearned)
            print(f"all rows brought back and marked in {time.perf_counter() - begun:.1f} s")
            measure("first page after that", lambda: book.page(4, 0, SIZE))
            measure("last page after that", lambda: book.page(4, pages - 1, SIZE))
            measure("page with a row number", lambda: book.place_of_row(4, rows // 3))
            begun = time.perf_counter()
            book.change(4, "Edited", lambda c: Conversation(c.messages[:1] + c.messages[1:] * 1, c.row, file="x"), [1])
            print(f"one row edited in {(time.perf_counter() - begun) * 1000:.1f} ms")


if __name__ == "__main__":
    main()
