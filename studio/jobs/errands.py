"""Small jobs in processes of their own, because they need what the web process must not load, or take long.

An errand ends with the process that sent it; what it had done by then is kept, and it can be sent again.
"""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, get_args

from studio.core.errors import StudioError
from studio.store.home import Home

State = Literal["running", "done", "failed", "never"]
Helper = Literal["workers.lengths", "workers.forecast"]  # modules that answer questions with --answer


class Errands:
    def __init__(self, home: Home) -> None:
        self._home = home
        self._sent: dict[str, subprocess.Popen[bytes]] = {}
        self._helpers: dict[Helper, subprocess.Popen[str]] = {}
        self._sending = threading.Lock()
        # Linux ends them with the thread that started them, and a web server's threads come and go
        self._starter = ThreadPoolExecutor(1, "errands")
        self._asking: dict[Helper, threading.Lock] = {name: threading.Lock() for name in get_args(Helper)}

    def send(self, name: str, module: str, *arguments: str) -> None:
        """Start `python -m module arguments`, unless an errand of this name is under way."""
        with self._sending:
            if self.state(name) == "running":
                return
            with (self._home.logs / "errands.log").open("ab") as log:
                self._sent[name] = self._starter.submit(
                    subprocess.Popen, [*_command(module), *arguments, *_tether()],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                    env=os.environ | self._home.environment,
                ).result()  # fmt: skip

    def state(self, name: str) -> State:
        """How the newest errand of this name stands. That it failed is told once; then it may be sent again."""
        process = self._sent.get(name)
        if process is None:
            return "never"
        code = process.poll()
        if code:
            self._sent.pop(name, None)
        return "running" if code is None else "failed" if code else "done"

    def ask(self, question: dict[str, Any], helper: Helper = "workers.lengths") -> dict[str, Any]:
        """One question to a process that knows what this one must not load: tokenizers, or models.

        It is started at the first question and ends when idle. Raises StudioError if it does not answer, or answers
        with an error.
        """
        with self._asking[helper]:
            for _ in range(2):  # it may have gone home between two questions
                try:
                    if (said := self._said(helper, json.dumps(question))) is not None:
                        break
                except BrokenPipeError:
                    continue
            else:
                raise StudioError("The studio's helper does not answer.", "logs/errands.log in its folder says why.")
        answer: dict[str, Any] = json.loads(said)
        if "error" in answer:
            raise StudioError(answer["error"])
        return answer

    def is_up(self, helper: Helper) -> bool:
        """Whether a question would be answered without starting a process first."""
        process = self._helpers.get(helper)
        return process is not None and process.poll() is None

    def close(self) -> None:
        """End errands and helpers; they would end with this process, or by themselves, but later."""
        under_way: list[subprocess.Popen[bytes] | subprocess.Popen[str]] = [
            *self._sent.values(), *self._helpers.values(),
        ]  # fmt: skip
        for process in under_way:
            with process:  # closes its pipes and waits for it
                process.terminate()
        self._sent.clear()
        self._helpers.clear()

    def _said(self, helper: Helper, line: str) -> str | None:
        if not self.is_up(helper):
            with (self._home.logs / "errands.log").open("ab") as log:
                self._helpers[helper] = self._starter.submit(
                    subprocess.Popen, [*_command(helper), "--answer", *_tether()],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
                    env=os.environ | self._home.environment,
                ).result()  # fmt: skip
        process = self._helpers[helper]
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return process.stdout.readline() or None


def _command(module: str) -> list[str]:
    return [sys.executable, "-m", module]


def _tether() -> list[str]:
    return ["--parent", str(os.getpid())]
