"""The report on a data set: examples in, one after the other; findings and figures out.

Knows nothing of files and databases. Memory stays at some hundred bytes an example, whatever the texts' length.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

from studio.core.conversation import Conversation
from studio.core.finding import ROWS_NAMED, Finding, Severity, worst_first
from studio.diagnostics import duplicates, languages
from studio.diagnostics.repairs import REPAIRS, texts
from studio.diagnostics.texts import found_in

FEWEST_EXAMPLES = 10
SOLID, PLENTY = 50, 500
TELL_EVERY = 2000  # examples between two words on progress
_LANGUAGE_SAMPLE = 400
_SECOND_LANGUAGE = 0.05  # of the sample, from which on languages count as mixed
_MOST_LABELS = 100
_LABEL_CHARS = 60
_UNEQUAL = 10  # times the smallest label

Examples = Iterable[tuple[int, Conversation]]  # position in the data set, example
Progress = Callable[[int], None]  # examples read so far


@dataclass(frozen=True)
class Report:
    findings: list[Finding]
    figures: dict[str, Any]
    flags: dict[str, list[int]] = field(default_factory=dict)  # kind -> positions of the examples it speaks of

    def as_dict(self) -> dict[str, Any]:
        return {"findings": [finding.as_dict() for finding in self.findings], "figures": self.figures}


_SENTENCES: dict[str, tuple[Severity, str]] = {
    "duplicates": ("warning", "{rows} say exactly what an earlier one says. Repeats are learned twice as hard."),
    "near_duplicates": (
        "note",
        "{rows} say nearly what an earlier one says: only commas, capitals or a few words differ.",
    ),
    "contradictions": (
        "warning",
        "{rows} ask the same question but answer it differently. The model cannot learn both answers.",
    ),
    "mojibake": (
        "warning",
        "{rows} have broken letters, like “Ã©” for “é”: the file was once read in a wrong encoding.",
    ),
    "lost_characters": ("warning", "{rows} have “�” where a letter was lost. Export the file again as UTF-8."),
    "html": ("warning", "{rows} have HTML in the text, like <br> or &nbsp;. The model would learn to write it."),
    "placeholders": ("warning", "{rows} have a placeholder that nobody filled in, like {{{{name}}}}."),
    "template_tokens": (
        "warning",
        "{rows} have marks of a chat format in the text, like <|im_end|> or [INST]. The studio adds the right ones.",
    ),
    "secrets": ("warning", "{rows} seem to hold a password or an access key. A trained model may repeat it to anyone."),
    "emails": ("note", "{rows} hold an e-mail address. A trained model may repeat it; mask it if it is private."),
    "phones": ("note", "{rows} hold what looks like a phone number. Mask it if it is private."),
    "cards": ("warning", "{rows} hold what looks like the number of a payment card."),
    "not_learned": ("note", "{rows} are marked “don't learn from this”: they are kept, but not trained on."),
    "overlap": (
        "note",
        "{rows} that would be held back to check ask a question that is also learned from, so the check will look "
        "better than it is.",
    ),
}


# findings whose rows a table can show, with what a row of theirs is called
KINDS_OF_ROWS: dict[str, str] = {
    "duplicates": "repeat", "near_duplicates": "near repeat", "contradictions": "contradiction",
    "mojibake": "broken letters", "lost_characters": "lost letters", "html": "HTML", "placeholders": "placeholder",
    "template_tokens": "chat marks", "secrets": "secret", "emails": "e-mail", "phones": "phone number",
    "cards": "card number", "not_learned": "not learned from", "overlap": "held back and learned",
}  # fmt: skip


class Examination:
    """Reads every example once; `report` then compares what can only be compared at the end."""

    def __init__(self) -> None:
        self._flags: dict[str, list[int]] = {}
        self._positions, self._rows = array("q"), array("q")
        self._whole, self._asked, self._answered = array("q"), array("q"), array("q")
        self._near = duplicates.NearDuplicates()
        self._answers: Counter[str] | None = Counter()
        self._turns: Counter[int] = Counter()
        self._kinds: Counter[str] = Counter()
        self._characters = self._tools = 0
        self._sample: list[tuple[int, str]] = []
        self._random = Random(0)

    def read(self, position: int, conversation: Conversation) -> None:
        messages = conversation.messages
        said = texts(conversation)
        found: set[str] = set()
        for text in said:
            found.update(found_in(text))
        if messages and not any(m.learn for m in messages if m.role == "assistant"):
            found.add("not_learned")
        for kind in found:
            self._flags.setdefault(kind, []).append(position)
        index = len(self._positions)
        self._positions.append(position)
        self._rows.append(conversation.row)
        whole, answer = "\x1f".join(said), conversation.answer
        plain = [duplicates.plain(text) for text in said]
        last = len(messages) - 1
        self._whole.append(hash(whole))
        self._asked.append(hash("\x1f".join(plain[:last])) if messages else index)
        self._answered.append(hash(plain[last]))
        self._near.add(" ".join(plain))
        self._count_answer(answer)
        self._turns[sum(m.role == "user" for m in messages)] += 1
        self._kinds[conversation.kind] += 1
        self._characters += len(whole)
        self._tools += conversation.uses_tools
        self._draw(index, whole)

    def report(
        self,
        text_of: Callable[[Sequence[int]], Mapping[int, Conversation]],
        held_back: Callable[[int], Iterable[int]] = lambda rows: (),
    ) -> Report:
        """`text_of` gives the examples at some positions; `held_back` which of so many would not be learned from."""
        self._flag_duplicates(text_of)
        self._flag_overlap(held_back)
        findings = [self._finding(kind) for kind in self._flags if self._flags[kind]]
        findings += [f for f in (self._amount(), self._one_answer(), self._labels(), self._mixed()) if f]
        return Report(worst_first(findings), self._figures(), {k: sorted(v) for k, v in self._flags.items() if v})

    def _flag_duplicates(self, text_of: Callable[[Sequence[int]], Mapping[int, Conversation]]) -> None:
        positions = self._positions
        again = duplicates.repeats(self._whole)
        self._flags["duplicates"] = [positions[i] for i in again]
        groups = duplicates.contradictions(self._asked, self._answered)
        self._flags["contradictions"] = [positions[i] for group in groups for i in group]
        pairs = self._near.pairs(again)
        examples: dict[int, str] = {}
        wanted = [positions[i] for i in np.unique(pairs)]
        for start in range(0, len(wanted), 500):
            found = text_of(wanted[start : start + 500])
            examples |= {p: " ".join(map(duplicates.plain, texts(c))) for p, c in found.items()}
        near = duplicates.near(pairs, lambda i: examples[positions[i]])
        disagreeing = {i for group in groups for i in group}
        self._flags["near_duplicates"] = [positions[i] for i in near if i not in disagreeing]

    def _flag_overlap(self, held_back: Callable[[int], Iterable[int]]) -> None:
        chosen = sorted(held_back(len(self._asked)))
        if not chosen:
            return
        asked = np.frombuffer(self._asked, np.int64)
        both = np.isin(asked[chosen], np.delete(asked, chosen))
        self._flags["overlap"] = [self._positions[chosen[i]] for i in np.flatnonzero(both)]

    def _finding(self, kind: str) -> Finding:
        severity, sentence = _SENTENCES[kind]
        positions = sorted(self._flags[kind])
        count = len(positions)
        words = sentence.format(rows=f"{count:,} row{'' if count == 1 else 's'}")
        first = positions[:ROWS_NAMED]
        at = np.searchsorted(np.frombuffer(self._positions, np.int64), first)
        rows = tuple(self._rows[int(i)] for i in at)
        return Finding(kind, severity, count, rows, _one(words, count), kind if kind in REPAIRS else "")

    def _amount(self) -> Finding | None:
        rows = len(self._positions)
        if rows >= PLENTY:
            return None
        if rows - len(self._flags.get("not_learned", ())) < FEWEST_EXAMPLES:
            return Finding("too_few", "error", rows, (), too_few(rows - len(self._flags.get("not_learned", ()))))
        if self._kinds["text"] == rows:
            words = f"{rows} pages teach a little of their style and vocabulary, but no facts. {PLENTY} teach it well."
            return Finding("too_few", "note", rows, (), words)
        words = (
            f"{rows} examples teach a tone or one narrow task, not facts in general. About {SOLID} is a solid start, "
            f"{PLENTY} is plenty."
            if rows < SOLID
            else f"{rows} examples are a solid start for one task. {PLENTY} and more also teach its rarer cases."
        )
        return Finding("too_few", "warning" if rows < SOLID else "note", rows, (), words)

    def _count_answer(self, answer: str) -> None:
        if self._answers is not None:
            self._answers[answer[: _LABEL_CHARS + 1].strip()] += 1
            if len(self._answers) > 50 * _MOST_LABELS:
                self._answers = None  # these are sentences, not labels

    def _one_answer(self) -> Finding | None:
        rows = len(self._positions)
        if rows < FEWEST_EXAMPLES or not self._answers:
            return None
        answer, count = self._answers.most_common(1)[0]
        if count < 0.9 * rows:
            return None
        words = (
            f"{_percent(count, rows)} of the answers are the same (“{answer[:40]}”). "
            "The model will learn to say only that."
        )
        return Finding("one_answer", "warning", count, (), words)

    def _label_counts(self) -> list[tuple[str, int]]:
        """The answers with how often each is given, if there are few different ones and all are short."""
        answers, rows = self._answers, len(self._positions)
        if not answers or not 2 <= len(answers) <= _MOST_LABELS or len(answers) * 4 > rows:
            return []
        return answers.most_common() if all(len(answer) <= _LABEL_CHARS for answer in answers) else []

    def _labels(self) -> Finding | None:
        labels = self._label_counts()
        if not labels:
            return None
        (most, many), (least, few) = labels[0], labels[-1]
        if many < _UNEQUAL * few:
            return None
        words = (
            f"The answers are {len(labels)} labels, very unequally often: “{most}” {many:,} times, “{least}” only "
            f"{few:,}. The model will favour the frequent ones. Add examples of the rare ones."
        )
        return Finding("unequal_labels", "warning", len(labels), (), words)

    def _draw(self, index: int, text: str) -> None:
        """Keep a fair sample for the question of languages (reservoir sampling)."""
        if len(self._sample) < _LANGUAGE_SAMPLE:
            self._sample.append((index, text))
        elif (place := self._random.randrange(index + 1)) < _LANGUAGE_SAMPLE:
            self._sample[place] = (index, text)

    def _languages(self) -> Counter[str]:
        if not hasattr(self, "_found_languages"):
            self._found_languages = languages.languages_of(text for _, text in self._sample)
        return Counter(code for code in self._found_languages if code)

    def _mixed(self) -> Finding | None:
        counts = self._languages()
        total = counts.total()
        others = [(code, n) for code, n in counts.most_common()[1:] if n >= 3 and n >= _SECOND_LANGUAGE * total]
        if not others:
            return None
        main = counts.most_common(1)[0]
        told = ", ".join(f"{languages.name(code)} ({_percent(n, total)})" for code, n in [main, *others])
        wanted = {code for code, _ in others}
        rows = tuple(
            sorted(
                self._rows[i]
                for (i, _), code in zip(self._sample, self._found_languages, strict=True)
                if code in wanted
            )
        )
        words = f"The examples are in several languages: {told}. That is fine if it is meant; else keep to one."
        count = round(sum(n for _, n in others) / total * len(self._positions))
        return Finding("mixed_languages", "note", count, rows[:ROWS_NAMED], words)

    def _figures(self) -> dict[str, Any]:
        rows, counts = len(self._positions), self._languages()
        turns = sorted(self._turns.items())
        return {
            "rows": rows,
            "characters": self._characters,
            "kinds": dict(self._kinds),
            "with_tools": self._tools,
            "turns": {
                "mean": round(sum(t * n for t, n in turns) / rows, 2) if rows else 0,
                "most": turns[-1][0] if turns else 0,
            },
            "labels": [{"label": label, "rows": n} for label, n in self._label_counts()],
            "languages": [
                {"code": code, "name": languages.name(code), "share": round(n / counts.total(), 3)}
                for code, n in counts.most_common(5)
            ],
        }


def examine(
    examples: Examples,
    text_of: Callable[[Sequence[int]], Mapping[int, Conversation]],
    held_back: Callable[[int], Iterable[int]] = lambda rows: (),
    progress: Progress = lambda done: None,
) -> Report:
    examination = Examination()
    for done, (position, conversation) in enumerate(examples, 1):
        examination.read(position, conversation)
        if done % TELL_EVERY == 0:
            progress(done)
    return examination.report(text_of, held_back)


def too_few(rows: int) -> str:
    return (
        f"{rows} example{' is' if rows == 1 else 's are'} too few to learn from. "
        f"Add at least {FEWEST_EXAMPLES}; about {SOLID} good ones is a solid start."
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}%"


def _one(words: str, count: int) -> str:
    """The sentence for a single row."""
    if count != 1:
        return words
    for many, single in (("rows ", "row "), (" say ", " says "), (" have ", " has "), (" hold ", " holds "),
                         (" seem ", " seems "), (" are marked", " is marked"), (" ask ", " asks ")):  # fmt: skip
        words = words.replace(many, single, 1)
    return words
