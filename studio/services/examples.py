"""Look through a data set's examples and change them. Every change makes a new version."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from json import dumps

from studio.core.conversation import Conversation, Message, as_record
from studio.core.errors import DataError
from studio.services import lengths
from studio.services.context import Studio
from studio.store import datasets
from studio.store.examples import SEARCH_MOST, Edit, Example, Examples, Version

PAGE_ROWS = 25
_MOST_AT_ONCE = 1000  # examples named one by one in a request


@dataclass(frozen=True)
class Page:
    version: Version
    number: int  # from 0
    count: int  # of examples on all pages
    more: bool  # there are more than are counted
    examples: list[Example]
    kinds: dict[int, list[str]]  # position -> kinds of findings that speak of it


@dataclass(frozen=True)
class Part:
    """Where a text stands in an example: which of its messages, or of the worse answer's; or its plain text."""

    where: str = "messages"
    index: int = 0


def page(
    studio: Studio, dataset_id: int, number: int = 0, version: int | None = None, words: str = "", kind: str = "",
    row: int | None = None,
) -> Page:  # fmt: skip
    """A page of all examples; of those with `words`, or of those that a finding of a kind speaks of; or with `row`."""
    with datasets.opened(studio.home, dataset_id) as book:
        shown = book.version(version)
        number, found, count = _page(book, shown, max(0, number), words.strip()[:200], kind, row)
        kinds = book.kinds_at(shown.equals, [e.position for e in found]) if found else {}
    return Page(shown, number, count, count >= SEARCH_MOST and bool(words.strip()), found, kinds)


def _page(
    book: Examples, version: Version, number: int, words: str, kind: str, row: int | None
) -> tuple[int, list[Example], int]:
    if kind:
        count = book.count_flagged(version.equals, kind)
        return number, book.flagged(version.equals, kind, number, PAGE_ROWS), count
    if words:
        found, count = book.search(version.equals, words, number, PAGE_ROWS)
        return number, found, count
    if row is not None:
        number = book.place_of_row(version.equals, row) // PAGE_ROWS
    return number, book.page(version.equals, number, PAGE_ROWS), version.rows


def edit(studio: Studio, dataset_id: int, seen: int, position: int, part: Part, text: str) -> Version:
    """A new version with one text replaced. Raises DataError if it would be empty."""
    text = text.replace("\r\n", "\n").encode("utf-8", "replace").decode().replace("\x00", "").strip()
    if not text:
        raise DataError("A text cannot be empty.", "Type something, or delete the row.")
    if len(text) > studio.settings.max_cell_chars:
        raise DataError(
            f"The text is longer than {studio.settings.max_cell_chars:,} characters.",
            "Shorten it, or raise STUDIO_MAX_CELL_CHARS.",
        )
    return _change(studio, dataset_id, seen, "Row edited", [position], lambda c: _with_text(c, part, text))


def delete(studio: Studio, dataset_id: int, seen: int, positions: Sequence[int]) -> Version:
    words = f"{len(positions):,} row{'' if len(positions) == 1 else 's'} deleted"
    return _change(studio, dataset_id, seen, words, positions, lambda _: None)


def mark(studio: Studio, dataset_id: int, seen: int, positions: Sequence[int], learn: bool) -> Version:
    """Set or take away *don't learn from this* on all answers of some examples."""

    def marked(conversation: Conversation) -> Conversation:
        return replace(conversation, messages=tuple(_marked(m, learn) for m in conversation.messages))

    words = "Marked to learn from" if learn else "Marked “don't learn from this”"
    return _change(studio, dataset_id, seen, words, positions, marked)


def mark_answer(studio: Studio, dataset_id: int, seen: int, position: int, index: int, learn: bool) -> Version:
    """The same for one answer of a longer conversation."""

    def marked(conversation: Conversation) -> Conversation:
        messages = [_marked(m, learn) if i == index else m for i, m in enumerate(conversation.messages)]
        return replace(conversation, messages=tuple(messages))

    words = "An answer marked to learn from" if learn else "An answer marked “don't learn from this”"
    return _change(studio, dataset_id, seen, words, [position], marked)


def undo(studio: Studio, dataset_id: int, seen: int) -> Version:
    """A new version that equals the one before the last change. Raises DataError if there is none."""
    with datasets.opened(studio.home, dataset_id) as book:
        newest = book.version(seen)
        before = book.undoable(newest)
        if before is None:
            raise DataError("There is nothing to undo.", "This is how the file was uploaded.")
        return book.restore(seen, before.number, f"Undone: {book.version(newest.equals).change}")


def restore(studio: Studio, dataset_id: int, seen: int, target: int) -> Version:
    """A new version that equals version `target`."""
    with datasets.opened(studio.home, dataset_id) as book:
        return book.restore(seen, target, f"Back to version {target}")


def longer(studio: Studio, dataset_id: int, base_id: str, tokens: int, number: int = 0) -> Page:
    """A page of the examples longer than `tokens` for a base model; none before they are counted."""
    found, count = lengths.longer(studio, dataset_id, base_id, tokens, number, PAGE_ROWS)
    with datasets.opened(studio.home, dataset_id) as book:
        shown = book.version()
        return Page(shown, number, count, False, found, book.kinds_at(shown.equals, [e.position for e in found]))


def text(studio: Studio, dataset_id: int, position: int, part: Part) -> str:
    """One whole text, to be edited. Raises DataError if it is not there."""
    with datasets.opened(studio.home, dataset_id) as book:
        found = book.at(book.version().equals, [position])
    if found:
        conversation = found[0].conversation
        if part.where == "text" and conversation.text:
            return conversation.text
        messages = {"messages": conversation.messages, "rejected": conversation.rejected}.get(part.where, ())
        if part.index < len(messages):
            return messages[part.index].content
    raise DataError("This row has no such text.", "Load the page again.")


def version(studio: Studio, dataset_id: int, number: int | None = None) -> Version:
    """The version with that number, or the newest. Raises NotFound."""
    with datasets.opened(studio.home, datasets.get(studio.db, dataset_id).id) as book:
        return book.version(number)


def versions(studio: Studio, dataset_id: int) -> list[Version]:
    """The newest first."""
    with datasets.opened(studio.home, dataset_id) as book:
        return book.versions()


def undoable(studio: Studio, dataset_id: int) -> bool:
    with datasets.opened(studio.home, dataset_id) as book:
        return book.undoable(book.version()) is not None


def jsonl(studio: Studio, dataset_id: int, version: int) -> Iterator[bytes]:
    """A version as lines of JSON, in a stream. Raises NotFound before the first line."""
    with datasets.opened(studio.home, dataset_id) as book:
        number = book.version(version).equals
    return _lines(studio, dataset_id, number)


def _lines(studio: Studio, dataset_id: int, number: int) -> Iterator[bytes]:
    with datasets.opened(studio.home, dataset_id) as book:
        for example in book.read(number):
            record = as_record(example.conversation)
            del record["row"]  # of a file that this one is not
            yield (dumps(record, ensure_ascii=False) + "\n").encode()


def _change(studio: Studio, dataset_id: int, seen: int, words: str, positions: Sequence[int], change: Edit) -> Version:
    if not positions:
        raise DataError("No row is chosen.", "Tick the rows first.")
    if len(positions) > _MOST_AT_ONCE:
        raise DataError(f"More than {_MOST_AT_ONCE:,} rows at once.", "Choose fewer.")
    with datasets.opened(studio.home, dataset_id) as book:
        return book.change(seen, words, change, sorted(set(positions)))


def _marked(message: Message, learn: bool) -> Message:
    return replace(message, learn=learn) if message.role == "assistant" else message


def _with_text(conversation: Conversation, part: Part, text: str) -> Conversation:
    if part.where == "text" and conversation.text:
        return replace(conversation, text=text)
    messages = conversation.rejected if part.where == "rejected" else conversation.messages
    with suppress(IndexError):
        if part.where in ("messages", "rejected") and part.index >= 0:
            changed = list(messages)
            changed[part.index] = replace(messages[part.index], content=text)
            if part.where == "rejected":
                return replace(conversation, rejected=tuple(changed))
            return replace(conversation, messages=tuple(changed))
    raise DataError("This row has no such text.", "Load the page again.")
