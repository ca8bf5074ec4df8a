"""One base model in memory, its adapters by name, one answer at a time.

Knows nothing of HTTP. Everything here is called from one thread, the one that owns the model. Imports torch, so
`workers.serve` imports this module only when somebody asks for an answer.
"""

import ctypes
import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import jinja2
import psutil
import torch
from peft import PeftConfig, PeftModel, PeftType
from safetensors import SafetensorError
from tokenizers.decoders import DecodeStream
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from studio.core.errors import ModelError
from studio.store.base_models import BaseModel, weights
from workers.model import load_base
from workers.probe import Machine, probe
from workers.roster import Choice, Refused
from workers.tokens import load_tokenizer

ADAPTERS_KEPT = 8  # loaded at once on one base; the one longest unused makes room
DEFAULT_MAX_TOKENS = 1024
HEADROOM = 1.25  # of the weights' size: what an answer needs besides
COLDEST = 0.01  # a lower temperature above 0 would only overflow


@dataclass(frozen=True)
class Sampling:
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int | None = None  # DEFAULT_MAX_TOKENS unless set, and never more than the context has room for
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True)
class Answer:
    """How an answer ended; its text went to `emit`, piece by piece."""

    prompt_tokens: int
    completion_tokens: int
    finish_reason: str  # "stop" or "length"


class Generator:
    """Answers with the model that was chosen, loading it first if need be. Another base replaces the one in memory."""

    def __init__(self) -> None:
        self._machine = probe()
        self._base: Choice | None = None
        self._plain: PreTrainedModel | None = None
        self._model: PreTrainedModel | PeftModel | None = None  # a PeftModel once an adapter is on it
        self._active = ""  # the name that a PeftModel is set to
        self._tokenizers: dict[str, PreTrainedTokenizerBase] = {}  # by name, the base's own too; in order of use

    def warm(self, choice: Choice) -> None:
        """Load the model and let it say one word, so that the first answer does not pay for either."""
        self.answer(choice, [{"role": "user", "content": "Hi"}], Sampling(0, max_tokens=1), lambda _: None, Event())

    def answer(
        self,
        choice: Choice,
        messages: Sequence[dict[str, str]],
        sampling: Sampling,
        emit: Callable[[str], None],
        cancelled: Event,
    ) -> Answer:
        """Generate until the model ends its turn, a stop text appears, the length is reached, or `cancelled` is set.

        Raises Refused or ModelError, in words.
        """
        try:
            return self._answer(choice, messages, sampling, emit, cancelled)
        except (MemoryError, RuntimeError) as error:
            if not _is_about_memory(error):
                raise
        # not inside `except`: there the error still holds on to what is to be given back
        self.release()
        raise Refused(
            "There was not enough memory for this answer.",
            "Wait until training has ended, close other programs, or choose a smaller model.",
            503,
            "out_of_memory",
        )

    def _answer(
        self,
        choice: Choice,
        messages: Sequence[dict[str, str]],
        sampling: Sampling,
        emit: Callable[[str], None],
        cancelled: Event,
    ) -> Answer:
        model, tokenizer = self._ready(choice)
        inputs = _prompt(tokenizer, messages).to(model.device)
        length = inputs["input_ids"].shape[1]
        room = _room(model, choice, length)
        ends = _ends(model, tokenizer)
        pieces = _Pieces(tokenizer, length, sampling.stop, emit, cancelled)
        if sampling.seed is not None:
            torch.manual_seed(sampling.seed)
        else:
            torch.seed()
        with torch.inference_mode():
            output = model.generate(
                **inputs,
                **_choice_of_tokens(sampling),
                max_new_tokens=min(sampling.max_tokens or DEFAULT_MAX_TOKENS, room),
                eos_token_id=ends or None,
                pad_token_id=tokenizer.pad_token_id,
                streamer=pieces,
                stopping_criteria=StoppingCriteriaList([pieces.criterion]),
            )
        stopped = pieces.found_stop or int(output[0, -1]) in ends
        return Answer(length, pieces.count, "stop" if stopped else "length")

    def release(self) -> None:
        """Give the memory back."""
        self._base = self._plain = self._model = None
        self._active = ""
        self._tokenizers.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)  # glibc keeps freed blocks for later otherwise

    def _ready(self, choice: Choice) -> tuple[Any, PreTrainedTokenizerBase]:
        """The model set to `choice`, and the tokenizer it was trained with."""
        if self._base is None or (self._base.base, self._base.fingerprint) != (choice.base, choice.fingerprint):
            self.release()
            model = load_base(choice.base, _bits(choice.base, self._machine), self._machine).model
            _spare_the_head(model)
            self._model = self._plain = model.eval()
            self._base = choice
        if choice.name not in self._tokenizers:
            if choice.adapter is not None:
                self._load(choice.name, choice.adapter)
            self._tokenizers[choice.name] = load_tokenizer(choice.adapter or choice.base.path)
        if isinstance(self._model, PeftModel) and choice.name != self._active:
            if self._model.active_peft_config.is_prompt_learning:
                if choice.adapter is None:
                    self._take_off()
            elif choice.adapter is None:
                self._model.base_model.disable_adapter_layers()
            else:
                self._model.base_model.enable_adapter_layers()
                self._model.set_adapter(choice.name)
            self._active = choice.name
        tokenizer = self._tokenizers[choice.name] = self._tokenizers.pop(choice.name)  # the newest used is last
        return self._model, tokenizer

    def _load(self, name: str, folder: Path) -> None:
        try:
            if isinstance(self._model, PeftModel) and not self._goes_beside(folder):
                self._take_off()
            if isinstance(self._model, PeftModel):
                self._make_room(self._model)
                self._model.load_adapter(folder, name, local_files_only=True)
            else:
                self._model = PeftModel.from_pretrained(self._plain, folder, name, local_files_only=True).eval()
        except (SafetensorError, ValueError, RuntimeError, KeyError, OSError) as error:  # files that do not fit
            if _is_about_memory(error):
                raise
            self.release()
            raise ModelError(
                f"The adapter {name} could not be put on its base model ({type(error).__name__}).",
                "Its files may be damaged. Train it again, or put its folder back from a backup.",
            ) from error

    def _goes_beside(self, folder: Path) -> bool:
        """LoRA adapters stand side by side on one base; every other kind wants it for itself."""
        assert isinstance(self._model, PeftModel)
        kinds = {config.peft_type for config in self._model.peft_config.values()}
        return kinds | {PeftConfig.from_pretrained(folder, local_files_only=True).peft_type} == {PeftType.LORA}

    def _take_off(self) -> None:
        """The base as it was before any adapter."""
        assert isinstance(self._model, PeftModel)
        for name in self._model.peft_config:
            self._tokenizers.pop(name, None)
        if not self._model.active_peft_config.is_prompt_learning:
            self._model.unload()  # puts the base's own modules back in their places
        self._model, self._active = self._plain, ""

    def _make_room(self, model: PeftModel) -> None:
        loaded = [name for name in self._tokenizers if name in model.peft_config]
        if len(loaded) >= ADAPTERS_KEPT:
            model.delete_adapter(loaded[0])
            del self._tokenizers[loaded[0]]


def _is_about_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _bits(base: BaseModel, machine: Machine) -> int:
    """16, or 4 where the weights would not fit otherwise and the device can."""
    need = sum(path.stat().st_size for path in weights(base.path)) * HEADROOM
    if machine.compute_dtype == "float32":
        need *= 2  # twice what the files take, if they hold 16 bit
    free = torch.cuda.mem_get_info()[0] if machine.device == "cuda" else psutil.virtual_memory().available
    return 16 if need <= free or machine.bits[4] else 4


def _spare_the_head(model: PreTrainedModel) -> None:
    """Give the output head its last hidden state in the shape [1, width] it multiplies fast.

    Cut out of a prompt it comes with odd strides; torch 2.13 on CPU then copies the whole head first: 57 MB and 0.17 s
    for the starter, more than half of the time to the first token. The numbers are the same to the last bit.
    """
    head = model.get_output_embeddings()
    if isinstance(head, torch.nn.Linear):
        head.register_forward_pre_hook(lambda _, given: (given[0].reshape(given[0].shape),))


def _prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, str]]) -> Any:
    """The conversation as tokens, rendered as in training, up to where the answer begins."""
    try:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    except jinja2.TemplateError as error:
        raise Refused(
            f"This model cannot read such a conversation: {str(error).rstrip('.')[:200]}.",
            "Let user and assistant take turns, and begin with the user.",
        ) from error
    return tokenizer(text, add_special_tokens=False, return_tensors="pt")


def _room(model: Any, choice: Choice, length: int) -> int:
    """How many tokens an answer may have after a prompt of `length`."""
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize
    if isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning:
        context -= model.active_peft_config.num_virtual_tokens
    if length >= context:
        raise Refused(
            f"The conversation is {length:,} tokens long; {choice.base.name} can keep {context:,} in mind.",
            "Start a new conversation, or shorten it.",
            400,
            "context_length_exceeded",
        )
    return int(context - length)


def _ends(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end an answer."""
    own = model.generation_config.eos_token_id
    found = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
    return sorted(token for token in found if token is not None)


def _choice_of_tokens(sampling: Sampling) -> dict[str, Any]:
    if sampling.temperature == 0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    # top_k 0: transformers would look at the 50 likeliest tokens only, which OpenAI's API knows nothing of
    return {
        "do_sample": True,
        "temperature": max(sampling.temperature, COLDEST),
        "top_p": sampling.top_p,
        "top_k": 0,
    }


class _Pieces(BaseStreamer):
    """Token by token to text: emits what is certain, holds back half characters and what may become a stop text."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompt_tokens: int,
        stop: tuple[str, ...],
        emit: Callable[[str], None],
        cancelled: Event,
    ) -> None:
        self.count = -prompt_tokens  # generate() sends the prompt first
        self.found_stop = False
        self.criterion = _Ended(self, cancelled)
        self._tokenizer = tokenizer.backend_tokenizer
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._stop, self._emit = stop, emit
        self._held = ""

    def put(self, value: Tensor) -> None:
        is_prompt = self.count < 0
        self.count += value.numel()
        if is_prompt or self.found_stop:
            return
        for token in value.flatten().tolist():
            self._add(self._decoder.step(self._tokenizer, token) or "")

    def end(self) -> None:
        if self._held and not self.found_stop:
            self._emit(self._held)

    def _add(self, text: str) -> None:
        self._held += text
        found = [at for at in (self._held.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.found_stop = True
            certain = min(found)
        else:
            certain = len(self._held) - max((_overlap(self._held, stop) for stop in self._stop), default=0)
        if certain:
            self._emit(self._held[:certain])
        self._held = self._held[certain:]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` begins."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


class _Ended(StoppingCriteria):
    def __init__(self, pieces: _Pieces, cancelled: Event) -> None:
        self._pieces, self._cancelled = pieces, cancelled

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        ended = self._pieces.found_stop or self._cancelled.is_set()
        return torch.full((input_ids.shape[0],), ended, dtype=torch.bool, device=input_ids.device)
