"""Pictures of every page, on a desktop and on a phone, light and dark, into ./screenshots. Against a running studio:

    python tests/journeys/screenshots.py http://127.0.0.1:7860 [RUN]

RUN is the run to show; the newest one unless given.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

OUT = Path("screenshots")
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


def main(address: str, run: str = "") -> None:
    OUT.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for size, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-US"
                )
                for name, page in _pages(context.new_page(), address, run):
                    page.screenshot(path=OUT / f"{name}-{size}-{scheme}.png", full_page=True)
                context.close()
        browser.close()


def _pages(page: Page, address: str, run: str) -> Iterator[tuple[str, Page]]:
    page.goto(f"{address}/")
    page.get_by_role("button", name="Use the sample").wait_for()
    page.wait_for_timeout(600)
    yield "home", page
    page.get_by_role("button", name="Use the sample").click()
    page.get_by_text("What the model will see").wait_for()
    page.wait_for_timeout(600)
    yield "home-sample", page
    with _expanded(page, "More settings"):
        yield "home-settings", page
    page.goto(f"{address}/models")
    page.locator("#models-page:not([aria-busy])").wait_for()
    yield "models", page
    run = run or page.locator("a[href^='/run?id=']").first.get_attribute("href").partition("=")[2]
    page.goto(f"{address}/run?id={run}")
    page.locator("#run-page .headline").wait_for()
    page.wait_for_timeout(600)
    yield "run", page
    page.goto(f"{address}/chat?run={run}")
    page.get_by_role("button", name="Send").wait_for()
    page.wait_for_timeout(1000)
    yield "chat", page


@contextmanager
def _expanded(page: Page, title: str) -> Iterator[None]:
    page.get_by_role("button", name=title).click()
    page.wait_for_timeout(600)
    yield
    page.get_by_role("button", name=title).click()


if __name__ == "__main__":
    main(*sys.argv[1:3])
