"""Starting the studio's processes: what is refused, and that they end together."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from studio.core.errors import StudioError
from studio.jobs.processes import check_address
from studio.settings import Settings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_port_in_use_is_said_in_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StudioError, match=f"Port {port} on 127.0.0.1 cannot be used") as caught:
            check_address(Settings(port=port))
    assert "another port" in caught.value.hint


def test_other_hosts_need_a_login() -> None:
    with pytest.raises(StudioError, match="no login is set"):
        check_address(Settings(host="0.0.0.0", port=free_port()))
    check_address(Settings(host="0.0.0.0", port=free_port(), username="me", password="secret"))


@pytest.mark.slow
def test_the_studio_starts_prints_one_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    port = free_port()
    environment = os.environ | {"STUDIO_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "studio", "up", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        assert up.stdout and up.stderr
        assert up.stdout.readline().startswith(f"Adapter Studio is ready: http://127.0.0.1:{port}")
        family = [up.pid, *(p.pid for p in psutil.Process(up.pid).children(recursive=True))]
        assert len(family) >= 4  # itself, page, consumer, engine

        second = subprocess.run([*command[:-1], str(free_port())], env=environment, capture_output=True, text=True)
        assert second.returncode == 1
        assert f"already running on {tmp_path / 'home'} (process {up.pid}, since" in second.stderr

        page = psutil.Process(up.pid).children()[0]
        page.kill()
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health").is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        else:
            pytest.fail("the page did not come back")
        listening = {
            c.laddr.ip
            for p in psutil.Process(up.pid).children(True)
            for c in p.net_connections()
            if c.status == "LISTEN"
        }
        assert listening == {"127.0.0.1"}

        family += [p.pid for p in psutil.Process(up.pid).children(recursive=True)]
        up.send_signal(signal.SIGTERM)
        up.wait(300)
        assert up.stderr.read() == ""
    assert not [pid for pid in family if psutil.pid_exists(pid)]


@pytest.mark.slow
def test_no_process_survives_a_killed_studio(tmp_path: Path) -> None:
    environment = os.environ | {"STUDIO_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "studio", "up", "--port", str(free_port())]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout
        up.stdout.readline()
        family = psutil.Process(up.pid).children(recursive=True)
        up.kill()
        up.wait()
    _, alive = psutil.wait_procs(family, timeout=300)
    assert not alive
