import signal
import subprocess
import sys
import time

import psutil
import pytest

_STARTS_A_CHILD = """
import subprocess, sys, time
from studio.core.lifeline import bound_to_parent
print(subprocess.Popen(bound_to_parent([sys.executable, "-c", "import time; time.sleep(60)"])).pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel ends a process that is stopped")
def test_a_process_that_is_stopped_before_it_has_done_anything_ends_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", _STARTS_A_CHILD], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        while "time.sleep" not in " ".join(child.cmdline()) or child.name().startswith("setpriv"):
            time.sleep(0.001)
        child.suspend()
        parent.send_signal(signal.SIGKILL)
    child.wait(10)
