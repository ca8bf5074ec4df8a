"""No process outlives the one that answers for it."""

import ctypes
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence

_LOOK_EVERY_SECONDS = 1.0
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl


def bound_to_parent(command: Sequence[str]) -> list[str]:
    """`command`, to be ended by Linux's kernel with the thread that starts it from its first instruction on.

    It needs util-linux's setpriv for that. Without, a process that is stopped before `end_with_parent` stays.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else [*command]


def end_with_parent(parent_pid: int) -> None:
    """End this process, at once and without cleaning up, when process `parent_pid` is not its parent any more.

    On Linux the kernel does it, even to a process that is stopped, and already when the thread ends that started it:
    start processes from threads that stay. Elsewhere a thread looks every second.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(143)

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(_LOOK_EVERY_SECONDS)
        os._exit(143)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
