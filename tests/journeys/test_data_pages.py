"""A messy file in a real browser: report, repair, rows, edit, versions, tokens, lengths, and a run on its last version.

Before a web process alone, with the real starter model beside it: the run stays in the line.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from studio.services import datasets, library
from studio.services import runs as run_services
from studio.services.context import Studio
from studio.settings import Settings

pytestmark = pytest.mark.slow
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@dataclass(frozen=True)
class Site:
    url: str
    studio: Studio


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, starter_models: Path) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("home")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"STUDIO_HOME": str(home), "STUDIO_MODELS": str(starter_models)}
    command = [sys.executable, "-m", "studio", "web", "--port", str(port)]
    log = home / "web.log"
    with log.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as process:
        try:
            for _ in range(1200):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
                    break
                assert process.poll() is None, "the web process ended"
                time.sleep(0.1)
            yield Site(f"http://127.0.0.1:{port}", Studio.open(Settings(home=home, models=starter_models)))
        finally:
            process.terminate()
    assert "Traceback" not in log.read_text(), log.read_text()


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """60 good rows on lines 2 to 61; then a repeat, HTML, a hostile text, a long one, and one without an answer."""
    path = tmp_path / "messy.csv"
    rows = [(f"Where is item {n}?", f"Item {n} is on shelf {n * 7}.") for n in range(60)]
    rows += [
        rows[3],
        ("Open?", "<p>Yes &amp; always.</p>"),
        (HOSTILE, "Harmless."),
        ("Long?", "And on. " * 700),
        ("Mute?", ""),
    ]
    path.write_text("question,answer\n" + "".join(f'"{q}","{a}"\n' for q, a in rows), encoding="utf-8")
    return path


@pytest.fixture
def opened(site: Site, browser: Browser, messy: Path) -> Iterator[Page]:
    """The report's page, opened by way of an upload on the first page."""
    context = browser.new_context(base_url=site.url, locale="en-US", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    thrown: list[str] = []
    page.on("pageerror", lambda error: thrown.append(str(error)))
    page.goto("/")
    page.locator("#examples-file input[type=file]").set_input_files(messy)
    expect(page.locator("#worst")).to_contain_text("2 rows have HTML in the text")
    page.get_by_role("button", name="Check the data").click()
    page.wait_for_url("**/data?id=*")
    expect(page.locator(".findings")).to_be_visible()
    yield page
    context.close()
    assert thrown == []


def test_from_a_messy_file_to_a_run_on_its_repaired_version(opened: Page, site: Site) -> None:
    page = opened
    expect(page.locator(".finding[data-kind=no_answer]")).to_contain_text("In your file: row 66")
    repeats = page.locator(".finding[data-kind=duplicates]")
    repeats.get_by_role("button", name="Keep one of each …").click()
    expect(repeats.locator(".before-after")).to_contain_text("left out")
    repeats.get_by_role("button", name="Keep one of each", exact=True).click()
    expect(page.get_by_text("Keep one of each: done. This is version 2 now.")).to_be_visible()
    expect(repeats).to_have_count(0)
    page.locator(".finding[data-kind=html]").get_by_role("button", name="Show the rows").click()
    expect(page.locator("table.examples tbody tr")).to_have_count(2)  # the hostile text holds a tag too
    page.get_by_label("Search in all texts").fill("ITEM 7?")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("table.examples tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Edit the answer of row 9").click()
    page.get_by_role("textbox", name="Answer of row 9").fill("On the counter.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("This is version 3 now.")).to_be_visible()
    expect(page.locator("table.examples tbody tr")).to_contain_text("On the counter.")
    page.get_by_label("Choose row 9").check()
    page.get_by_role("button", name="Don't learn from them").click()
    expect(page.get_by_text("This is version 4 now.")).to_be_visible()
    page.locator("header.run").get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Undone. This is version 5 now.")).to_be_visible()
    page.get_by_role("tab", name="Versions").click()
    expect(page.locator(".versions .model")).to_have_count(5)
    page.get_by_role("link", name="Train on it", exact=True).first.click()
    expect(page.locator("#summary")).to_contain_text("messy, version 5")
    expect(page.locator("#plan")).to_contain_text("57 to learn from · 6 held back")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url("**/run?id=*")
    (run,) = run_services.every(site.studio)
    assert (run.dataset_version, run.data["rows"]) == (5, 63)
    assert library.every(site.studio)[0].newest.number == 5


def test_a_row_that_was_left_out_is_filled_in(opened: Page) -> None:
    page = opened
    page.locator(".finding[data-kind=no_answer]").get_by_role("button", name="Show the rows").click()
    assert page.url.endswith("#left")
    line = page.locator("table.left-out tbody tr")
    expect(line).to_contain_text("has a question but no answer")
    page.get_by_role("button", name="Fill in row 66").click()
    expect(page.get_by_label("Question of row 66")).to_have_value("Mute?")
    page.get_by_label("Answer of row 66").fill("Not any more.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Row 66 filled in. This is version")).to_be_visible()
    expect(page.get_by_text("No row of your file is left out.")).to_be_visible()
    page.get_by_role("tab", name="Report").click()
    expect(page.locator(".finding[data-kind=no_answer]")).to_have_count(0)
    page.get_by_role("tab", name="Rows").click()
    page.get_by_label("Go to the row with this number").fill("66")
    page.get_by_role("button", name="Go to row").click()
    expect(page.locator("tr.wanted")).to_contain_text("Not any more.")
    page.locator("header.run").get_by_role("button", name="Undo").click()
    expect(page.get_by_role("tab", name="Left out (1)")).to_be_visible()


def test_an_example_is_seen_as_tokens_and_lengths_follow_the_slider(opened: Page) -> None:
    page = opened
    page.get_by_role("tab", name="As the model sees it").click()
    expect(page.locator("div.tokens .learned").first).to_be_visible(timeout=300_000)
    assert page.url.endswith("/data?id=1#seen")
    learned = "".join(page.locator("div.tokens .learned").all_text_contents())
    assert learned == "Item 0 is on shelf 0.<|im_end|>"
    page.get_by_label("Longest example, in tokens").fill("40")
    page.get_by_label("Longest example, in tokens").press("Enter")
    expect(page.locator("div.tokens s.cut").first).to_be_visible()
    page.get_by_role("tab", name="Lengths").click()
    expect(page.locator(".histogram")).to_be_visible(timeout=300_000)
    slider = page.get_by_label("Longest example, in tokens").last
    slider.press("End")
    expect(page.get_by_text("keeps 100% of rows whole")).to_be_visible()
    for _ in range(3):
        slider.press("ArrowLeft")
    expect(page.get_by_text("1 row would be cut")).to_be_visible()
    page.get_by_role("button", name="Show these rows").click()
    expect(page.locator("table.examples tbody tr")).to_have_count(1)
    expect(page.locator("table.examples tbody tr")).to_contain_text("Long?")


def test_on_a_phone_nothing_is_wider_than_the_screen(site: Site, browser: Browser, messy: Path) -> None:
    made = datasets.make(site.studio, datasets.keep_upload(site.studio, messy, messy.name))
    context = browser.new_context(base_url=site.url, viewport={"width": 390, "height": 844}, locale="en-US")
    page = context.new_page()
    for address in ("/data", f"/data?id={made.id}"):
        page.goto(address)
        expect(page.locator("#data-page:not([aria-busy])")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for tab, inside in {
        "Report": ".findings", "Rows": "table.examples:not(.left-out) tbody tr", "Left out": "table.left-out tbody tr",
        "As the model sees it": "div.tokens", "Lengths": ".histogram", "Versions": ".versions",
    }.items():  # fmt: skip
        page.get_by_role("tab", name=tab).click()
        expect(page.locator(inside).first).to_be_visible(timeout=300_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
    context.close()


def test_a_data_set_is_listed_noticed_again_and_deleted_when_unused(opened: Page, site: Site, messy: Path) -> None:
    page = opened
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Name of the data set").fill("<b>Mine</b>")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="<b>Mine</b>")).to_be_visible()
    page.goto("/")
    page.locator("#examples-file input[type=file]").set_input_files(messy)
    expect(page.locator("#worst")).to_contain_text("You uploaded this file on")
    page.get_by_role("link", name="Open “<b>Mine</b>”").click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").first.click()
    expect(
        page.get_by_text("learned from it").or_(page.get_by_role("heading", name="Data", exact=True))
    ).to_be_visible()
