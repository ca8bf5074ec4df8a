"""What a commit costs under each of SQLite's journals: alone, as a training run makes it, and with others writing too.

    python benchmarks/studio/database.py [--commits 300] [--driver pysqlite3] [--folder /a/real/disk]

The named baseline is the journal that the studio would use by itself. `--driver` takes a module that brings its own
SQLite and must be installed. WAL is measured here even where it is not safe.
"""

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from threading import Thread

from studio.core.run_state import Phase
from studio.store import datasets, db, metrics, runs
from studio.store.db import open_database

VALUES = {"train_loss": 1.0, "learning_rate": 1e-4, "gradient_norm": 1.0, "tokens": 1000, "tokens_per_second": 200.0}


def milliseconds(commits: int, path: Path, others: int) -> list[float]:
    """What each of a run's reports takes: the heartbeat and one step's metrics, committed."""
    database = open_database(path)
    dataset = datasets.create(
        database, name="d", filename="d.csv", sha256="0" * 64, shape="columns", mapping={}, columns=[], rows=1,
        usable_rows=1, skipped=[],
    )  # fmt: skip

    def report(count: int, times: list[float]) -> None:
        run = runs.create(database, name="r", recipe={}, dataset_id=dataset.id, data={}, base_id="starter")
        claim = runs.claim(database, run.id)
        assert claim is not None
        for step in range(count):
            began = time.perf_counter()
            with database.writing() as session:
                runs.report(session, claim, step=step, phase=Phase.TRAINING)
                metrics.write(session, run.id, [{"step": step, **VALUES}])
            times.append((time.perf_counter() - began) * 1e3)

    times: list[float] = []
    threads = [Thread(target=report, args=(commits, [])) for _ in range(others)]
    for thread in threads:
        thread.start()
    report(commits, times)
    for thread in threads:
        thread.join()
    database.close()
    return sorted(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=300)
    parser.add_argument("--driver", default="sqlite3")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    driver = importlib.import_module(options.driver)
    sys.modules["sqlite3"] = driver  # where SQLAlchemy looks for it
    usual = db.journal_mode()
    print(f"{options.driver} with SQLite {driver.sqlite_version}; the studio's own choice here: {usual}")
    for journal in ("truncate", "wal"):
        db.journal_mode = lambda journal=journal: journal  # type: ignore[misc]
        for others in (0, 3):
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                times = milliseconds(options.commits, Path(folder) / "studio.db", others)
            slowest = times[int(len(times) * 0.99)]
            print(f"  {journal:<8} {others} others: median {median(times):6.2f} ms, 99% under {slowest:7.2f} ms")


if __name__ == "__main__":
    main()
