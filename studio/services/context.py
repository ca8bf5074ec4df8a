"""What every service needs: the settings, the home folder, the database and the queue of one studio."""

from dataclasses import dataclass

from studio.jobs.queue import Doorbell
from studio.settings import Settings
from studio.store.db import Database, open_database
from studio.store.home import Home


@dataclass(frozen=True)
class Studio:
    settings: Settings
    home: Home
    db: Database
    doorbell: Doorbell

    @classmethod
    def open(cls, settings: Settings) -> "Studio":
        home = Home.at(settings)
        return cls(settings, home, open_database(home.database), Doorbell(home))
