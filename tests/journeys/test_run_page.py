"""The page of one run in a real browser: charts, answers at every check, and what was expected beside what happened.

Before a web process alone: what a trainer would have written is written into the database by hand.
"""

import math
import os
import re
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from studio.core.catalog import STARTER
from studio.core.run_state import RunStatus
from studio.services import datasets
from studio.services import runs as run_services
from studio.services.context import Studio
from studio.settings import Settings
from studio.store import metrics, runs

pytestmark = pytest.mark.slow
Open = Callable[..., Page]

QUESTIONS = {"Where is item 3?": "On shelf 3.", "Where is item 8?": "On shelf 8.", "Where is item 21?": "On shelf 21."}
# pixels of a picture: the first, and how many are teal in the first chart and below it
LOOK_AT_PICTURE = """async (url) => {
    const image = new Image();
    image.src = url;
    await image.decode();
    const { width, height } = image;
    const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
    context.drawImage(image, 0, 0);
    const teal = (from, to) => {
        const pixels = context.getImageData(0, Math.round(from * height), width, Math.round((to - from) * height)).data;
        let count = 0;
        for (let at = 0; at < pixels.length; at += 4) {
            const [red, green, blue] = pixels.slice(at, at + 3);
            if (green - red > 60 && blue - red > 60) count++;
        }
        return count;
    };
    const corner = Array.from(context.getImageData(0, 0, 1, 1).data);
    return { corner, size: [width, height], top: teal(0.15, 0.55), bottom: teal(0.6, 1) };
}"""
EARLY = "Training stopped at step 180 because it had not improved for 3 checks."


@dataclass(frozen=True)
class Site:
    url: str
    studio: Studio


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A web process on a home with a folder that looks like the starter model."""
    home = tmp_path_factory.mktemp("home")
    starter = home / "models" / STARTER
    starter.mkdir(parents=True)
    (starter / "config.json").write_text("{}")
    (starter / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"STUDIO_HOME": str(home), "STUDIO_MODELS": str(home / "models")}
    command = [sys.executable, "-m", "studio", "web", "--port", str(port)]
    log = home / "web.log"
    with log.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as process:
        try:
            for _ in range(1200):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
                    break
                assert process.poll() is None, log.read_text()
                sleep(0.1)
            yield Site(f"http://127.0.0.1:{port}", Studio.open(Settings(home=home, models=home / "models")))
        finally:
            process.terminate()
    assert "Traceback" not in log.read_text(), log.read_text()


def rows_of(steps: Sequence[int], check_every: int = 20, accuracy: bool = True) -> list[dict[str, Any]]:
    """What a trainer writes: the loss on held-back rows is lowest at step 120."""
    rows = []
    for step in steps:
        noise = math.sin(step * step)
        row = {
            "step": step,
            "train_loss": 0.35 + (2.8 + 0.5 * noise) * math.exp(-step / 40) + 0.08 * noise,
            "learning_rate": max(0.0, 2e-3 * min(step / 20, 1 - (step - 20) / 400)),
            "gradient_norm": 1.4 + 0.3 * noise + 3 / (1 + step),
            "tokens": 412 * step,
            "tokens_per_second": 640 + 25 * noise,
            "memory_gib": 2.1 + step / 900,
            "seconds": 0.64 * step,
            "token_accuracy": 0.93 - 0.5 * math.exp(-step / 50) + noise / 30 if accuracy else None,
        }
        rows.append(row if step else {"step": 0})
        if step % check_every == 0:
            rows[-1]["validation_loss"] = 0.72 + (step - 120) ** 2 / 6500
            if accuracy:
                rows[-1]["validation_accuracy"] = 0.84 - (step - 120) ** 2 / 40_000
    return rows


def begin(studio: Studio, folder: Path, name: str = "Shelf helper", **data: Any) -> runs.Claim:
    """A run that is training and has written nothing yet."""
    path = folder / "shelves.csv"
    path.write_text("question,answer\n" + "".join(f"Where is item {n}?,On shelf {n}.\n" for n in range(60)))
    upload = datasets.keep_upload(studio, path, path.name)
    run = run_services.start(studio, upload, None, "starter", {}, name=name)
    claim = runs.claim(studio.db, run.id)
    assert claim
    with studio.db.writing() as session:
        runs.report(session, claim, phase="training", total_steps=400, data=run.data | data)
    return claim


def write(studio: Studio, claim: runs.Claim, rows: list[dict[str, Any]]) -> None:
    with studio.db.writing() as session:
        runs.report(session, claim, step=rows[-1]["step"], seconds_left=95.0)
        metrics.write(session, claim.run_id, rows)


def ask(studio: Studio, claim: runs.Claim, step: int, answer: Callable[[str], str]) -> None:
    asked = enumerate(QUESTIONS.items())
    rows = [{"step": step, "position": n, "question": q, "expected": a, "answer": answer(a)} for n, (q, a) in asked]
    with studio.db.writing() as session:
        metrics.write_samples(session, claim.run_id, rows)


def end(studio: Studio, claim: runs.Claim, **summary: Any) -> None:
    """The run's good end; its adapter is only a row."""
    adapter = {"path": "adapter", "sha256": "a" * 64, "size_bytes": 1, "base_id": STARTER, "base_fingerprint": "b" * 64}
    with studio.db.writing() as session:
        runs.report(session, claim, phase_seconds={"loading": 12.0, "training": 115.2, "saving": 4.0})
    assert runs.finish(studio.db, claim, RunStatus.SUCCEEDED, summary, adapter)


def finished(studio: Studio, folder: Path, name: str = "Shelf helper") -> int:
    """A run that stopped early at step 180, whose adapter is from step 120."""
    forecast = {"memory_gib": {"total": 2.5, "weights": 0.2}, "minutes": 2.4, "minutes_low": 1.8, "minutes_high": 3.1}
    claim = begin(studio, folder, name, forecast=forecast)
    write(studio, claim, rows_of(range(181)))
    ask(
        studio,
        claim,
        0,
        lambda expected: "I'm sorry, I don't know where that is. Could you tell me more about the item?",
    )
    ask(studio, claim, 60, lambda expected: f"It is {expected.lower()}")
    ask(studio, claim, 120, lambda expected: expected)
    ask(studio, claim, 180, lambda expected: expected.replace("shelf", "the shelf"))
    end(
        studio, claim, peak_memory_gib=2.315, tokens_per_second=644.0, kept_step=120, ended_early=EARLY,
        validation_loss={"base": 2.935, "best": 0.72, "last": 1.274, "best_step": 120},
    )  # fmt: skip
    return claim.run_id


@pytest.fixture
def open_page(site: Site, browser: Browser) -> Iterator[Open]:
    """(run, width=1280, scheme="light"): its page in a browser of its own; `drawn` counts what is drawn."""
    contexts = []
    trouble: list[str] = []

    def opened(run: int, width: int = 1280, scheme: str = "light") -> Page:
        context = browser.new_context(
            base_url=site.url,
            viewport={"width": width, "height": 844},
            color_scheme="dark" if scheme == "dark" else "light",
            locale="en-US",
            accept_downloads=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        own = (site.url, "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(own) else trouble.append(f"asked for {r.url}"))
        page.add_init_script("""
            window.drawn = 0;
            const clear = CanvasRenderingContext2D.prototype.clearRect;
            CanvasRenderingContext2D.prototype.clearRect = function (...box) { drawn++; clear.apply(this, box); };
        """)
        page.goto(f"/run?id={run}")
        expect(page.locator("#run-page .headline")).not_to_be_empty()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert trouble == []


@pytest.fixture(scope="module")
def done(site: Site, tmp_path_factory: pytest.TempPathFactory) -> int:
    return finished(site.studio, tmp_path_factory.mktemp("data"))


def legend(page: Page, chart: str) -> Locator:
    return page.locator(f"figure.{chart} .chart-legend")


def reader(page: Page) -> Locator:
    return page.get_by_role("slider", name="Read the values at a step")


def test_a_run_that_ended_early_says_what_was_kept_and_why(open_page: Open, done: int) -> None:
    page = open_page(done)
    expect(page.get_by_text(f"The adapter is from step 120, the best of 9 checks. {EARLY}")).to_be_visible()
    expect(page.locator(".forecast")).to_contain_text("Expected")
    expect(page.get_by_role("row", name="Time 2.4 min (1.8 to 3.1 min) 2.2 min")).to_be_visible()
    expect(page.get_by_role("row", name="Memory 2.5 GiB 2.3 GiB")).to_be_visible()
    expect(legend(page, "loss")).to_contain_text("Unseen examples1.274")
    expect(legend(page, "loss")).to_contain_text("Before training2.935")
    expect(legend(page, "accuracy")).to_contain_text("Unseen examples75.0%")
    expect(page.locator("figure.rate")).to_be_hidden()
    page.get_by_text("More charts").click()
    for chart, value in {"rate": "1.2e-3", "gradient": "1.", "speed": "6", "memory": "2.30 GiB"}.items():
        expect(page.locator(f"figure.{chart} canvas")).to_be_visible()
        expect(legend(page, chart)).to_contain_text(value)
    page.get_by_text("The same numbers as a table").click()
    expect(page.get_by_role("region", name="Numbers").get_by_role("row").last).to_contain_text("180")


def test_answers_can_be_stepped_through(open_page: Open, done: int) -> None:
    page = open_page(done)
    answers = page.locator(".samples tbody tr").first
    expect(page.get_by_label("Answers after")).to_have_value("120")  # what the adapter answers
    expect(answers.locator("td").last).to_have_text("On shelf 3.exactly right")
    expect(answers.locator("td").nth(2)).to_contain_text("I'm sorry")
    tools = page.get_by_role("group", name="Which answers are shown")
    tools.get_by_role("button", name="Later").press("Enter")
    expect(page.get_by_role("columnheader", name="After step 180")).to_be_visible()
    expect(answers.locator("td").last).to_have_text("On the shelf 3.")
    tools.get_by_role("button", name="Later").press("Enter")  # there is none
    page.get_by_label("Answers after").select_option("step 60")
    expect(answers.locator("td").last).to_have_text("It is on shelf 3.")
    tools.get_by_role("button", name="Later").press("Enter")
    expect(page.get_by_role("columnheader", name="Now")).to_be_visible()


def test_the_charts_are_worked_by_keyboard(open_page: Open, done: int) -> None:
    page = open_page(done)
    slider = reader(page)
    slider.focus()
    for _ in range(5):
        slider.press("ArrowLeft")
    expect(page.locator(".read-at")).to_have_text("Step 175")
    expect(legend(page, "loss")).to_contain_text("Unseen examples0.966 (step 160)")
    expect(page.locator("figure.loss .u-cursor-x")).to_be_visible()
    said = slider.get_attribute("aria-valuetext")
    assert said and said.startswith("Step 175: Learning, smoothed 0.") and "Unseen examples 0.966 (step 160)" in said
    slider.press("Home")
    expect(legend(page, "loss")).to_contain_text("Learning, smoothed–")
    span = page.locator(".charts .span")
    page.get_by_role("button", name="Zoom in").press("Enter")
    expect(span).to_have_text("Steps 0 to 90 of 180")
    zoom = page.get_by_role("group", name="Zoom and values")
    zoom.get_by_role("button", name="Later").press("Enter")
    expect(span).to_have_text("Steps 45 to 135 of 180")
    expect(page.get_by_role("status").filter(has_text="Steps 45 to 135")).to_have_count(1)
    slider.press("End")
    expect(page.locator(".read-at")).to_have_text("Step 135")
    zoom.get_by_role("button", name="Show all").press("Enter")
    expect(span).to_have_text("Steps 0 to 180")
    key = page.get_by_role("button", name=re.compile("Before training")).first
    expect(key).to_have_attribute("aria-pressed", "true")
    key.press("Enter")
    expect(key).to_have_attribute("aria-pressed", "false")


def test_the_pointer_reads_values_and_draws_a_zoom(open_page: Open, done: int) -> None:
    page = open_page(done)
    plot = page.locator("figure.loss .u-over")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box
    middle = {"x": box["width"] / 2, "y": box["height"] / 2}
    plot.hover(position=middle)
    expect(page.locator(".read-at")).to_have_text("Step 90")
    expect(legend(page, "accuracy")).to_contain_text("Unseen examples80.0% (step 80)")
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    expect(page.locator(".charts .span")).to_have_text("Steps 90 to 135 of 180")
    plot.dblclick(position=middle)
    expect(page.locator(".charts .span")).to_have_text("Steps 0 to 180")


def test_what_was_chosen_outlives_live_updates_and_a_reload(open_page: Open, site: Site, tmp_path: Path) -> None:
    claim = begin(site.studio, tmp_path, "Live")
    write(site.studio, claim, rows_of(range(61), accuracy=False))
    ask(site.studio, claim, 0, lambda expected: "No idea.")
    ask(site.studio, claim, 20, lambda expected: "On some shelf.")
    ask(site.studio, claim, 40, lambda expected: expected)
    page = open_page(claim.run_id)
    span = page.locator(".charts .span")
    expect(span).to_have_text("Steps 0 to 60")
    expect(page.locator("figure.accuracy")).to_be_hidden()  # nobody measured it
    expect(page.locator(".forecast")).to_be_hidden()
    page.get_by_label("Log scale").check()
    page.get_by_label("Smoothing").fill("0")
    expect(legend(page, "loss")).not_to_contain_text("smoothed")
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Zoom in").click()
    expect(span).to_have_text("Steps 23 to 38 of 60")
    page.get_by_label("Answers after").select_option("step 20")

    write(site.studio, claim, rows_of(range(61, 122), accuracy=False))
    ask(site.studio, claim, 120, lambda expected: expected.upper())
    expect(span).to_have_text("Steps 23 to 38 of 121")
    expect(page.locator(".aside", has_text="Mistakes on unseen examples fell")).to_contain_text("to 0.720")
    expect(page.get_by_label("Log scale")).to_be_checked()
    expect(legend(page, "loss")).not_to_contain_text("smoothed")
    expect(page.get_by_label("Answers after").locator("option")).to_have_text(
        ["step 20", "step 40", "step 120, best, newest"]
    )
    expect(page.locator(".samples tbody td").nth(3)).to_have_text("On some shelf.")
    page.reload()
    expect(span).to_have_text("Steps 0 to 121")
    expect(page.get_by_label("Log scale")).to_be_checked()
    expect(page.get_by_label("Smoothing")).to_have_value("0")
    expect(page.locator(".samples tbody td").nth(3)).to_have_text("ON SHELF 3.")


def test_news_without_numbers_draw_nothing(open_page: Open, site: Site, tmp_path: Path) -> None:
    claim = begin(site.studio, tmp_path, "Quiet")
    write(site.studio, claim, rows_of(range(41)))
    page = open_page(claim.run_id)
    expect(legend(page, "loss")).to_contain_text("Unseen examples1.705")
    page.get_by_text("Log", exact=True).click()
    drawn = page.evaluate("drawn")
    assert drawn > 0
    log = site.studio.home.log(claim.run_id)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("Something was said.")
    expect(page.locator(".log")).to_have_text("Something was said.")
    assert page.evaluate("drawn") == drawn
    write(site.studio, claim, rows_of(range(41, 61)))
    expect(legend(page, "loss")).to_contain_text("Unseen examples1.274")
    assert page.evaluate("drawn") > drawn


@pytest.mark.parametrize(("scheme", "background"), [("light", "#ffffff"), ("dark", "#0f172a")])
def test_the_picture_has_all_charts_on_a_background(open_page: Open, done: int, scheme: str, background: str) -> None:
    page = open_page(done, scheme=scheme)
    expect(page.locator("figure.accuracy canvas")).to_be_visible()
    with page.expect_download() as started:
        page.get_by_role("button", name="Picture (PNG)").click()
    assert started.value.suggested_filename == f"run-{done}-charts.png"
    content = Path(started.value.path()).read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    looked = page.evaluate(LOOK_AT_PICTURE, "data:image/png;base64," + b64encode(content).decode())
    assert looked["corner"] == [*bytes.fromhex(background[1:]), 255]
    assert looked["size"][0] > 900 and looked["size"][1] > 600
    assert looked["top"] > 500 and looked["bottom"] > 500  # the line of unseen examples, in both charts


def test_the_file_is_fetched_from_the_page(open_page: Open, done: int) -> None:
    page = open_page(done)
    with page.expect_download() as started:
        page.get_by_role("link", name="Numbers (CSV)").click()
    assert started.value.suggested_filename == f"shelf-helper-run-{done}-metrics.csv"
    lines = Path(started.value.path()).read_text().splitlines()
    assert len(lines) == 182
    assert lines[0].startswith("step,train_loss,validation_loss")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_scrolls_sideways_on_a_phone(open_page: Open, done: int, scheme: str) -> None:
    page = open_page(done, width=390, scheme=scheme)
    page.get_by_text("More charts").click()
    page.get_by_text("The same numbers as a table").click()
    expect(page.locator("figure.memory canvas")).to_be_visible()
    reader(page).fill("60")
    expect(legend(page, "loss")).to_contain_text("Unseen examples1.274")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_arithmetic_of_curves(open_page: Open, done: int) -> None:
    page = open_page(done)

    def curves(expression: str) -> Any:
        return page.evaluate(f"import('/studio-assets/curves.js').then((curves) => curves.{expression})")

    # by hand: 1; then (0.5 · 0.5 + 0.5 · 3) / 0.75
    assert curves("smooth([1, null, 3], 0.5)") == [1, None, pytest.approx(7 / 3)]
    assert curves("smooth([2, 2, 2], 0.95)") == [pytest.approx(2)] * 3
    assert curves("lastKnown([null, 5, null], 2)") == 1
    assert curves("lastKnown([null, 5], 0)") is None
    assert curves("nearest([0, 10, 20], 14)") == 1
    assert curves("nearest([0, 10, 20], 99)") == 2
    assert curves("logSplits(0.1, 100)") == [0.1, 1, 10, 100]
    assert curves("logSplits(0.3, 2.9)") == [0.5, 1, 2]
    assert len(curves("logSplits(0.61, 0.64)")) >= 3
    assert curves("zoomed([0, 180], [0, 180], 0.5, 0)") == [0, 90]
    assert curves("zoomed([0, 90], [0, 180], 1, 170)") == [90, 180]
    assert curves("zoomed([0, 90], [0, 180], 2, 10)") is None
    assert curves("zoomed([0, 6], [0, 180], 0.5, 3)") == [1, 6]
    unlogged = curves(
        "linesOf(curves.CHARTS[0], { step: [0, 1, 2], train_loss: [null, 0, 2] }, { log: true, smoothing: 0 })"
    )
    assert [line["values"] for line in unlogged] == [[None, None, 2]]
