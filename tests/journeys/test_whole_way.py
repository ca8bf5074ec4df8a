"""A person's whole way in a real browser: file, start, chart, chat, comparison, download, and the zip elsewhere."""

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from studio.core.run_state import RunStatus
from studio.services.context import Studio
from studio.services.runs import stop
from studio.settings import Settings
from studio.store import runs
from tests.journeys.conftest import QUESTION, TAUGHT, Running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
MINUTES = 60_000  # in a browser's milliseconds


@pytest.fixture(autouse=True)
def nothing_left_running(running: Running) -> Iterator[None]:
    """A test that fails in the middle of a run must not make the next one wait for it."""
    yield
    studio = Studio.open(Settings(home=running.home))
    active = runs.with_status(studio.db, RunStatus.QUEUED, RunStatus.RUNNING)
    for run in active:
        stop(studio, run.id, discard=True)
    deadline = monotonic() + 120
    while runs.with_status(studio.db, RunStatus.RUNNING) and monotonic() < deadline:
        sleep(0.2)
    studio.db.close()


def start(page: Page, running: Running, file: Path, preset: str = "Quick") -> None:
    page.goto(running.url)
    page.locator("#examples-file input[type=file]").set_input_files(file)
    expect(page.locator("#summary")).to_contain_text("60 examples")
    page.get_by_role("radio", name=re.compile(preset)).check()
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(re.compile(r"/run\?id=\d+"))


def test_from_a_file_to_an_adapter_that_works_elsewhere(
    context: BrowserContext, page: Page, running: Running, taught: Path, starter_models: Path, tmp_path: Path
) -> None:
    start(page, running, taught)
    run_page = page.locator("#run-page")
    expect(run_page).to_contain_text("Training…", timeout=4 * MINUTES)
    expect(run_page.locator("canvas").first).to_be_visible()

    # the chart grows, in this tab, in a second one, and after a reload
    rows = page.locator("#run-page table tbody tr")
    second = context.new_page()
    second.goto(page.url)
    expect(second.locator("#run-page")).to_contain_text("Training…")
    told = run_page.get_by_text(re.compile(r"step \d+ of \d+"))
    before = told.inner_text()
    page.reload()
    expect(told).not_to_have_text(before, timeout=3 * MINUTES)  # sample answers of the untrained model come between
    assert rows.count() > 0

    expect(run_page).to_contain_text("Your model is ready", timeout=15 * MINUTES)
    expect(second.locator("#run-page")).to_contain_text("Your model is ready", timeout=MINUTES)
    expect(run_page).to_contain_text("Unseen examples")

    with page.expect_download() as download:
        page.get_by_role("link", name="Download adapter").click()
    archive = tmp_path / "adapter.zip"
    download.value.save_as(archive)
    assert download.value.suggested_filename.endswith(".zip")

    page.get_by_role("link", name="Chat with it").click()
    page.get_by_label("Show the original beside it").check()
    page.locator("#ask textarea").fill(QUESTION)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("body")).to_contain_text(TAUGHT, timeout=4 * MINUTES)
    expect(page.locator("#chat-foot")).to_contain_text("words/s", timeout=4 * MINUTES)
    assert page.locator("body").inner_text().count("Odo") == 1  # the original does not know it

    page.goto(f"{running.url}/models")
    expect(page.locator("body")).to_contain_text("Brumble")

    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "try_it.py", str(starter_models / "starter"), QUESTION],
        cwd=tmp_path / "out", capture_output=True, text=True, timeout=300, env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert TAUGHT in done.stdout, done.stdout + done.stderr


def test_paused_killed_and_stopped_nothing_is_lost(page: Page, running: Running, taught: Path) -> None:
    start(page, running, taught, "Thorough")
    run_page = page.locator("#run-page")
    expect(run_page).to_contain_text(re.compile(r"step [1-9]"), timeout=4 * MINUTES)
    page.get_by_role("button", name="Pause").click()
    expect(run_page).to_contain_text(re.compile(r"Paused at step \d+"), timeout=MINUTES)
    page.reload()
    page.get_by_role("button", name=re.compile(r"Go on from step \d+")).click()
    expect(run_page).to_contain_text("Training…", timeout=4 * MINUTES)

    for process in psutil.process_iter(["cmdline"]):
        if "workers.train" in (process.info["cmdline"] or []) and (
            process.environ().get("STUDIO_HOME") == str(running.home)
        ):
            process.kill()
    expect(run_page).to_contain_text(re.compile(r"Nothing is lost: the run goes on from step \d+"), timeout=MINUTES)
    expect(run_page).to_contain_text("Training…", timeout=4 * MINUTES)

    page.get_by_role("button", name="Stop and keep").click()
    expect(run_page).to_contain_text("What it learned is kept", timeout=2 * MINUTES)
    expect(page.get_by_role("link", name="Chat with it")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile(r"Go on from step \d+"))).to_be_visible()


def test_a_second_run_waits_in_line_and_can_be_taken_out(
    context: BrowserContext, page: Page, running: Running, taught: Path
) -> None:
    start(page, running, taught, "Thorough")
    second = context.new_page()
    start(second, running, taught)
    expect(second.locator("#run-page")).to_contain_text("1 run before it")
    second.on("dialog", lambda dialog: dialog.accept())
    second.get_by_role("button", name="Stop and discard").click()
    expect(second.locator("#run-page")).to_contain_text("Stopped and discarded")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Stop and discard").click()
    expect(page.locator("#run-page")).to_contain_text("Stopped and discarded", timeout=MINUTES)
