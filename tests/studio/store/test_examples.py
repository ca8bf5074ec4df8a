from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.conversation import Conversation, Message
from studio.core.errors import DataError, NotFound
from studio.store import examples
from studio.store.examples import Examples


def example(number: int, answer: str = "") -> Conversation:
    return Conversation((Message("user", f"Ask {number}"), Message("assistant", answer or f"Say {number}")), number + 2)


def said(answer: str) -> examples.Edit:
    return lambda c: replace(c, messages=(c.messages[0], replace(c.messages[1], content=answer)))


def unlearned(conversation: Conversation) -> Conversation:
    return replace(conversation, messages=tuple(replace(m, learn=False) for m in conversation.messages))


def leave_out(_: Conversation) -> None:
    return None


def answers(book: Examples, version: int) -> list[str]:
    return [e.conversation.answer for e in book.read(version)]


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Examples]:
    path = tmp_path / "examples.db"
    examples.create(path, (example(n) for n in range(10)), "Uploaded")
    with examples.opened(path) as opened:
        yield opened


def test_a_change_is_a_new_version_and_the_old_one_stays(book: Examples) -> None:
    second = book.change(1, "Edited", said("New"), [4])
    assert (second.number, second.changed, second.rows, second.usable) == (2, 1, 10, 10)
    assert answers(book, 2)[4] == "New" and answers(book, 1)[4] == "Say 4"
    assert book.version().number == 2 and [v.number for v in book.versions()] == [2, 1]
    assert second.sha256 != book.version(1).sha256


def test_unchanged_rows_are_stored_once(book: Examples) -> None:
    book.change(1, "Edited", said("New"), [4])
    book.change(2, "Deleted", leave_out, [5, 6])
    assert book._db.execute("SELECT count(*) FROM examples").fetchone() == (11,)


def test_undo_is_a_new_version_that_equals_the_former(book: Examples) -> None:
    second = book.change(1, "Deleted", leave_out, [0, 9])
    third = book.change(2, "Edited", said("New"), [3])
    target = book.undoable(third)
    assert target == second
    fourth = book.restore(3, second.number, "Undone")
    assert answers(book, 4) == answers(book, 2) and fourth.sha256 == second.sha256
    target = book.undoable(fourth)
    assert target and target.number == 1
    fifth = book.restore(4, 1, "Undone")
    assert answers(book, 5) == answers(book, 1) and fifth.sha256 == book.version(1).sha256
    assert book.undoable(fifth) is None


def test_an_example_more_is_a_version_that_can_be_undone_and_brought_back(book: Examples) -> None:
    second = book.add(1, "Filled in", example(1, "New"), {"shelf": "7"})
    assert (second.number, second.changed, second.rows, second.usable) == (2, 1, 11, 11)
    assert answers(book, 2)[-1] == "New" and len(answers(book, 1)) == 10 and book.groups(2)[-1] == {"shelf": "7"}
    assert book.rows_held(1, [3, 99]) == {("", 3)} and book.place_of_row(2, 3) in (1, 10)
    book.restore(2, 1, "Undone")
    fourth = book.add(3, "Filled in", example(2, "Newer"), {})
    assert answers(book, 4)[-1] == "Newer" and len(answers(book, 4)) == 11
    assert [e.conversation.answer for e in book.page(4, 1, 10)] == ["Newer"]
    fifth = book.restore(4, 2, "Back")
    assert answers(book, 5) == answers(book, 2) and fifth.sha256 == second.sha256 != fourth.sha256
    with pytest.raises(DataError, match="changed meanwhile"):
        book.add(4, "Filled in", example(3), {})


def test_a_change_to_what_somebody_else_changed_is_refused(book: Examples) -> None:
    book.change(1, "Edited", said("New"), [4])
    with pytest.raises(DataError, match="changed meanwhile: it is at version 2"):
        book.change(1, "Edited", said("Newer"), [4])
    with pytest.raises(DataError, match="Nothing changed"):
        book.change(2, "Edited", said("New"), [4])
    with pytest.raises(DataError, match="No example would be left"):
        book.change(2, "Deleted", leave_out)
    assert book.version().number == 2 and len(answers(book, 2)) == 10


def test_rows_not_to_learn_are_kept_but_not_read_for_training(book: Examples) -> None:
    second = book.change(1, "Marked", unlearned, [2])
    assert (second.rows, second.usable) == (10, 9)
    assert len(list(book.read(2))) == 10 and len(list(book.read(2, learning_only=True))) == 9


def test_what_rows_are_grouped_by_stays_with_them(book: Examples) -> None:
    assert book.group_columns() == []
    book.change(1, "Edited", said("New"), [4])
    book.keep_groups("shop", lambda c: str(c.row % 3))
    book.change(2, "Edited", said("Newer"), [4])
    assert book.group_columns() == ["shop"]
    for version in (1, 2, 3):
        assert [g["shop"] for g in book.groups(version)] == [str((n + 2) % 3) for n in range(10)]


def test_pages_skip_what_was_deleted(book: Examples) -> None:
    book.change(1, "Deleted", leave_out, [0, 3, 4])
    assert [e.position for e in book.page(2, 0, 3)] == [1, 2, 5]
    assert [e.position for e in book.page(2, 1, 3)] == [6, 7, 8]
    assert [e.position for e in book.page(2, 2, 3)] == [9]
    assert book.page(2, 3, 3) == []
    assert [e.position for e in book.page(1, 1, 3)] == [3, 4, 5]
    assert book.place_of_row(2, 7) == 2  # row 7 is position 5, before which 1 and 2 are left
    assert book.place_of_row(2, 999) == 6


def test_texts_are_found_whatever_their_capitals(book: Examples) -> None:
    book.change(1, "Edited", said("STRASSE am Fluß"), [4])
    found, count = book.search(2, "straße AM", 0, 10)
    assert ([e.position for e in found], count) == ([4], 1)
    assert book.search(1, "straße", 0, 10) == ([], 0)
    assert book.search(1, "role", 0, 10)[1] == 0  # how examples are stored is not searched
    assert book.search(1, "say", 1, 4)[1] == 10 and len(book.search(1, "say", 2, 4)[0]) == 2


def test_reports_and_flags_belong_to_a_version(book: Examples) -> None:
    assert book.report(1) is None
    book.keep_report(1, {"findings": []}, {"html": [1, 5, 7], "emails": [5]})
    assert book.report(1) == {"findings": []}
    assert [e.position for e in book.flagged(1, "html", 1, 2)] == [7]
    assert book.kinds_at(1, [4, 5, 7]) == {5: ["emails", "html"], 7: ["html"]}
    assert book.flagged_positions(1, "html") == [1, 5, 7] and book.flagged_positions(2, "html") == []


def test_lengths_are_counted_once_for_each_state(book: Examples) -> None:
    assert book.uncounted(1, "m") == 10
    for batch in book.to_count(1, "m"):
        book.keep_lengths("m", [(identity, 10 + identity, 5, 5 + identity) for identity, _ in batch])
    assert book.uncounted(1, "m") == 0 and book.uncounted(1, "other") == 10
    assert sorted(book.lengths(1, "m"))[0] == (11, 5, 6)
    book.change(1, "Edited", said("New"), [4])
    assert [[e.conversation.answer for e in book.at(2, [4])], book.uncounted(2, "m")] == [["New"], 1]
    assert [e.position for e in book.longer_than(1, "m", 18, 0, 10)] == [8, 9]


def test_a_file_that_is_gone_is_said_in_words(tmp_path: Path, book: Examples) -> None:
    with pytest.raises(NotFound, match="Upload the file once more"), examples.opened(tmp_path / "no.db"):
        pass
    with pytest.raises(NotFound, match="no version 7"):
        book.version(7)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("edit"), st.integers(0, 7), st.sampled_from("abc")),
        st.tuples(st.just("delete"), st.lists(st.integers(0, 7), min_size=1, max_size=4), st.just("")),
        st.tuples(st.just("unlearn"), st.integers(0, 7), st.just("")),
        st.tuples(st.just("undo"), st.just(0), st.just("")),
        st.tuples(st.just("restore"), st.integers(1, 12), st.just("")),
    ),
    max_size=12,
)


@given(STEPS)
def test_any_sequence_of_changes_equals_a_plain_list(steps: list[tuple[str, object, str]]) -> None:
    """The model: one dictionary a version, and the list of versions to go back to."""
    first = {n: example(n) for n in range(8)}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "examples.db"
        examples.create(path, first.values(), "Uploaded")
        states, back = {1: first}, {1: [1]}
        with examples.opened(path) as book:
            for name, what, text in steps:
                newest = book.version().number
                now = states[newest]
                try:
                    if name == "edit":
                        assert isinstance(what, int)
                        version = book.change(newest, name, said(text), [what])
                        wanted = {p: said(text)(c) if p == what else c for p, c in now.items()}
                    elif name == "delete":
                        assert isinstance(what, list)
                        version = book.change(newest, name, leave_out, what)
                        wanted = {p: c for p, c in now.items() if p not in what}
                    elif name == "unlearn":
                        assert isinstance(what, int)
                        version = book.change(newest, name, unlearned, [what])
                        wanted = {p: unlearned(c) if p == what else c for p, c in now.items()}
                    elif name == "undo":
                        target = book.undoable(book.version())
                        assert (target.number if target else 1) == back[newest][-2:][0]
                        if target is None:
                            continue
                        version, wanted = book.restore(newest, target.number, name), states[target.number]
                    else:
                        assert isinstance(what, int)
                        version = book.restore(newest, what, name)
                        wanted = states[what]
                except (DataError, NotFound):
                    assert book.version().number == newest
                    continue
                assert version.number == newest + 1
                states[version.number] = wanted  # type: ignore[assignment]
                if name in ("undo", "restore"):
                    back[version.number] = back[version.equals]
                else:
                    back[version.number] = [*back[newest], version.number]
            for number, state in states.items():
                found = {e.position: e.conversation for e in book.read(number)}
                version = book.version(number)
                assert found == state
                assert [e.position for page in range(4) for e in book.page(number, page, 2)] == sorted(state)
                assert version.rows == len(state) and version.usable == sum(map(examples.learns, state.values()))
                same = [n for n, other in states.items() if other == state]
                assert {book.version(n).sha256 for n in same} == {version.sha256}
