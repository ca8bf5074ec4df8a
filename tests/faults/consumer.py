"""The consumer with the stub trainer and short patience: `python -m tests.faults.consumer`."""

import sys

from studio.jobs import supervisor
from studio.settings import Settings
from studio.store.db import open_database
from studio.store.home import Home
from tests.faults import mutants

PATIENCE = supervisor.Patience(heartbeat=2.5, stall=60, discard=3, goodbye=3)


def main() -> None:
    mutants.apply()
    supervisor.RECONCILE_SECONDS = 1
    home = Home.at(Settings())
    stub = (sys.executable, "-m", "tests.faults.stub")
    supervisor.consume(home, open_database(home.database), trainer=stub, patience=PATIENCE)


if __name__ == "__main__":
    main()
