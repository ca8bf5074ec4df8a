"""The studio's own processes: web page, consumer and engine. Started together, restarted when one dies, ended together.

The parent stays small (no gradio, no torch), so it is there when one of them is not.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection

from studio.core.errors import StudioError
from studio.settings import Settings
from studio.store.home import Home
from studio.store.locks import Held, exclusive

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_RESTARTS_A_MINUTE = 5
_END_SECONDS = 40  # longer than a training process has to save a checkpoint
_START_SECONDS = 120


def up(settings: Settings, home: Home, say: Callable[[str], None]) -> None:
    """Run the studio until SIGTERM or Ctrl-C.

    Raises StudioError, in words, if it may not or cannot start.
    """
    check_address(settings)
    try:
        with exclusive(home.lock("studio"), wait=False):
            _run(settings, home, say)
    except Held as held:
        who = f" ({held.holder.words})" if held.holder else ""
        raise StudioError(
            f"A studio is already running on {home.path}{who}.",
            "Open its page, or give this one another folder with --home.",
        ) from None


def check_address(settings: Settings) -> None:
    """Raises StudioError if the address is taken, or open to others without a login."""
    if settings.host not in LOOPBACK and not (settings.username and settings.password.get_secret_value()):
        raise StudioError(
            f"On {settings.host} other people could reach the studio, and no login is set.",
            "Set STUDIO_USERNAME and STUDIO_PASSWORD first, or leave --host out.",
        )
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
    except OSError as error:
        raise StudioError(
            f"Port {settings.port} on {settings.host} cannot be used ({os.strerror(error.errno or 0).lower()}).",
            f"End the program that uses it, or choose another port: studio up --port {settings.port + 1}.",
        ) from None


class _Child:
    """One process of the studio, with its own log file."""

    def __init__(self, name: str, arguments: list[str], home: Home, environment: dict[str, str] | None = None) -> None:
        self.name = name
        self._arguments = [sys.executable, "-m", *arguments, "--parent", str(os.getpid())]
        self.log = home.logs / f"{name}.log"
        self._environment = os.environ | home.environment | (environment or {})
        self._starts: list[float] = []
        self.process = self._start()

    def restart_if_dead(self) -> None:
        """Raises StudioError when it keeps dying."""
        if self.process.poll() is None:
            return
        recent = [start for start in self._starts if time.monotonic() - start < 60]
        if len(recent) > _RESTARTS_A_MINUTE:
            raise StudioError(f"The {self.name} process keeps ending.", f"See {self.log}.")
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._starts.append(time.monotonic())
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, env=self._environment,
            )  # fmt: skip


def _run(settings: Settings, home: Home, say: Callable[[str], None]) -> None:
    closing = threading.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, lambda *_: closing.set())
    children: list[_Child] = []
    address = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
    with socket.socket() as probe:
        probe.bind((settings.engine_host, settings.engine_port))
        engine_port = str(probe.getsockname()[1])
    engine_url = settings.engine_url or f"http://{settings.engine_host}:{engine_port}"
    try:
        home.engine_url.write_text(engine_url, encoding="utf-8")
        web = ["studio", "web", "--host", settings.host, "--port", str(settings.port)]
        children.append(_Child("web", web, home))
        _wait_until_it_answers(settings, children[0], closing)
        children.append(_Child("worker", ["studio", "work"], home))
        if not settings.engine_url:
            engine = ["workers.serve", "--host", settings.engine_host, "--port", engine_port]
            children.append(_Child("engine", engine, home, {"OMP_WAIT_POLICY": "PASSIVE"}))
        if not closing.is_set():
            say(f"Adapter Studio is ready: {address}  (Ctrl-C stops it)")
        while not closing.wait(1):
            for child in children:
                child.restart_if_dead()
    finally:
        home.engine_url.unlink(missing_ok=True)
        _end([child.process for child in children])


def _wait_until_it_answers(settings: Settings, child: _Child, closing: threading.Event) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not closing.wait(0.1):
        connection = HTTPConnection(settings.host, settings.port, timeout=2)
        try:
            connection.request("GET", "/health")
            connection.getresponse()
            return
        except OSError:
            pass  # not yet
        finally:
            connection.close()
        if child.process.poll() is not None or time.monotonic() > deadline:
            raise StudioError("The web page did not start.", f"The reason is at the end of {child.log}.")


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """SIGTERM to all at once, SIGKILL to what is left after a while."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + _END_SECONDS
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
