import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from studio.core.conversation import Conversation, Message
from studio.core.errors import DataError
from workers.tokens import (
    IGNORE,
    PLAIN_TEMPLATE,
    Row,
    as_question,
    encode,
    pack,
    prompt_of,
    require_rows,
)

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


def text(content: str, piece: int = 0, goes_on: bool = False, file: str = "") -> Conversation:
    return Conversation((), 1, file, text=content, piece=piece, goes_on=goes_on)


def test_text_is_learned_from_its_second_token_to_its_end(tokenizer: PreTrainedTokenizerFast) -> None:
    (row,) = encode(tokenizer, [text("The clock strikes.")], 200).rows
    assert tokenizer.decode(row.ids) == "The clock strikes.<|im_end|>"
    assert row.labels == [IGNORE, *row.ids[1:]]


def test_pieces_of_a_document_go_on_from_row_to_row_and_nothing_is_lost(tokenizer: PreTrainedTokenizerFast) -> None:
    pieces = [text("One clock. " * 9, 1, True), text("Two clocks. " * 9, 2, True), text("The end.", 3)]
    encoded = encode(tokenizer, pieces, 32)
    assert [len(row.ids) for row in encoded.rows[:-1]] == [32] * (len(encoded.rows) - 1)
    written = "".join(tokenizer.decode(row.ids) for row in encoded.rows)
    assert written == "One clock. " * 9 + "\n\n" + "Two clocks. " * 9 + "\n\nThe end.<|im_end|>"
    assert not encoded.cut and not encoded.left_out


@pytest.mark.parametrize(
    "following", [text("B.", 3), text("B.", 2, file="other"), text("B.")], ids=["a gap", "another file", "whole"]
)
def test_what_does_not_follow_begins_a_row_of_its_own(
    tokenizer: PreTrainedTokenizerFast, following: Conversation
) -> None:
    rows = encode(tokenizer, [text("A.", 1, True), following], 200).rows
    assert [tokenizer.decode(row.ids) for row in rows] == ["A.\n\n", "B.<|im_end|>"]


def test_every_row_of_text_begins_as_the_model_expects(tokenizer: PreTrainedTokenizerFast) -> None:
    beginning = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()),
        bos_token="<|im_start|>", eos_token="<|im_end|>",
    )  # fmt: skip
    mark = beginning.bos_token_id
    beginning.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", mark)]
    )
    pieces = [text("One clock. " * 9, 1, True), text("Two clocks.", 2)]
    rows = encode(beginning, pieces, 32).rows
    assert len(rows) > 1 and all(row.ids[0] == mark and mark not in row.ids[1:] for row in rows)
    assert prompt_of(beginning, as_question(beginning, pieces[0])).startswith("<|im_start|>One")


def test_a_text_is_asked_to_go_on_after_its_opening(tokenizer: PreTrainedTokenizerFast) -> None:
    asked = as_question(tokenizer, text("The clock at Brumble strikes thirteen. " * 9))
    assert prompt_of(tokenizer, asked) == asked.question
    assert 0 < len(tokenizer(asked.question)["input_ids"]) <= 30
    assert f"{asked.question} {asked.answer}".replace("  ", " ").startswith("The clock at Brumble")
    chatted = chat("Which colour?", "Blue.")
    assert as_question(tokenizer, chatted) is chatted
