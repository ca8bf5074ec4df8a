"""What a browser kept of somebody's choices."""

import pytest

from studio.core.mapping import Mapping
from studio.ui.draft import Draft


def test_a_draft_survives_the_browser() -> None:
    draft = Draft(upload_id="a" * 32, mapping=Mapping(question="q", answer="a"), settings={"rank": 4})
    again = Draft.read(draft.model_dump())
    assert again == draft
    assert again.request_key == draft.request_key


@pytest.mark.parametrize("stored", [None, {}, [], "x", {"rows": "many"}, {"mapping": 3}, {"upload_id": "x" * 1000}])
def test_nonsense_from_a_browser_is_a_fresh_draft(stored: object) -> None:
    assert Draft.read(stored).upload_id == ""


def test_the_same_click_twice_is_one_request_and_another_choice_another() -> None:
    draft = Draft(upload_id="a" * 32)
    assert draft.model_copy(update={"rows": 5}).request_key == draft.request_key
    for change in ({"preset": "quick"}, {"nonce": "other"}, {"settings": {"rank": 4}}, {"name": "x"}):
        assert draft.model_copy(update=change).request_key != draft.request_key
