from array import array
from random import Random

from studio.diagnostics.duplicates import NearDuplicates, contradictions, near, plain, repeats

WORDS = [
    "the",
    "old",
    "clock",
    "in",
    "our",
    "shop",
    "was",
    "repaired",
    "by",
    "master",
    "odo",
    "last",
    "friday",
    "and",
    "runs",
    "well",
    "again",
    "since",
    "then",
]


def test_plain_texts_are_compared_without_case_and_marks() -> None:
    assert plain("  Where's   ITEM_5?! ") == plain("where s item 5") == "where s item 5"
    assert plain("Straße, GRÖSSE!") == "strasse grösse"


def test_repeats_leave_the_first() -> None:
    assert repeats(array("q", [5, 7, 5, 9, 7, 5])).tolist() == [2, 4, 5]
    assert repeats(array("q", [])).tolist() == []


def test_contradictions_are_groups_that_disagree() -> None:
    questions, answers = array("q", [1, 2, 1, 3, 2, 1]), array("q", [10, 20, 11, 30, 20, 10])
    assert contradictions(questions, answers) == [[0, 2, 5]]
    assert contradictions(array("q"), array("q")) == []


def found(texts: list[str]) -> list[int]:
    search = NearDuplicates()
    for text in texts:
        search.add(text)
    return near(search.pairs(), texts.__getitem__)


def test_nearly_every_near_duplicate_is_found_and_nothing_else() -> None:
    """200 texts of 30 words, each followed by a copy with one more word."""
    random = Random(3)
    texts = []
    for n in range(200):
        text = " ".join(random.choice(WORDS) + str(random.randrange(50)) for _ in range(30))
        texts += [text, f"{text} indeed"] if n % 2 else [text, " ".join(random.choices(WORDS, k=30)) + f" {n}"]
    copies = [i for i in range(1, 400, 2) if texts[i].endswith("indeed")]
    hits = found(texts)
    assert set(hits) <= set(copies)
    assert len(hits) >= 0.98 * len(copies)


def test_of_many_alike_one_stays() -> None:
    texts = [f"{' '.join(WORDS)} {'so' * (n % 2)}".strip() for n in range(5)]
    assert found(texts) == [1, 2, 3, 4]


def test_short_and_empty_texts_do_no_harm() -> None:
    assert found(["", "a", "ab", "", "abc", "xyz", "ü"]) == [3]
    assert found([]) == []
