"""What being safe costs, and how soon a killed run trains again: real trainer, starter model, real supervisor.

    python benchmarks/durability/run.py --models ~/.adapter-studio/models

The baseline is the same run's own training time: shares, not seconds, are to be compared between machines.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from threading import Thread

import psutil

from studio.core.run_state import RunStatus
from studio.jobs.queue import Doorbell
from studio.jobs.supervisor import Supervisor, reconcile
from studio.services import datasets, runs
from studio.services.context import Studio
from studio.settings import Settings
from studio.store import runs as run_rows

INTERVAL_SECONDS = 120  # between checkpoints, by default
STEPS = 40


def start(studio: Studio, **choices: object) -> int:
    upload = datasets.keep_upload(studio, datasets.SAMPLE, datasets.SAMPLE.name)
    return runs.start(studio, upload, None, "starter", {"max_steps": STEPS} | choices).id


def checkpoint_cost(studio: Studio) -> str:
    run_id = start(studio, checkpoint_steps=5)
    Supervisor(studio.home, studio.db).execute(run_id)
    run = run_rows.get(studio.db, run_id)
    saved = run.summary["checkpoints"]
    each = saved["seconds"] / saved["count"]
    share = each / INTERVAL_SECONDS
    return f"a checkpoint takes {each:.2f} s (mean of {saved['count']}): {share:.2%} of the time at one every 2 minutes"


def recovery(studio: Studio) -> str:
    run_id = start(studio, checkpoint_steps=5, epochs=100)
    supervisor = Supervisor(studio.home, studio.db, standby=True)
    thread = Thread(target=supervisor.work_off)
    thread.start()
    while run_rows.get(studio.db, run_id).step < 8:
        time.sleep(0.05)
    (process,) = [p for p in psutil.Process().children() if "workers.train" in p.cmdline()]
    process.kill()
    killed = time.monotonic()
    while run_rows.get(studio.db, run_id).fence == 1:
        time.sleep(0.02)
    noticed = time.monotonic() - killed
    while (run := run_rows.get(studio.db, run_id)).phase != "training":
        time.sleep(0.02)
    load = run.phase_seconds["loading"]
    again = time.monotonic() - killed
    thread.join()
    assert run_rows.get(studio.db, run_id).status == RunStatus.SUCCEEDED
    return f"noticed after {noticed:.1f} s, training again after {again:.1f} s (both loads together took {load:.1f} s)"


def reconciling(studio: Studio, count: int = 10_000) -> str:
    dataset_id = run_rows.every(studio.db)[0].dataset_id
    with studio.db.writing() as session:
        session.add_all(
            run_rows.Run(
                name="r", status=RunStatus.SUCCEEDED, recipe={}, dataset_id=dataset_id, data={}, base_id="starter"
            )
            for _ in range(count)
        )
    doorbell, times = Doorbell(studio.home), []
    for _ in range(20):
        began = time.perf_counter()
        reconcile(studio.home, studio.db, doorbell)
        times.append((time.perf_counter() - began) * 1e3)
    return f"the reconciler's pass over {count:,} runs takes {median(times):.1f} ms (median of 20)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        studio = Studio.open(Settings(home=Path(home), models=options.models))
        for measure in (checkpoint_cost, recovery, reconciling):
            print(measure(studio), flush=True)
        studio.db.close()


if __name__ == "__main__":
    main()
