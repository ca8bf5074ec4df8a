import pytest
from transformers import PreTrainedTokenizerFast

from studio.core.conversation import Conversation, Message
from studio.core.errors import DataError
from workers.tokens import IGNORE, PACKED_ROW, PLAIN_TEMPLATE, Row, encode, pack, packed_length, prompt_of, require_rows

FORGETFUL = (  # drops earlier answers, as templates of thinking models drop earlier thoughts
    "{% for m in messages %}{% if m['role'] == 'user' or loop.last %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def chat(*contents: str, learn: tuple[bool, ...] = ()) -> Conversation:
    wanted = learn or (True,) * len(contents)
    roles = ("user", "assistant")
    return Conversation(tuple(Message(roles[i % 2], c, wanted[i]) for i, c in enumerate(contents)), row=7)


def learned_text(tokenizer: PreTrainedTokenizerFast, row: Row) -> str:
    return str(tokenizer.decode([label for label in row.labels if label != IGNORE]))


def test_answer_and_end_of_turn_are_learned_and_nothing_else(tokenizer: PreTrainedTokenizerFast) -> None:
    (row,) = encode(tokenizer, [chat("Which colour?", "It is blue – ✓")], 200).rows
    assert learned_text(tokenizer, row) == "It is blue – ✓<|im_end|>"
    assert all(label in (IGNORE, token) for label, token in zip(row.labels, row.ids, strict=True))


def test_every_answer_of_a_long_conversation_is_learned_in_one_row(tokenizer: PreTrainedTokenizerFast) -> None:
    (row,) = encode(tokenizer, [chat("One?", "First.", "Two?", "Second.")], 200).rows
    assert learned_text(tokenizer, row) == "First.<|im_end|>Second.<|im_end|>"


def test_an_answer_marked_as_not_to_learn_is_only_seen(tokenizer: PreTrainedTokenizerFast) -> None:
    (row,) = encode(tokenizer, [chat("One?", "First.", "Two?", "Second.", learn=(True, False, True, True))], 200).rows
    assert learned_text(tokenizer, row) == "Second.<|im_end|>"
    assert "First." in tokenizer.decode(row.ids)


def test_a_template_that_rewrites_earlier_turns_gives_a_row_for_each_answer(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|im_end|>")
    tokenizer.chat_template = FORGETFUL
    rows = encode(tokenizer, [chat("One?", "First.", "Two?", "Second.")], 200).rows
    assert [learned_text(tokenizer, row) for row in rows] == ["First.<|im_end|>", "Second.<|im_end|>"]


def test_base_models_get_a_plain_template_whose_answers_end(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|im_end|>")
    tokenizer.chat_template = PLAIN_TEMPLATE
    example = chat("Which colour?", "Blue.")
    (row,) = encode(tokenizer, [example], 200).rows
    assert tokenizer.decode(row.ids).startswith(prompt_of(tokenizer, example))
    assert learned_text(tokenizer, row) == " Blue.<|im_end|>"


def test_too_long_rows_are_cut_and_told(tokenizer: PreTrainedTokenizerFast) -> None:
    whole = encode(tokenizer, [chat("Which?", "It is blue.")], 200).rows[0]
    encoded = encode(tokenizer, [chat("Which?", "It is blue.")], len(whole.ids) - 3)
    assert encoded.cut == [7] and encoded.left_out == []
    assert encoded.rows[0].ids == whole.ids[:-3] and encoded.rows[0].labels == whole.labels[:-3]


def test_a_row_without_anything_left_to_learn_is_left_out_and_told(tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = encode(tokenizer, [chat("Which colour is it?" * 9, "Blue.")], 16)
    assert encoded.left_out == [7] and encoded.rows == []
    with pytest.raises(DataError, match="at 16 tokens each is cut before its answer begins"):
        require_rows(encoded, 16)


def test_packing_keeps_every_example_whole_and_wastes_little() -> None:
    rows = [Row([i] * size, [i] * size, (size,)) for i, size in enumerate((5, 3, 8, 2, 6, 4, 1, 7), start=1)]
    packed = pack(rows, 9)
    assert len(packed) == 4  # 36 tokens in rows of 9
    assert sorted(size for row in packed for size in row.parts) == [1, 2, 3, 4, 5, 6, 7, 8]
    for row in packed:
        assert len(row.ids) == len(row.labels) == sum(row.parts) <= 9
        start = 0
        for size in row.parts:
            assert len(set(row.ids[start : start + size])) == 1
            assert row.labels[start] == IGNORE  # nobody predicts an example's first token
            start += size


def test_packed_rows_are_no_longer_than_they_need_be() -> None:
    assert packed_length(60, 1024) == PACKED_ROW  # several examples in a short row
    assert packed_length(700, 1024) == 700
    assert packed_length(60, 128) == 128
