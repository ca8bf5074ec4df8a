"""The doorbell: Huey carries a run's id to the consumer and nothing else. The runs table is the truth.

A lost ring costs nothing but time: the consumer looks for waiting runs itself, at start and every few seconds.
"""

from collections.abc import Callable
from secrets import token_hex

from huey import SqliteHuey
from huey.serializer import SignedSerializer

from studio.store.home import Home
from studio.store.locks import exclusive


class Doorbell:
    """Both ends of the queue: the web page and the command line `ring`, the consumer `answer`s."""

    def __init__(self, home: Home, answer: Callable[[int], object] | None = None) -> None:
        # Huey's messages are pickles: only those signed with this home's secret are opened
        self.huey = SqliteHuey(
            "studio", filename=str(home.queue), results=False, serializer=SignedSerializer(secret=_secret(home))
        )

        @self.huey.task()  # type: ignore[untyped-decorator]
        def execute_run(run_id: int) -> None:
            assert answer is not None, "only the consumer takes messages out of the queue"
            answer(run_id)

        self._execute_run = execute_run

    def ring(self, run_id: int) -> None:
        """Tell the consumer that run `run_id` waits."""
        self._execute_run(run_id)


def _secret(home: Home) -> str:
    path = home.path / "queue.secret"
    with exclusive(path.with_suffix(".lock")):
        if not path.is_file():
            path.touch(mode=0o600)
            path.write_text(token_hex(32))
        return path.read_text()
