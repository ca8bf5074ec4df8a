"""The settings of a new model in a real browser: simple until it is opened, and then nothing is missing."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.journeys.conftest import Open

pytestmark = pytest.mark.slow


def with_sample(page: Page) -> Page:
    page.get_by_role("button", name="Use the sample").click()
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()
    return page


def opened(page: Page, *groups: str) -> Page:
    page.get_by_role("button", name="More settings").click()
    expect(page.get_by_label("LoRA rank")).to_be_visible()
    for group in groups:
        page.get_by_role("button", name=group).click()
    return page


def field(page: Page, name: str) -> Locator:
    return page.locator(f"#setting-{name}")


def choose_bits(page: Page, bits: int) -> None:
    field(page, "bits").locator("input").click()
    page.get_by_role("option", name=re.compile(f"^{bits}")).click()


def test_whoever_opens_nothing_sees_three_steps_and_one_button(open_page: Open) -> None:
    page = with_sample(open_page("/"))
    expect(page.locator("h2.step")).to_have_count(3)
    expect(page.get_by_label("LoRA rank")).to_be_hidden()
    expect(page.locator("#forecast-panel h3")).to_have_text("What it will take")


def test_a_method_greys_out_what_it_has_no_use_for_and_says_why(open_page: Open) -> None:
    page = opened(with_sample(open_page("/")))
    expect(field(page, "virtual_tokens").locator("input")).to_be_disabled()
    page.get_by_role("radio", name="Prompt tuning").check()
    expect(field(page, "virtual_tokens").locator("input")).to_be_enabled()
    expect(page.get_by_label("LoRA rank")).to_be_disabled()
    expect(field(page, "rank")).to_contain_text("Prompt tuning has no use for it.")
    expect(page.locator("#changes")).to_contain_text("1 changed setting")


def test_options_that_cannot_be_chosen_say_why_until_they_can(open_page: Open) -> None:
    page = opened(with_sample(open_page("/")))
    choose_bits(page, 4)
    card = field(page, "method").locator("label", has_text="Full fine-tuning").last
    expect(card).to_contain_text("Not now: Full fine-tuning trains the model's own weights")
    page.get_by_role("radio", name="Full fine-tuning").check()
    expect(field(page, "bits")).to_contain_text("Choose 16 bits.")
    expect(page.locator("#problems")).to_contain_text("Choose 16 bits.")
    choose_bits(page, 16)
    expect(page.locator("#problems")).to_be_empty()
    expect(card).not_to_contain_text("Not now")


def test_changes_are_counted_marked_and_taken_back(open_page: Open) -> None:
    page = opened(with_sample(open_page("/")), "Learning")
    rank, usual = page.get_by_label("LoRA rank"), page.get_by_label("LoRA rank").input_value()
    rank.fill("5")
    page.get_by_label("Seed").fill("7")
    expect(page.locator("#changes")).to_contain_text("2 changed settings")
    expect(page.get_by_role("button", name="Learning · 1 changed")).to_be_visible()
    expect(field(page, "rank")).to_contain_text(f"Changed. The preset says {usual}.")
    page.get_by_role("button", name="Reset LoRA rank").click()
    expect(rank).to_have_value(usual)
    expect(page.get_by_label("Seed")).to_have_value("7")
    page.get_by_role("button", name="Reset all").click()
    expect(page.get_by_label("Seed")).to_have_value("42")
    expect(page.locator("#changes")).to_contain_text("Everything is as “How long” says.")


def test_typing_goes_on_while_answers_arrive(open_page: Open) -> None:
    page = opened(with_sample(open_page("/")))
    page.get_by_label("LoRA rank").fill("")
    page.get_by_label("LoRA rank").press_sequentially("123", delay=150)
    page.get_by_label("Name (optional)").press_sequentially("A helper for the shelves", delay=40)
    expect(page.locator("#changes")).to_contain_text("LoRA rank: 123")
    expect(page.get_by_label("LoRA rank")).to_have_value("123")
    expect(page.get_by_label("Name (optional)")).to_have_value("A helper for the shelves")


def test_a_forecast_s_advice_is_taken_into_the_form(open_page: Open) -> None:
    page = opened(with_sample(open_page("/")), "Memory and speed")
    advice = "{ detail: { batch_size: 1, gradient_accumulation: 4 } }"
    page.evaluate(f"window.dispatchEvent(new CustomEvent('studio:apply', {advice}))")
    expect(page.get_by_label("Examples at once")).to_have_value("1")
    expect(page.get_by_label("Batches per step")).to_have_value("4")
    expect(page.locator("#changes")).to_contain_text("2 changed settings")
    page.wait_for_function("window.studioDraft.settings.batch_size === 1 && window.studioDraft.rows > 0")


def test_settings_go_out_as_a_recipe_and_come_back(open_page: Open, tmp_path: Path) -> None:
    page = opened(with_sample(open_page("/")), "As a file")
    page.get_by_label("LoRA rank").fill("5")
    expect(page.get_by_label("These settings")).to_have_value(re.compile(r"\nrank: 5\n"))
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save", exact=True).click()
    path = tmp_path / "recipe.yaml"
    saved.value.save_as(path)
    page.get_by_role("radio", name="Quick").check()
    expect(page.get_by_label("LoRA rank")).to_have_value("8")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open a file").click()
    chooser.value.set_files(path)
    expect(page.get_by_label("Use a recipe.yaml")).not_to_be_empty()
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_label("LoRA rank")).to_have_value("5")
    expect(page.get_by_role("radio", name="Balanced")).to_be_checked()
    page.get_by_label("Use a recipe.yaml").fill("rnak: 4")
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#recipe-said")).to_contain_text("Did you mean “rank”?")
    expect(page.get_by_label("LoRA rank")).to_have_value("5")


def test_changed_settings_survive_a_reload(open_page: Open) -> None:
    page = opened(with_sample(open_page("/")))
    page.get_by_label("LoRA rank").fill("5")
    page.get_by_role("radio", name="DoRA").check()
    page.wait_for_function("window.studioDraft.settings.rank === 5 && window.studioDraft.settings.method === 'dora'")
    page.reload()
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()
    opened(page)
    expect(page.get_by_label("LoRA rank")).to_have_value("5")
    expect(page.get_by_role("radio", name="DoRA")).to_be_checked()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_the_forecast_is_one_line_and_nothing_scrolls_sideways(open_page: Open, scheme: str) -> None:
    page = opened(
        with_sample(open_page("/", width=390, scheme=scheme)),
        "Learning", "Memory and speed", "Checking and saving", "As a file",
    )  # fmt: skip
    expect(page.locator("details.foresee > summary")).to_be_visible()
    expect(page.locator("#forecast-panel")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    last = page.locator("nav.site a").last.bounding_box()
    assert last and last["x"] + last["width"] <= 390
