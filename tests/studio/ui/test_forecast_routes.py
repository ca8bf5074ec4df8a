from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from studio.services import datasets, forecast
from studio.services.context import Studio
from tests.studio.services.test_forecast import COUNTED, Helper

MODULE = {"name": "self_attn.q_proj", "kind": "linear", "in": 576, "out": 576, "parameters": 331_776, "trainable": 9216}
HEAD = {"name": "lm_head", "kind": "linear", "in": 576, "out": 49_152, "parameters": 28_311_552, "trainable": 0}


@pytest.fixture(autouse=True)
def helper(site_studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Helper:
    made = Helper()
    picture = {"block": [MODULE], "outside": [HEAD], "learning_in_blocks": 4_884_480, "shared": 0}
    monkeypatch.setitem(COUNTED, "picture", picture)
    monkeypatch.setattr(site_studio.errands, "ask", made)
    monkeypatch.setattr(forecast, "_known", type(forecast._known)())
    return made


def ask(browser: TestClient, **draft: Any) -> Any:
    return browser.post("/api/forecast", json={"base_id": "starter", "preset": "balanced", "settings": {}} | draft)


def test_the_panel_is_told_in_words(browser: TestClient, site_studio: Studio, faq: Path) -> None:
    upload = datasets.keep_upload(site_studio, faq, "faq.csv")
    told = ask(browser, upload_id=upload, rows=20, name="x").json()
    assert told["sentence"].startswith("Fits: needs about ")
    facts = {fact["name"]: fact["value"] for fact in told["facts"]}
    assert facts["Parameters that learn"] == "4,884,480 (3.6%)"
    assert facts["Adapter file"] == "18.6 MB"
    assert facts["Time"] == "not known yet"
    assert told["can_probe"]
    assert told["memory"]["parts"][0] == {
        "part": "weights", "name": "Base model", "words": "0.25 GiB",
        "share": pytest.approx(2.51e-5, rel=0.05),
    }  # fmt: skip
    assert sum(part["share"] for part in told["memory"]["parts"]) <= told["memory"]["has_share"]
    assert told["picture"]["block"] == [
        {"group": "self_attn", "name": "q_proj", "kind": "linear", "shape": "576 × 576", "parameters": "331,776",
         "trainable": "9,216"}
    ]  # fmt: skip
    assert told["picture"]["blocks"] == 30


def test_advice_can_be_applied_as_settings(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"memory_gib": 2.0, "free_gib": 2.0}
    found = forecast.machine_here
    monkeypatch.setattr(forecast, "machine_here", lambda studio: forecast.replace(found(studio), **small))
    told = ask(browser, settings={"max_length": 8192, "batch_size": 8}).json()
    assert told["changes"] and told["changes"][0]["setting"] == "Examples at once"
    assert told["apply"]["batch_size"] * told["apply"]["gradient_accumulation"] == 8


@pytest.mark.parametrize(
    ("draft", "words"),
    [
        ({"base_id": "nobody/knows-it"}, "There is no base model"),
        ({"base_id": "/etc"}, "There is no base model"),
        ({"settings": {"rank": -1}}, "LoRA rank"),
        ({"settings": {"rank": "<b>"}}, "LoRA rank"),
        ({"dataset_id": 999}, "examples are not here any more"),
    ],
)
def test_what_cannot_be_forecast_is_a_sentence(browser: TestClient, draft: dict[str, Any], words: str) -> None:
    refused = ask(browser, **draft)
    assert refused.status_code in {400, 404}
    assert words in refused.json()["message"]


def test_an_upload_that_is_gone_is_said_and_not_guessed(browser: TestClient) -> None:
    assert ask(browser, upload_id="0" * 32).status_code == 404


def test_nonsense_is_refused(browser: TestClient) -> None:
    assert browser.post("/api/forecast", json={"base_id": "x" * 1000}).status_code == 422
    assert browser.post("/api/forecast", json=[]).status_code == 422
