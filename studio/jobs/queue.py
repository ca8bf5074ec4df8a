"""The doorbell: Huey carries a run's id to the consumer and nothing else. The runs table is the truth.

A lost ring costs nothing but time: the consumer looks for waiting runs itself, at start and every few seconds.
"""

import logging
import sqlite3
from collections.abc import Callable
from functools import cached_property
from secrets import token_hex

from huey import SqliteHuey
from huey.serializer import SignedSerializer

from studio.store.db import journal_mode
from studio.store.home import Home
from studio.store.locks import exclusive

log = logging.getLogger(__name__)


class Doorbell:
    """Both ends of the queue: the web page and the command line `ring`, the consumer `answer`s."""

    def __init__(self, home: Home, answer: Callable[[int], object] | None = None) -> None:
        self._home = home
        self._answer = answer

    def ring(self, run_id: int) -> None:
        """Tell the consumer that run `run_id` waits; it finds out by itself if it cannot be told."""
        try:
            self._bound[1](run_id)
        except sqlite3.OperationalError as error:  # locked, or a full disk
            log.warning("the consumer could not be told of run %s: %s", run_id, error)

    @property
    def huey(self) -> SqliteHuey:
        return self._bound[0]

    @cached_property
    def _bound(self) -> tuple[SqliteHuey, Callable[[int], object]]:
        """The queue and its one task; made when first needed, because making it writes to the disk."""
        huey = SqliteHuey(
            "studio",
            filename=str(self._home.queue),
            results=False,
            journal_mode=journal_mode(),
            # Huey's messages are pickles: only those signed with this home's secret are opened
            serializer=SignedSerializer(secret=_secret(self._home)),
        )

        @huey.task()  # type: ignore[untyped-decorator]
        def execute_run(run_id: int) -> None:
            assert self._answer is not None, "only the consumer takes messages out of the queue"
            self._answer(run_id)

        return huey, execute_run


def _secret(home: Home) -> str:
    path = home.path / "queue.secret"
    with exclusive(path.with_suffix(".lock")):
        if not path.is_file():
            path.touch(mode=0o600)
            path.write_text(token_hex(32))
        return path.read_text()
