"""The forecast's panel on a running studio: it follows what is chosen, in a real browser."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Running

pytestmark = pytest.mark.slow
DRAFT = {"base_id": "starter", "preset": "balanced", "settings": {}}
_PLACE = """() => {
  if (document.getElementById("forecast-panel")) return;
  const place = document.createElement("div");
  place.id = "forecast-panel";
  document.querySelector(".html-container").append(place);
}"""
_DRAFT = (
    "draft => { window.studioDraft = draft; window.dispatchEvent(new CustomEvent('studio:draft', { detail: draft })) }"
)


@pytest.fixture
def panel(running: Running, page: Page) -> Page:
    page.goto(running.url)
    expect(page.locator("#start")).to_be_visible()
    page.evaluate(_PLACE)
    expect(page.locator("#forecast-panel h3")).to_have_text("What it will take")
    return page


def choose(page: Page, **changes: Any) -> None:
    page.evaluate(_DRAFT, DRAFT | changes)


def test_the_panel_follows_what_is_chosen(panel: Page) -> None:
    choose(panel)
    learns = panel.locator("#forecast-panel dd", has_text="4,884,480")
    expect(learns).to_be_visible(timeout=120_000)  # the helper loads its libraries first
    expect(panel.locator("#forecast-panel .verdict")).to_contain_text(
        re.compile("Fits: needs about|Tight: needs about")
    )
    assert panel.locator("#forecast-panel .memory-bar .part").count() >= 5
    choose(panel, settings={"rank": 32})
    expect(panel.locator("#forecast-panel dd", has_text="9,768,960")).to_be_visible()


def test_the_picture_counts_each_layer(panel: Page) -> None:
    choose(panel, settings={"target_modules": ["q_proj", "v_proj"], "rank": 8})
    panel.locator("#forecast-panel summary").click(timeout=120_000)
    learning = panel.locator("#forecast-panel .module.learns")
    expect(learning).to_have_count(2)
    expect(learning.first).to_contain_text("+ 9,216 learn")
    expect(panel.locator("#forecast-panel .one-block")).to_contain_text("One of 30 blocks, all alike")


def test_a_model_that_is_far_too_big_comes_with_advice_for_the_form(panel: Page) -> None:
    panel.evaluate("window.addEventListener('studio:apply', event => { window.advised = event.detail })")
    big = {"bits": 16, "batch_size": 64, "max_length": 8192, "gradient_checkpointing": "off"}
    choose(panel, base_id="meta-llama/Llama-3.1-8B-Instruct", settings=big)
    expect(panel.locator("#forecast-panel .verdict")).to_contain_text("Won't fit: needs about", timeout=120_000)
    panel.get_by_role("button", name="Make it fit").click()
    advised = panel.evaluate("window.advised")
    assert advised["batch_size"] * advised["gradient_accumulation"] == 64


def test_a_setting_that_cannot_be_used_is_a_sentence(panel: Page) -> None:
    choose(panel, settings={"rank": 0})
    expect(panel.locator("#forecast-panel .notice")).to_contain_text("LoRA rank (rank) must be")
