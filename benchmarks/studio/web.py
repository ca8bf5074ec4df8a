"""The studio's own cost: time to the first page, and what it uses while nobody does anything.

    python benchmarks/studio/web.py [--rounds 3] [--idle 30]

The named baseline is `python -c "import gradio"`, timed in turn with `studio up` until its first page has been sent.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx
import psutil


@contextmanager
def studio(home: Path) -> Iterator[tuple[str, psutil.Process]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "studio", "up", "--port", str(port)]
    with subprocess.Popen(command, env=os.environ | {"STUDIO_HOME": str(home)}, stdout=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{port}/", psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)


def seconds_to_first_page(url: str) -> float:
    began = time.monotonic()
    while True:
        try:
            if httpx.get(url, timeout=10).is_success:
                return time.monotonic() - began
        except httpx.TransportError:
            time.sleep(0.02)


def seconds_to_import_gradio() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import gradio"], check=True)
    return time.monotonic() - began


def core_seconds(root: psutil.Process) -> dict[str, float]:
    used = {}
    for process in (root, *root.children(recursive=True)):
        times = process.cpu_times()
        name = next((word for word in process.cmdline()[1:] if not word.startswith("-")), process.name())
        used[f"{process.pid} {name} {' '.join(process.cmdline()[3:4])}"] = times.user + times.system
    return used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=float, default=30, help="seconds to watch an idle studio")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        imports, pages = [], []
        for _ in range(options.rounds):
            imports.append(seconds_to_import_gradio())
            with studio(Path(folder)) as (url, _process):
                pages.append(seconds_to_first_page(url))
        bar = 1.3 * median(imports) + 2
        print(f"import gradio {median(imports):.2f} s; first page {median(pages):.2f} s (bar {bar:.2f} s)")
        with studio(Path(folder)) as (url, process):
            seconds_to_first_page(url)
            time.sleep(25)  # the trainer that waits in reserve has its imports done
            before = core_seconds(process)
            time.sleep(options.idle)
            after = core_seconds(process)
        shares = {name: (used - before.get(name, 0)) / options.idle for name, used in after.items()}
        for name, share in shares.items():
            print(f"  {share:6.2%} of a core  {name}")
        print(f"idle, all processes: {sum(shares.values()):.2%} of a core (bar 5%)")


if __name__ == "__main__":
    main()
