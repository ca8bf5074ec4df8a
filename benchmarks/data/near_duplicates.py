"""Near duplicates among many examples, one in ten of them a copy with another comma or word.

    python benchmarks/data/near_duplicates.py [--rows 100000]

Wanted: under 30 s for 100,000.
"""

import argparse
import time
from random import Random

from common import pair

from studio.diagnostics.duplicates import NearDuplicates, near, plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    random, texts, copies = Random(1), [], set()
    for number in range(rows):
        if number % 10 == 9:
            copies.add(number)
            texts.append(texts[random.randrange(number)].replace("How do I", "How, please, do I") + "!")
        else:
            texts.append(" ".join(pair(random, number)))
    begun = time.perf_counter()
    search = NearDuplicates()
    plains = [plain(text) for text in texts]
    for text in plains:
        search.add(text)
    pairs = search.pairs()
    found = set(near(pairs, plains.__getitem__))
    seconds = time.perf_counter() - begun
    print(f"{rows:,} rows: {seconds:.1f} s; of {len(copies):,} copies {len(found & copies):,} found, "
          f"{len(found - copies):,} others")  # fmt: skip


if __name__ == "__main__":
    main()
