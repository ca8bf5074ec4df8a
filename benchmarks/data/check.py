"""Reading and checking a question/answer CSV, against pandas' `read_csv` of it plus one pass of the tokenizer.

    python benchmarks/data/check.py --models FOLDER [--rows 1000000]

Each side runs in a process of its own; peak memory is that of the process. Wanted: at most 3 times the time, and at
most 3 times the file in memory.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import write_csv


def baseline(path: Path, models: Path) -> dict[str, float]:
    import pandas
    from tokenizers import Tokenizer

    begun = time.perf_counter()
    table = pandas.read_csv(path)
    read = time.perf_counter() - begun
    tokenizer = Tokenizer.from_file(str(models / "starter" / "tokenizer.json"))
    texts = (table["question"] + "\n" + table["answer"]).tolist()
    for start in range(0, len(texts), 1000):
        tokenizer.encode_batch_fast(texts[start : start + 1000])
    return {"read": read, "all": time.perf_counter() - begun}


def ours(path: Path, home: Path) -> dict[str, float]:
    from studio.core.conversation import read_jsonl
    from studio.core.mapping import Mapping
    from studio.services import readings, report, uploads
    from studio.services.context import Studio
    from studio.settings import Settings
    from studio.store import examples

    studio = Studio.open(Settings(home=home, max_upload_mib=4096))
    begun = time.perf_counter()
    upload = uploads.keep(studio, [(path, path.name)])
    view, folder = readings.read(studio, upload, Mapping(shape=""))
    read = time.perf_counter() - begun
    version = examples.create(home / "examples.db", read_jsonl(folder / readings.EXAMPLES), "Uploaded")
    stored = time.perf_counter() - begun
    with examples.opened(home / "examples.db") as book:
        report.check(book, version)
    assert view.usable_rows == version.rows
    return {"read": read, "stored": stored - read, "checked": time.perf_counter() - begun - stored,
            "all": time.perf_counter() - begun}  # fmt: skip


def _apart(*arguments: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True)
    made: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        which, path, home = options.part
        took = baseline(Path(path), options.models) if which == "baseline" else ours(Path(path), Path(home))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(took | {"peak_mib": peak}))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        write_csv(path, options.rows)
        size = path.stat().st_size / 2**20
        parts = {
            w: _apart("--models", str(options.models), "--part", w, str(path), folder) for w in ("baseline", "ours")
        }
    for which, took in parts.items():
        print(which, {name: round(value, 1) for name, value in took.items()})
    ratio = parts["ours"]["all"] / parts["baseline"]["all"]
    print(f"{options.rows:,} rows, {size:.0f} MiB: {ratio:.2f} times the time "
          f"(wanted: 3), peak {parts['ours']['peak_mib'] / size:.1f} times the file (wanted: 3)")  # fmt: skip


if __name__ == "__main__":
    main()
