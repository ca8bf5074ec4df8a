"""What every service needs: the settings, the home folder, the database and the queue of one studio."""

from dataclasses import dataclass

from studio.jobs.queue import Doorbell
from studio.settings import Settings
from studio.store.db import WAIT_SECONDS, Database, open_database
from studio.store.home import Home


@dataclass(frozen=True)
class Studio:
    settings: Settings
    home: Home
    db: Database
    doorbell: Doorbell

    @classmethod
    def open(cls, settings: Settings, wait_seconds: float = WAIT_SECONDS) -> "Studio":
        """`wait_seconds`: how long to wait for others who write to the database."""
        home = Home.at(settings)
        return cls(settings, home, open_database(home.database, wait_seconds), Doorbell(home))
