"""The same training through the studio's worker, a plain TRL script and LLaMA-Factory, in turn: A B C A B C.

    python -m benchmarks.training.run --models FOLDER [--rows FILE.jsonl] [--steps 12] [--rounds 2]
        [--llamafactory ENVIRONMENT/bin/python]

Model, rows, steps, batch, LoRA (r 8, all linear layers) and bits are the same; loss on the answers only, gradient
checkpointing off. Seconds and processor seconds per step are medians without the first two steps.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import median
from subprocess import DEVNULL, Popen
from typing import Any

from benchmarks.training.common import ENVIRONMENT, ours, plain, queue_run, rows_of
from studio.core.recipe import Recipe
from studio.store import metrics, runs

BATCH, LENGTH = 4, 256


def through_the_studio(folder: Path, models: Path, rows: list[dict[str, str]], steps: int, bits: int) -> dict[str, Any]:
    recipe = Recipe(
        bits=bits, rank=8, alpha=16, learning_rate=2e-4, epochs=100, max_steps=steps,
        batch_size=BATCH, max_length=LENGTH, validation_fraction=0,
    )  # fmt: skip
    home, db, run_id = queue_run(folder, models, rows, recipe)
    process = Popen(ours(home, str(run_id)), stdout=DEVNULL, stderr=DEVNULL, env=ENVIRONMENT)
    marks: list[tuple[int, float]] = []  # (steps done, processor seconds of the process)
    clock = os.sysconf("SC_CLK_TCK")
    while process.poll() is None:
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        marks.append((runs.get(db, run_id).step, (int(fields[11]) + int(fields[12])) / clock))
        time.sleep(0.2)
    run = runs.get(db, run_id)
    assert run.status == "succeeded", run.error_detail
    seconds = [row["seconds"] for row in metrics.read(db, run_id)]
    first = next(mark for mark in marks if mark[0] >= 2)
    last = next(mark for mark in marks if mark[0] == max(m[0] for m in marks))
    return {
        "wall": median(after - before for before, after in pairwise(seconds[1:])),
        "processor": (last[1] - first[1]) / max(1, last[0] - first[0]),
        "peak": run.summary["peak_memory_gib"],
        "loss": run.summary["train_loss"]["last"],
    }


def by_script(
    script: str, file: Path, models: Path, steps: int, bits: int, python: str = sys.executable
) -> dict[str, Any]:
    given = {"steps": steps, "bits": bits, "batch": BATCH, "max-length": LENGTH}
    arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    got = plain(script, models, file, *arguments, python=python)
    return {
        "wall": median(got["wall"][2:]),
        "processor": median(got["processor"][2:]),
        "peak": got["peak_memory_gib"],
        "loss": got["losses"][-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder that holds the starter model")
    parser.add_argument("--rows", type=Path, help="JSON lines with question and answer; else invented, of 256 tokens")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--bits", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--llamafactory", help="the Python of an environment that has it; see README.md")
    options = parser.parse_args()
    print(f"{'bits':>4} {'':8} {'s/step':>8} {'core-s/step':>12} {'peak GiB':>9} {'last loss':>10}")
    for bits in options.bits:
        results: dict[str, list[dict[str, Any]]] = defaultdict(list)
        with tempfile.TemporaryDirectory() as scratch:
            rows = rows_of(options.rows, options.models, BATCH * options.steps, LENGTH)
            file = Path(scratch) / "rows.jsonl"
            file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            for round_number in range(options.rounds):
                home = Path(scratch) / f"home{round_number}"
                results["studio"].append(through_the_studio(home, options.models, rows, options.steps, bits))
                work = file, options.models, options.steps, bits
                results["TRL"].append(by_script("plain_trl.py", *work))
                if options.llamafactory:
                    results["LLaMA-F."].append(by_script("plain_llamafactory.py", *work, options.llamafactory))
        figures = {
            who: {key: median(r[key] for r in of_all) for key in ("wall", "processor", "peak", "loss")}
            for who, of_all in results.items()
        }
        for who, f in figures.items():
            print(f"{bits:>4} {who:8} {f['wall']:8.2f} {f['processor']:12.2f} {f['peak']:9.2f} {f['loss']:10.3f}")
        for who in list(figures)[1:]:
            ratio = {key: figures["studio"][key] / figures[who][key] for key in ("wall", "processor", "peak")}
            print(
                f"{bits:>4} {'/ ' + who:8} {ratio['wall']:8.2f} {ratio['processor']:12.2f} {ratio['peak']:9.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
