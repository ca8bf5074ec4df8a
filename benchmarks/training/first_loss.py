"""How long until the first losses are on the chart, through the studio and through a plain TRL script.

    python -m benchmarks.training.first_loss --models FOLDER [--rows FILE.jsonl] [--held-back 8]

Both evaluate held-back rows before the first step. The script's time begins with its process, as its user's does.
The studio is measured twice: with a process in standby, from the moment the run is handed to it (what a user of the
web app waits for), and from a fresh process. A loss counts when it can be read from the database.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

from benchmarks.training.common import ENVIRONMENT, ours, plain, queue_run, rows_of
from studio.core.recipe import Recipe
from studio.store import metrics, runs

STEPS, BATCH, LENGTH = 3, 4, 256
STANDBY_SECONDS = 60  # given to the waiting process for its imports


def through_the_studio(
    folder: Path, models: Path, rows: list[dict[str, str]], held_back: int, standby: bool
) -> dict[str, float]:
    recipe = Recipe(
        rank=8, alpha=16, epochs=100, max_steps=STEPS, batch_size=BATCH, max_length=LENGTH,
        validation_fraction=held_back / len(rows),
    )  # fmt: skip
    home, db, run_id = queue_run(folder, models, rows, recipe)
    process = None
    if standby:
        process = Popen(ours(home, "--standby"), stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, env=ENVIRONMENT, text=True)
        time.sleep(STANDBY_SECONDS)
    began = time.monotonic()
    claim = runs.claim(db, run_id)
    assert claim
    if process is None:
        command = ours(home, str(run_id), "--fence", str(claim.fence))
        process = Popen(command, stdout=DEVNULL, stderr=DEVNULL, env=ENVIRONMENT, text=True)
    else:
        assert process.stdin
        process.stdin.write(json.dumps({"run": run_id, "fence": claim.fence}) + "\n")
        process.stdin.flush()
    first: dict[str, float] = {}
    while process.poll() is None:
        for row in metrics.read(db, run_id):
            for name in ("validation", "train"):
                if row[f"{name}_loss"] is not None:
                    first.setdefault(name, time.monotonic() - began)
        time.sleep(0.05)
    assert runs.get(db, run_id).status == "succeeded", runs.get(db, run_id).error_detail
    return first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder that holds the starter model")
    parser.add_argument("--rows", type=Path, help="JSON lines with question and answer; else invented, of 256 tokens")
    parser.add_argument("--held-back", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = rows_of(options.rows, options.models, 40, LENGTH)
        file = Path(scratch) / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        print(f"{'seconds until':16} {'first held-back loss':>22} {'first training loss':>21}")
        for who, standby in (("studio, standby", True), ("studio, fresh", False)):
            folder = Path(scratch) / f"home{standby}"
            first = through_the_studio(folder, options.models, rows, options.held_back, standby)
            print(f"{who:16} {first['validation']:22.1f} {first['train']:21.1f}", flush=True)
        got = plain("plain_trl.py", options.models, file, "--steps", str(STEPS), "--held-back", str(options.held_back))[
            "first"
        ]
        print(f"{'TRL script':16} {got['validation']:22.1f} {got['train']:21.1f}")


if __name__ == "__main__":
    main()
