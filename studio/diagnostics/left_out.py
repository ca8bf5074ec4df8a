"""Rows of a file that never became examples, as findings: the reasons that the reader gave, sorted by kind."""

from collections.abc import Iterable, Mapping
from typing import Any

from studio.core.finding import ROWS_NAMED, Finding

# (a part of the reader's reason, kind, what to do); the first that fits is taken
_KINDS = (
    ("has a question but no answer", "no_answer", "Add the answers in the file, or leave the rows out as they are."),
    ("has an answer but no question", "no_question", "Add the questions in the file, or leave the rows out."),
    ("is blank", "blank", "Nothing needs to be done."),
    ("empty message", "empty_message", "Fill the empty messages in the file."),
    ("a speaker the studio does not know", "unknown_role", "Name the speakers user and assistant (or human and gpt)."),
    ("two turns of the same speaker", "same_speaker_twice", "Join the two turns into one in the file."),
    (
        "no answer that may be learned from",
        "nothing_to_learn",
        "Remove the mark “weight: 0” from one of their answers.",
    ),
    ("without a role", "unknown_role", "Give each message a role, user or assistant."),
    ("cells where the header has", "ragged", "Put quotes around texts that hold the delimiter."),
    ("not quite JSON", "broken_json", "“Fix it for me” on the first page mends most of them."),
    ("lacks one of the two answers", "no_answer", "Add the missing answers in the file."),
    ("has answers but no question", "no_question", "Add the questions in the file."),
    ("same text as the better and the worse", "same_pair", "Make one of the two answers better, or leave them out."),
    ("does not begin with a question", "starts_with_assistant", "Begin these conversations with what the user says."),
    ("picture or a sound", "picture", "The studio learns from text alone."),
    ("not valid JSON", "broken_json", "Correct these lines in the file."),
    ("a text longer than", "too_much_text", "Shorten the text, or raise STUDIO_MAX_CELL_CHARS."),
)


def findings(skipped: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """`skipped`: {reason, count, rows} as `studio.store` keeps them."""
    made = []
    for entry in skipped:
        kind, advice = next(((k, a) for part, k, a in _KINDS if part in entry["reason"]), ("left_out", ""))
        count = entry["count"]
        rows = f"{count:,} row{'' if count == 1 else 's'}"
        where = f" of {entry['file']}" if entry.get("file") else ""
        words = (
            f"{rows}{where} left out: {'it' if count == 1 else 'each'} {entry['reason'].rstrip('.')}. {advice}".strip()
        )
        made.append(
            Finding(kind, "note" if kind == "blank" else "warning", count, tuple(entry["rows"][:ROWS_NAMED]), words)
        )
    return made


_USED = (
    ("starts with the assistant", "starts_with_assistant", "opened with the assistant; that line was dropped"),
    ("nobody answers", "unanswered_end", "ended with a message that nobody answers; it was left off"),
    ("where a text belongs", "not_text", "had a list or an object where a text belongs; it was written as JSON"),
)


def used(changed: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Rows that are used, but not quite as they stand in the file."""
    made = []
    for entry in changed:
        found = next(((kind, words) for part, kind, words in _USED if part in entry["reason"]), None)
        kind, words = found or ("changed", entry["reason"])
        count = entry["count"]
        where = f" of {entry['file']}" if entry.get("file") else ""
        rows = f"{count:,} row{'' if count == 1 else 's'}{where}"
        made.append(Finding(kind, "note", count, tuple(entry["rows"][:ROWS_NAMED]), f"{rows} {words}."))
    return made
