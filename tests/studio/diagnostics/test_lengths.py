from studio.diagnostics.lengths import PACKED_ROW, distribution, finding, packed_length

COUNTED = [(10, 4, 6), (20, 10, 10), (100, 50, 50), (3000, 100, 2900)]


def test_tokens_are_counted_and_shared_out() -> None:
    lengths = distribution(COUNTED)
    assert (lengths.rows, lengths.total, lengths.learned, lengths.max, lengths.first) == (4, 3130, 164, 3000, 6)
    assert sum(bar["rows"] for bar in lengths.bars) == 4
    assert lengths.cuts[-1].whole == 4 and lengths.cuts[-1].kept == 164


def test_a_length_keeps_some_rows_whole_cuts_others_and_leaves_some_without_answer() -> None:
    lengths = distribution(COUNTED, [60, 1024])
    cut = lengths.at(60)
    assert (cut.length, cut.whole, cut.unanswered, cut.kept) == (60, 2, 1, 4 + 10 + 10)
    told = finding(lengths, 1024, [9])
    assert told and (told.severity, told.count, told.rows) == ("warning", 1, (9,))
    assert "1 row is longer than 1,024 tokens and would be cut: 61% of all that is to be learned" in told.message
    assert finding(lengths, 5000) is None


def test_nothing_left_to_learn_is_an_error() -> None:
    told = finding(distribution([(100, 10, 90)], [16]), 16)
    assert told and told.severity == "error"


def test_no_rows_have_no_lengths() -> None:
    assert distribution([]).rows == 0 and finding(distribution([]), 1024) is None


def test_text_is_not_cut_but_goes_on() -> None:
    found = distribution([(900, 900, 0), (30, 30, 0)], [100], goes_on=True)
    assert {(cut.whole, cut.unanswered, cut.kept) for cut in found.cuts} == {(2, 0, 930)}
    assert finding(found, 100) is None


def test_packed_rows_are_no_longer_than_they_need_be() -> None:
    assert packed_length(60, 1024) == PACKED_ROW  # several examples in a short row
    assert packed_length(700, 1024) == 700
    assert packed_length(60, 128) == 128
