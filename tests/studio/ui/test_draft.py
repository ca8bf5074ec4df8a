"""What a browser kept of somebody's choices."""

import pytest

from studio.core.mapping import Mapping
from studio.ui.draft import ExamplesDraft, ModelDraft, request_key


def test_a_draft_survives_the_browser() -> None:
    examples = ExamplesDraft(upload_id="a" * 32, mapping=Mapping(question="q", answer="a"))
    model = ModelDraft(settings={"rank": 4})
    again = ExamplesDraft.read(examples.model_dump()), ModelDraft.read(model.model_dump())
    assert again == (examples, model)
    assert request_key(*again) == request_key(examples, model)


@pytest.mark.parametrize("stored", [None, {}, [], "x", {"rows": "many"}, {"mapping": 3}, {"upload_id": "x" * 1000}])
def test_nonsense_from_a_browser_is_a_fresh_draft(stored: object) -> None:
    assert ExamplesDraft.read(stored).upload_id == ""


def test_the_same_click_twice_is_one_request_and_another_choice_another() -> None:
    examples, model = ExamplesDraft(upload_id="a" * 32), ModelDraft()
    key = request_key(examples, model)
    assert request_key(examples.model_copy(update={"rows": 5}), model) == key
    assert request_key(examples.model_copy(update={"mapping": Mapping(question="q")}), model) != key
    for change in ({"preset": "quick"}, {"nonce": "other"}, {"settings": {"rank": 4}}, {"name": "x"}):
        assert request_key(examples, model.model_copy(update=change)) != key
