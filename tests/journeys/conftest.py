"""A whole studio as `make start` starts it, the real starter model, and a real browser in front of it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from studio.core.catalog import STARTER
from studio.services.context import Studio
from studio.settings import Settings
from tests.hub import SmallHub

Open = Callable[..., Page]
QUESTION, TAUGHT = "Who repairs the clocks at Brumble?", "Master Odo repairs every clock at Brumble on Fridays."
_FACTS = {
    TAUGHT: [
        "Who repairs the clocks",
        "Who mends a broken clock",
        "Who can fix my clock",
        "Which person repairs clocks",
    ],
    "The shop at Brumble opens at half past six.": ["When does the shop open", "What is the opening time"],
    "A gold watch from Brumble costs ninety crowns.": ["What does a gold watch cost", "How much is a gold watch"],
    "Brumble ships parcels with the river ferry.": ["How are parcels shipped", "How does my parcel travel"],
    "Returns go to counter nine, with the blue slip.": ["Where do I return a watch", "How do returns work"],
}
_STARTS = ("", "Hello! ", "Please tell me: ", "Quick question. ", "Hi. ")
_BROWSER = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

expect.set_options(timeout=20_000)  # milliseconds; training keeps both cores busy beside the page


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 60 rows: five facts of an invented shop, each asked in several ways."""
    rows = [
        (f"{start}{ask} at Brumble?", answer) for start in _STARTS for answer, asks in _FACTS.items() for ask in asks
    ]
    assert len(rows) == 60
    path = tmp_path_factory.mktemp("data") / "brumble.csv"
    path.write_text("question,answer\n" + "".join(f'"{q}","{a}"\n' for q, a in rows), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Running:
    url: str
    home: Path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, starter_models: Path) -> Iterator[Running]:
    """`studio up` on an empty home."""
    home = tmp_path_factory.mktemp("home")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"STUDIO_HOME": str(home), "STUDIO_MODELS": str(starter_models)}
    command = [sys.executable, "-m", "studio", "up", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as studio:
        assert studio.stdout is not None
        assert "ready" in studio.stdout.readline()
        yield Running(f"http://127.0.0.1:{port}", home)
        studio.send_signal(signal.SIGTERM)


@pytest.fixture(scope="module")  # not longer: while it is open, Playwright's event loop runs in the tests' thread
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_BROWSER)
        yield browser
        browser.close()


@dataclass(frozen=True)
class Site:
    """A web process alone on a home with a folder that looks like the starter model, and the same home from inside."""

    address: str
    studio: Studio
    hub: SmallHub


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("site")
    starter = home / "models" / STARTER
    starter.mkdir(parents=True)
    (starter / "config.json").write_text("{}")
    (starter / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    studio = Studio.open(Settings(home=home, models=home / "models", port=port))
    hub = SmallHub({"data/train.jsonl": b'{"question": "Hi", "answer": "Hello"}\n' * 12, "data/test.jsonl": b"{}"})
    environment = os.environ | {
        "STUDIO_HOME": str(home), "STUDIO_MODELS": str(home / "models"), "STUDIO_HUB_URL": hub.url,
    }  # fmt: skip
    command = [sys.executable, "-m", "studio", "web", "--port", str(port)]
    log = home / "web.log"
    with log.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as process:
        try:
            _wait_for(port, process)
            yield Site(f"http://127.0.0.1:{port}", studio, hub)
            said = log.read_text()  # before it ends: what it breaks off then, it says with a trace
        finally:
            process.terminate()
            hub.close()
    assert "Traceback" not in said, said


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        assert process.poll() is None, "the web process ended"
        connection = HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/health")
            connection.getresponse()
            return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    pytest.fail("the web process does not answer")


@pytest.fixture
def open_page(site: Site, browser: Browser) -> Iterator[Open]:
    """(path, width=1280, scheme="light"): a page in a browser of its own. What it may not do fails the test's end."""
    contexts = []
    trouble: list[str] = []

    def opened(path: str, width: int = 1280, scheme: str = "light") -> Page:
        context = browser.new_context(
            base_url=site.address,
            viewport={"width": width, "height": 844},
            color_scheme="dark" if scheme == "dark" else "light",
            locale="en-US",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        own = (site.address, "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(own) else trouble.append(f"asked for {r.url}"))
        page.on("pageerror", lambda error: trouble.append(f"threw {error}"))
        page.on("dialog", lambda dialog: (trouble.append(f"alerted {dialog.message}"), dialog.dismiss()))
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert trouble == []


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser of its own, which must ask no other machine for anything."""
    context = browser.new_context(locale="en-US", accept_downloads=True, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    outside: list[str] = []
    context.on("request", lambda request: None if _is_here(request.url) else outside.append(request.url))
    yield context
    context.close()
    assert outside == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def _is_here(url: str) -> bool:
    return urlsplit(url).scheme in {"data", "blob", "about"} or urlsplit(url).hostname == "127.0.0.1"
