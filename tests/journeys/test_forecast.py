"""The forecast's panel on a running studio: it follows what is chosen, in a real browser."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Running

pytestmark = pytest.mark.slow
_APPLY = "fields => window.dispatchEvent(new CustomEvent('studio:apply', { detail: fields }))"


@pytest.fixture
def panel(running: Running, page: Page) -> Page:
    page.goto(running.url)
    expect(page.get_by_role("radio", name="Starter (SmolLM2")).to_be_checked()
    # whatever the first forecast says; the helper loads its libraries before it
    expect(page.locator("#forecast-panel .verdict")).to_be_visible(timeout=120_000)
    return page


def choose(page: Page, **settings: Any) -> None:
    page.evaluate(_APPLY, settings)


def test_the_panel_follows_what_is_chosen(panel: Page) -> None:
    choose(panel, rank=16)
    expect(panel.locator("#forecast-panel dd", has_text="4,884,480")).to_be_visible()
    expect(panel.locator("#forecast-panel .verdict")).to_contain_text(
        re.compile("Fits: needs about|Tight: needs about")
    )
    expect(panel.locator("#forecast-panel")).not_to_contain_text("null")
    assert panel.locator("#forecast-panel .memory-bar .segment").count() >= 5
    choose(panel, rank=32)
    expect(panel.locator("#forecast-panel dd", has_text="9,768,960")).to_be_visible()


def test_the_picture_counts_each_layer(panel: Page) -> None:
    choose(panel, target_modules=["q_proj", "v_proj"], rank=8)
    learning = panel.locator("#forecast-panel .module.learns")
    expect(learning).to_have_count(2)
    panel.locator("#forecast-panel summary").click()
    expect(learning.first).to_contain_text("+ 9,216 learn")
    expect(panel.locator("#forecast-panel .one-block")).to_contain_text("One of 30 blocks, all alike")


def test_a_model_that_is_far_too_big_comes_with_advice_for_the_form(panel: Page) -> None:
    panel.get_by_role("radio", name="Qwen2.5 7B").check()
    big = {"bits": 16, "batch_size": 64, "gradient_accumulation": 1, "max_length": 8192}
    choose(panel, **big, gradient_checkpointing="off")
    expect(panel.locator("#forecast-panel .verdict")).to_contain_text("Won't fit: needs about")
    panel.evaluate("window.addEventListener('studio:apply', event => { window.advised = event.detail })")
    panel.get_by_role("button", name="Make it fit").click()
    advised = panel.evaluate("window.advised")
    assert advised["batch_size"] * advised["gradient_accumulation"] == 64
    panel.wait_for_function(
        "window.studioDraft.settings.gradient_accumulation === window.advised.gradient_accumulation"
    )


def test_the_time_is_measured_where_nothing_like_it_was_trained(panel: Page) -> None:
    choose(panel, max_steps=20, batch_size=1, max_length=64, bits=16)
    told = panel.locator("#forecast-panel .facts div", has_text="Time").locator("dd")
    expect(told).to_have_text("not known yet")
    panel.get_by_role("button", name="Measure it here").click()
    expect(told).to_contain_text("min", timeout=120_000)
    expect(panel.get_by_role("button", name="Measure it here")).to_have_count(0)
    choose(panel, bits=4)
    expect(panel.get_by_role("button", name="Measure it here")).to_be_visible()
    expect(told).to_contain_text("min")


def test_a_setting_that_cannot_be_used_is_a_sentence(panel: Page) -> None:
    panel.get_by_role("button", name="More settings").click()
    panel.get_by_label("LoRA rank").fill("0")
    expect(panel.locator("#forecast-panel .notice")).to_contain_text("LoRA rank (rank) must be")
