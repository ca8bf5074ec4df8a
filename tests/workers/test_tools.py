import pytest
from transformers import PreTrainedTokenizerFast

from studio.core.conversation import Conversation, Message, ToolCall
from workers.tokens import IGNORE, PLAIN_TEMPLATE, encode, prompt_of

ASK, SAY = Message("user", "What time is it?"), Message("assistant", "It is noon.")
CALL = Message("assistant", "", tool_calls=(ToolCall("clock", '{"zone": "CET"}', "c1"),))
TOLD = Message("tool", "12:00", name="clock", tool_call_id="c1")
CLOCK = '{"type": "function", "function": {"name": "clock"}}'
ASKED = Conversation((ASK, CALL, TOLD, SAY), 7, tools=(CLOCK,))

KNOWING = (  # in the manner of the templates that know of tools
    "{% if tools %}FUNCTIONS {{ tools | tojson }}\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls %}CALL {{ call.function.name }} {{ call.function.arguments | tojson }}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def with_template(tokenizer: PreTrainedTokenizerFast, template: str) -> PreTrainedTokenizerFast:
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|im_end|>")
    made.chat_template = template
    return made


def read_and_learned(tokenizer: PreTrainedTokenizerFast, conversation: Conversation) -> tuple[str, str]:
    (row,) = encode(tokenizer, [conversation], 2000).rows
    return str(tokenizer.decode(row.ids)), str(tokenizer.decode([label for label in row.labels if label != IGNORE]))


def test_a_template_that_knows_of_tools_writes_them_itself(tokenizer: PreTrainedTokenizerFast) -> None:
    knowing = with_template(tokenizer, KNOWING)
    read, learned = read_and_learned(knowing, ASKED)
    assert read.startswith(f"FUNCTIONS [{CLOCK}]") and "<|im_start|>tool\n12:00<|im_end|>" in read
    assert learned == 'CALL clock {"zone": "CET"}<|im_end|>It is noon.<|im_end|>'
    assert prompt_of(knowing, ASKED).endswith("<|im_start|>tool\n12:00<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize("template", [None, PLAIN_TEMPLATE])
def test_for_any_other_they_are_put_into_words(tokenizer: PreTrainedTokenizerFast, template: str | None) -> None:
    other = with_template(tokenizer, template) if template else tokenizer
    read, learned = read_and_learned(other, ASKED)
    assert f"<tools>\n{CLOCK}\n</tools>" in read and "<tool_response>\n12:00\n</tool_response>" in read
    assert '<tool_call>\n{"name": "clock", "arguments": {"zone": "CET"}}\n</tool_call>' in learned
    assert "It is noon." in learned and "12:00" not in learned and "<tools>" not in learned


def test_several_answers_of_tools_are_one_turn_and_the_system_text_stays(tokenizer: PreTrainedTokenizerFast) -> None:
    twice = Conversation((Message("system", "Be brief."), ASK, CALL, TOLD, TOLD, SAY), 7, tools=(CLOCK,))
    read, _ = read_and_learned(tokenizer, twice)
    assert read.count("<|im_start|>system") == 1 and "Be brief.\n\nYou may call functions." in read
    assert "</tool_response>\n<tool_response>" in read


def test_a_call_s_own_words_come_before_it(tokenizer: PreTrainedTokenizerFast) -> None:
    thinking = Message("assistant", "Let me look.", tool_calls=CALL.tool_calls)
    _, learned = read_and_learned(tokenizer, Conversation((ASK, thinking, TOLD, SAY), 7))
    assert learned.startswith("Let me look.\n<tool_call>")
