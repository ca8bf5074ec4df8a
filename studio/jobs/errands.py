"""Small jobs in processes of their own, because they need what the web process must not load, or take long.

An errand ends with the process that sent it; what it had done by then is kept, and it can be sent again.
"""

import json
import os
import subprocess
import sys
import threading
from typing import Any, Literal

from studio.core.errors import StudioError
from studio.store.home import Home

State = Literal["running", "done", "failed", "never"]
_HELPER = ["workers.lengths", "--answer"]


class Errands:
    def __init__(self, home: Home) -> None:
        self._home = home
        self._sent: dict[str, subprocess.Popen[bytes]] = {}
        self._helper: subprocess.Popen[str] | None = None
        self._sending, self._asking = threading.Lock(), threading.Lock()

    def send(self, name: str, module: str, *arguments: str) -> None:
        """Start `python -m module arguments`, unless an errand of this name is under way."""
        with self._sending:
            if self.state(name) == "running":
                return
            with (self._home.logs / "errands.log").open("ab") as log:
                self._sent[name] = subprocess.Popen(
                    [*_command(module), *arguments, *_tether()],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                    env=os.environ | self._home.environment,
                )  # fmt: skip

    def state(self, name: str) -> State:
        """How the newest errand of this name stands. That it failed is told once; then it may be sent again."""
        process = self._sent.get(name)
        if process is None:
            return "never"
        code = process.poll()
        if code:
            self._sent.pop(name, None)
        return "running" if code is None else "failed" if code else "done"

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """One question to the process that knows tokenizers. It is started at the first question and ends when idle.

        Raises StudioError if it does not answer, or answers with an error.
        """
        with self._asking:
            for _ in range(2):  # it may have gone home between two questions
                try:
                    if (said := self._said(json.dumps(question))) is not None:
                        break
                except BrokenPipeError:
                    continue
            else:
                raise StudioError(
                    "The examples could not be shown.", "logs/errands.log in the studio's folder says why."
                )
        answer: dict[str, Any] = json.loads(said)
        if "error" in answer:
            raise StudioError(answer["error"])
        return answer

    def _said(self, line: str) -> str | None:
        if self._helper is None or self._helper.poll() is not None:
            with (self._home.logs / "errands.log").open("ab") as log:
                self._helper = subprocess.Popen(
                    [*_command(_HELPER[0]), *_HELPER[1:], *_tether()],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
                    env=os.environ | self._home.environment,
                )  # fmt: skip
        assert self._helper.stdin is not None and self._helper.stdout is not None
        self._helper.stdin.write(line + "\n")
        self._helper.stdin.flush()
        return self._helper.stdout.readline() or None


def _command(module: str) -> list[str]:
    return [sys.executable, "-m", module]


def _tether() -> list[str]:
    return ["--parent", str(os.getpid())]
