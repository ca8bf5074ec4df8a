"""From conversations to rows of tokens, with marks on what is learned. Imports no torch.

A row's labels equal its tokens inside the assistant's answers, end of turn included, and are IGNORE elsewhere. Plain
text is learned from its first token to the end-of-text token; the chat template has no part in it.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core.conversation import Conversation, Message, as_chat
from studio.core.errors import DataError, ModelError
from workers.tools import Tools, for_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORE = -100  # what torch's cross-entropy leaves out
ENCODE_AT_ONCE = 1000
BETWEEN_PIECES = "\n\n"  # of one document
OPENING_TOKENS = 30  # of a text that the model is asked to go on with
GOING_ON_CHARS = 400  # of how it really goes on

# For base models, which come without one. It is saved with the adapter, so playground and export use it too.
PLAIN_TEMPLATE = (
    "{%- if bos_token is defined and bos_token %}{{ bos_token }}{% endif %}"
    "{%- for message in messages %}"
    "{%- if message['role'] == 'system' %}{{ message['content'] + '\n\n' }}"
    "{%- elif message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\n' }}"
    "{%- else %}{{ 'Assistant: ' + message['content'] + eos_token + '\n' }}{% endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a batch: one example, or several packed one after the other (their lengths in `parts`)."""

    ids: list[int]
    labels: list[int]  # as long as ids
    parts: tuple[int, ...]

    @property
    def learned(self) -> int:
        return sum(label != IGNORE for label in self.labels)


@dataclass
class Encoded:
    rows: list[Row] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)  # rows of the user's file, shortened at the end
    left_out: list[int] = field(default_factory=list)  # rows of the user's file with nothing left to learn


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer in `folder`, with a chat template and a padding token whatever it came with."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if not tokenizer.is_fast:
        raise ModelError(
            f"The tokenizer of {folder.name} is of an old kind the studio cannot train with.",
            "Choose a model whose folder has a tokenizer.json.",
        )
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_TEMPLATE
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@dataclass(frozen=True, slots=True)
class Marked:
    """One text as the tokenizer reads it, whole: token i stands at the characters `offsets[i]` of `text`."""

    text: str
    ids: list[int]
    labels: list[int]
    offsets: list[tuple[int, int]]
    conversation: Conversation

    @property
    def learned(self) -> int:
        return sum(label != IGNORE for label in self.labels)


def marked(tokenizer: "PreTrainedTokenizerBase", conversations: Iterable[Conversation]) -> Iterator[Marked]:
    """Conversations as the model reads them, uncut: usually one text each, see `_rendered`. Of plain text, pieces."""
    texts = (
        (text, spans, conversation)
        for conversation in conversations
        for text, spans in (
            [_plain(tokenizer, conversation)] if conversation.text else _rendered(tokenizer, conversation)
        )
    )
    while block := list(islice(texts, ENCODE_AT_ONCE)):
        output = tokenizer([t for t, _, _ in block], add_special_tokens=False, return_offsets_mapping=True)
        for ids, offsets, (text, spans, conversation) in zip(
            output["input_ids"], output["offset_mapping"], block, strict=True
        ):
            yield Marked(text, ids, mark(ids, offsets, spans), offsets, conversation)


def encode(tokenizer: "PreTrainedTokenizerBase", conversations: Sequence[Conversation], max_length: int) -> Encoded:
    """Rows of at most `max_length` tokens.

    Chats are cut at the end; those with nothing left to learn are left out and listed. Of plain text nothing is lost:
    the pieces of a document that follow each other become one text again, which goes on from row to row.
    """
    encoded = Encoded()
    stretch = _Stretch(begin_of_text(tokenizer), max_length)
    for whole in marked(tokenizer, conversations):
        if whole.conversation.text:
            encoded.rows += stretch.add(whole)
            continue
        size, row = len(whole.ids), whole.conversation.row
        if size > max_length:
            encoded.cut.append(row)
        made = Row(whole.ids[:max_length], whole.labels[:max_length], (min(size, max_length),))
        if made.learned:
            encoded.rows.append(made)
        else:
            encoded.left_out.append(row)
    encoded.rows += stretch.rest()
    return encoded


class _Stretch:
    """Pieces that follow each other in one document, as rows of `max_length` tokens and a shorter last one."""

    def __init__(self, begin: list[int], max_length: int) -> None:
        self._begin, self._max_length = begin, max_length
        self._ids: list[int] = []
        self._last: Conversation | None = None

    def add(self, whole: Marked) -> list[Row]:
        """The rows that are full, or can get no fuller."""
        piece, last = whole.conversation, self._last
        follows = last is not None and last.goes_on and (last.file, last.piece + 1) == (piece.file, piece.piece)
        rows = [] if follows else self.rest()
        self._last = piece
        self._ids += whole.ids[len(self._begin) :]
        room = self._max_length - len(self._begin)
        while len(self._ids) > room:
            rows.append(self._row(self._ids[:room]))
            self._ids = self._ids[room:]
        return rows

    def rest(self) -> list[Row]:
        rows = [self._row(self._ids)] if self._ids else []
        self._ids = []
        return rows

    def _row(self, learned: list[int]) -> Row:
        ids = self._begin + learned
        return Row(ids, [IGNORE, *ids[1:]], (len(ids),))  # nobody predicts a row's first token


def require_rows(encoded: Encoded, max_length: int) -> None:
    """Raises DataError if nothing is left to learn from."""
    if not encoded.rows:
        raise DataError(
            f"No example is left to learn from: at {max_length} tokens each is cut before its answer begins.",
            "Raise “Longest example” under More settings, or shorten the questions.",
        )


def mark(ids: list[int], offsets: list[tuple[int, int]], spans: list[tuple[int, int]]) -> list[int]:
    """Labels [len(ids)]: the token where it begins inside one of the character `spans`, IGNORE elsewhere."""
    labels = [IGNORE] * len(ids)
    starts = [start for start, _ in offsets]
    for begin, end in spans:
        for index in range(bisect_left(starts, begin), len(ids)):
            if starts[index] >= end:
                break
            labels[index] = ids[index]
    return labels


def begin_of_text(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The token with which the model expects every text to begin; of many models there is none."""
    begin = tokenizer.bos_token_id
    return [begin] if begin is not None and tokenizer("a")["input_ids"][0] == begin else []


def _plain(tokenizer: "PreTrainedTokenizerBase", piece: Conversation) -> tuple[str, list[tuple[int, int]]]:
    """A piece of text with what stands around it, and the characters to learn: all but the token it begins with."""
    begin = tokenizer.bos_token if begin_of_text(tokenizer) else ""
    text = begin + piece.text + (BETWEEN_PIECES if piece.goes_on else tokenizer.eos_token or "")
    return text, [(len(begin), len(text))]


def as_question(tokenizer: "PreTrainedTokenizerBase", conversation: Conversation) -> Conversation:
    """What the model can be asked: a chat as it is; of plain text the opening, which it is to go on with."""
    if not conversation.text:
        return conversation
    offsets = tokenizer(conversation.text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    # a short text is asked for its second half
    end = offsets[min(OPENING_TOKENS, max(1, len(offsets) // 2)) - 1][1]
    opening, going_on = conversation.text[:end], conversation.text[end : end + GOING_ON_CHARS]
    return replace(
        conversation, messages=(Message("user", opening), Message("assistant", going_on.strip())), text=opening
    )


def _rendered(
    tokenizer: "PreTrainedTokenizerBase", conversation: Conversation
) -> list[tuple[str, list[tuple[int, int]]]]:
    """Texts with the character spans to learn: one for the conversation, or one for each answer.

    Some templates rewrite earlier answers once a later one is there (they drop its thoughts); then each answer is
    learned in the form the model will have written it, in a text of its own.
    """
    messages, tools = for_template(tokenizer, conversation)
    texts = [
        (_render(tokenizer, messages[: i + 1], tools), _answer_start(tokenizer, messages, i, tools))
        for i, message in enumerate(messages)
        if message.role == "assistant" and message.learn
    ]
    if not texts:
        return [(_render(tokenizer, messages, tools), [])]
    spans = [(start, _answer_end(text)) for text, start in texts]
    last = texts[-1][0]
    if all(last.startswith(text) for text, _ in texts):
        return [(last, spans)]
    return [(text, [span]) for (text, _), span in zip(texts, spans, strict=True)]


def _answer_start(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], turn: int, tools: Tools) -> int:
    text = _render(tokenizer, messages[: turn + 1], tools)
    prompt = _render(tokenizer, messages[:turn], tools, prompt=True)
    if text.startswith(prompt):
        return len(prompt)
    answer = messages[turn].content.strip()
    found = text.rfind(answer)
    if not answer or found < 0:
        raise ModelError(
            "The chat template of this base model changes the text of answers, so they cannot be learned.",
            "Choose another base model.",
        )
    return found


def _answer_end(text: str) -> int:
    """Where the last turn ends: after its end-of-turn mark, before the line break most templates put behind it."""
    return len(text.rstrip())


def _render(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: Tools, prompt: bool = False
) -> str:
    text = tokenizer.apply_chat_template(as_chat(messages), tools, tokenize=False, add_generation_prompt=prompt)
    assert isinstance(text, str)
    return text


def prompt_of(tokenizer: "PreTrainedTokenizerBase", conversation: Conversation) -> str:
    """The text up to where the conversation's last answer would begin; of plain text all of it, see `as_question`."""
    if conversation.text:
        return (tokenizer.bos_token if begin_of_text(tokenizer) else "") + conversation.text
    messages, tools = for_template(tokenizer, conversation)
    return _render(tokenizer, messages[:-1], tools, prompt=True)


def pack(rows: Sequence[Row], max_length: int) -> list[Row]:
    """The same examples in fewer rows: the longest first, each into the fullest row that still has room for it."""
    bins: list[list[Row]] = []
    room: list[tuple[int, int]] = []  # (tokens free, index into bins), sorted
    for row in sorted(rows, key=lambda r: len(r.ids), reverse=True):
        size = len(row.ids)
        at = bisect_left(room, (size, -1))
        if at == len(room):
            bins.append([])
            free, index = max_length, len(bins) - 1
        else:
            free, index = room.pop(at)
        bins[index].append(row)
        insort(room, (free - size, index))
    return [_joined(members) for members in bins]


def _joined(members: list[Row]) -> Row:
    labels: list[int] = []
    for row in members:
        labels += [IGNORE, *row.labels[1:]]  # nobody predicts an example's first token
    return Row([i for row in members for i in row.ids], labels, tuple(len(row.ids) for row in members))
