"""What follows from the form's widgets, as a browser would send them: what is sent back, and what is left alone."""

import asyncio
from typing import Any

import gradio as gr
import pytest

from studio.core.choices import parse_yaml
from studio.services.context import Studio
from studio.ui.draft import ExamplesDraft, ModelDraft
from studio.ui.pages.model_part import ModelPart
from studio.ui.wish import Wish


class Browser:
    """Holds what the widgets show, sends it, and takes the answers."""

    def __init__(self, part: ModelPart) -> None:
        self.part, self.holds, self.looks = part, {}, {}
        self.answer: dict[Any, Any] = {}
        self.holds |= {part.base: "starter", part.name: "", part.wish: ""}
        self.holds["examples"] = {"rows": 500}
        self.take(part.filled(ExamplesDraft(rows=500), ModelDraft()))

    def take(self, answer: dict[Any, Any]) -> None:
        self.answer = answer
        for widget, told in answer.items():
            update = told if isinstance(told, dict) and told.get("__type__") == "update" else {"value": told}
            if "value" in update:
                self.holds[widget] = update["value"]
            self.looks[widget] = self.looks.get(widget, {}) | update

    def choose(self, widget: Any, value: Any) -> None:
        self.holds[widget] = value
        self.take(self.part.settle(*(self.holds.get(held, {}) for held in self.part.inputs("examples"))))

    def look(self, name: str) -> dict[str, Any]:
        return self.looks[self.part.fields[name]]

    def sent_values(self) -> set[str]:
        """The fields whose value the last answer set."""
        names = {widget: name for name, widget in self.part.fields.items()}
        return {names[w] for w, told in self.answer.items() if w in names and "value" in told}


@pytest.fixture
def browser(studio: Studio) -> Browser:
    async def lay_out() -> ModelPart:  # inside a loop: Gradio leaves one open behind otherwise
        with gr.Blocks(analytics_enabled=False):
            part = ModelPart(studio)
            part.lay_out_base()
            part.lay_out_settings()
            part.lay_out_start()
            return part

    return Browser(asyncio.run(lay_out()))


def test_a_changed_setting_is_marked_and_told_and_nothing_else_is_touched(browser: Browser) -> None:
    part = browser.part
    browser.choose(part.fields["rank"], 5)
    assert browser.sent_values() == set()
    assert "Changed. The preset says 16." in browser.look("rank")["info"]
    assert browser.looks[part.groups["Method"]]["label"] == "Method · 1 changed"
    assert "1 changed setting" in browser.holds[part.changes]
    assert browser.holds[part.draft]["settings"] == {"rank": 5}
    browser.choose(part.fields["rank"], 16)
    assert browser.looks[part.groups["Method"]]["label"] == "Method"
    assert browser.holds[part.draft]["settings"] == {}


def test_an_answer_carries_only_what_must_change(browser: Browser) -> None:
    browser.choose(browser.part.fields["rank"], 5)
    browser.choose(browser.part.fields["rank"], 6)
    assert not set(browser.answer) & set(browser.part.fields.values())


def test_the_preset_s_reasons_stand_by_its_settings(browser: Browser) -> None:
    assert "16: usual for “balanced”." in browser.look("rank")["info"]


def test_what_has_no_effect_is_greyed_out_with_the_reason_and_comes_back(browser: Browser) -> None:
    method = browser.part.fields["method"]
    assert browser.look("virtual_tokens")["interactive"] is False
    assert browser.look("rank")["interactive"] is True
    browser.choose(method, "prompt")
    assert browser.look("virtual_tokens")["interactive"] is True
    assert browser.look("rank")["interactive"] is False
    assert "Prompt tuning has no use for it." in browser.look("rank")["info"]
    browser.choose(method, "lora")
    assert browser.look("rank")["interactive"] is True


def test_what_does_not_go_together_is_said_at_the_option_at_the_field_and_below(browser: Browser) -> None:
    browser.choose(browser.part.fields["bits"], 4)
    cards = {value: label for label, value in browser.look("method")["choices"]}
    assert "Not now: Full fine-tuning trains the model's own weights" in cards["full"]
    browser.choose(browser.part.fields["method"], "full")
    assert "Choose 16 bits." in browser.look("bits")["info"]
    assert "Choose 16 bits." in browser.holds[browser.part.problems]
    browser.choose(browser.part.fields["bits"], 16)
    assert browser.holds[browser.part.problems] == ""


@pytest.mark.parametrize(
    ("name", "value"), [("rank", 0), ("rank", None), ("rank", 10**9), ("learning_rate", 7), ("target_modules", ".*(")]
)
def test_nonsense_is_a_sentence_and_the_rest_goes_on(browser: Browser, name: str, value: Any) -> None:
    browser.choose(browser.part.fields[name], value)
    assert f"({name}) must be" in browser.holds[browser.part.problems]
    assert "is-wrong" in browser.look(name)["elem_classes"]
    browser.choose(browser.part.fields["method"], "vera")
    assert browser.look("alpha")["interactive"] is False


def test_another_preset_undoes_what_was_changed(browser: Browser) -> None:
    browser.choose(browser.part.fields["rank"], 5)
    browser.choose(browser.part.preset, "quick")
    assert browser.holds[browser.part.fields["rank"]] == 8
    assert "your own changes are gone" in browser.holds[browser.part.note]


def test_another_method_brings_its_own_learning_rate(browser: Browser) -> None:
    part = browser.part
    rate = browser.holds[part.fields["learning_rate"]]
    browser.choose(part.fields["method"], "ia3")
    assert browser.holds[part.fields["learning_rate"]] == 5 * rate
    assert browser.holds[part.draft]["settings"] == {"method": "ia3"}
    browser.choose(part.fields["method"], "lora")
    assert browser.holds[part.fields["learning_rate"]] == rate


def test_more_examples_move_what_nobody_changed(browser: Browser) -> None:
    part = browser.part
    browser.choose(part.fields["rank"], 5)
    usual = browser.holds[part.fields["epochs"]]
    browser.choose("examples", {"rows": 100})
    assert browser.holds[part.fields["epochs"]] > usual
    assert "epochs" in browser.sent_values() and "rank" not in browser.sent_values()
    assert browser.holds[part.draft]["settings"] == {"rank": 5}


def test_a_wish_is_granted_once(browser: Browser) -> None:
    part = browser.part
    browser.choose(part.wish, Wish(fields={"rank": 4, "batch_size": 1, "seed": "x", "epochs": None}).model_dump_json())
    assert browser.holds[part.draft]["settings"] == {"rank": 4, "batch_size": 1}
    assert browser.holds[part.fields["rank"]] == 4
    browser.choose(part.fields["rank"], 7)
    assert browser.holds[part.draft]["settings"] == {"rank": 7, "batch_size": 1}
    browser.choose(part.wish, Wish(fields={"rank": None}).model_dump_json())
    assert browser.holds[part.fields["rank"]] == 16


@pytest.mark.parametrize("wished", ["", "x", "[]", "3", '{"fields": 3}', '{"id": "1", "fields": {"rank": {}}}'])
def test_a_wish_that_makes_no_sense_changes_nothing(browser: Browser, wished: str) -> None:
    browser.choose(browser.part.wish, wished)
    assert browser.holds[browser.part.draft]["settings"] == {}


def test_the_recipe_shown_as_text_gives_the_same_settings_again(browser: Browser) -> None:
    part = browser.part
    browser.choose(part.fields["target_modules"], "q_proj, v_proj")
    browser.choose(part.fields["rank_pattern"], "q_proj=4")
    text = browser.holds[part.file.text]
    before = browser.holds[part.draft]["settings"]
    browser.choose(part.preset, "thorough")
    said, wish = part.file._use(text)
    assert "Taken over" in said
    browser.choose(part.wish, wish)
    assert browser.holds[part.draft]["settings"] == before
    assert browser.holds[part.preset] == "balanced"
    assert browser.holds[part.file.text] == text
    assert set(parse_yaml(text)) >= set(part.fields)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("rank: 0", "(rank) must be"), ("rnak: 4", "Did you mean “rank”?"), ("a: [", "not valid YAML"), ("", "nothing")],
)
def test_a_recipe_that_cannot_be_used_is_refused_in_words(browser: Browser, text: str, sentence: str) -> None:
    said, wish = browser.part.file._use(text)
    assert sentence in said
    assert not isinstance(wish, str)


@pytest.mark.parametrize("settings", [{"rank": "x"}, {"rank": []}, {"nothing": 3}, {"bits": 5}, {"packing": "yes"}])
def test_a_draft_with_nonsense_is_shown_without_it(browser: Browser, settings: dict[str, Any]) -> None:
    browser.take(browser.part.filled(ExamplesDraft(), ModelDraft(settings=settings)))
    assert browser.holds[browser.part.draft]["settings"] == {}


def test_until_the_page_is_restored_nothing_is_taken_for_a_choice(browser: Browser) -> None:
    browser.holds[browser.part.shown] = None
    browser.choose(browser.part.fields["rank"], 5)
    assert browser.answer == {browser.part.shown: gr.skip()}
