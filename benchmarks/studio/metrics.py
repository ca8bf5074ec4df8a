"""What a step's metrics cost: the training thread's part, the writer's part with heartbeat and fence, and reading a
long run's curve.

    python benchmarks/studio/metrics.py [--points 100000]

The share is that of a step which lasts a second and has all cores busy. The named baseline for reading is the same
query without thinning out.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

from studio.store import datasets, metrics, runs
from studio.store.db import open_database
from workers.progress import Progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=30, help="of heartbeats, a step in each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        db = open_database(Path(folder) / "studio.db")
        dataset = datasets.create(
            db, name="d", filename="d.csv", sha256="0" * 64, shape="columns", mapping={}, columns=[], rows=1,
            usable_rows=1, skipped=[],
        )  # fmt: skip
        run = runs.create(db, name="r", recipe={}, dataset_id=dataset.id, data={}, base_id="starter")
        claim = runs.claim(db, run.id)
        assert claim is not None
        values = {
            "train_loss": 1.0,
            "learning_rate": 1e-4,
            "gradient_norm": 1.0,
            "tokens": 1000,
            "tokens_per_second": 200.0,
            "memory_gib": 2.0,
            "seconds": 1.0,
            "token_accuracy": 0.5,
        }

        costs = []
        with Progress(db, claim) as progress:
            for step in range(1, 2001):
                began = time.perf_counter()
                progress.point(step, **values)
                progress.tell(step=step, seconds_left=1.0)
                costs.append(time.perf_counter() - began)
                time.sleep(0.001)
        print(f"a step, in the training thread: {median(costs) * 1e6:.0f} µs (bar 1,000 µs)")

        spent, began = time.process_time(), time.monotonic()
        with Progress(db, claim) as progress:
            for step in range(2001, 2001 + options.seconds):  # a step a second, each with heartbeat, fence and wish
                progress.point(step, **values)
                progress.tell(step=step, seconds_left=1.0)
                progress.check()
                time.sleep(1)
        share = (time.process_time() - spent) / (time.monotonic() - began)
        cores = len(os.sched_getaffinity(0))
        print(f"both threads, a step a second: {share:.2%} of a core, {share / cores:.2%} of all {cores} (bar 0.5%)")

        began = time.perf_counter()
        for start in range(1, options.points, 1000):
            with db.writing() as session:
                metrics.write(session, run.id, [{"step": step, **values} for step in range(start, start + 1000)])
        print(f"a step, in the writer's thread: {(time.perf_counter() - began) / options.points * 1e6:.0f} µs")

        def seconds(at_most: int) -> float:
            times = []
            for _ in range(5):
                began = time.perf_counter()
                metrics.read(db, run.id, at_most)
                times.append(time.perf_counter() - began)
            return median(times)

        thin, full = seconds(1000), seconds(10**9)
        print(f"{options.points:,} points, thinned out: {thin * 1e3:.0f} ms (bar 50 ms)")
        print(f"{options.points:,} points, all of them: {full * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
