"""Chat: talk to what was trained, with the original's answer beside it if wanted.

The engine is another process; this page only streams what it says. Answers go through Gradio's queue, because they take
long and can be cancelled; everything else does not.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

import gradio as gr

from studio.core.errors import NotFound, StudioError
from studio.services import base_models, chat, runs
from studio.services.context import Studio
from studio.ui import markup
from studio.ui.markup import html
from studio.ui.trouble import in_words

log = logging.getLogger(__name__)
Updates = dict[Any, Any]
Turns = list[dict[str, Any]]

CHATS_AT_ONCE = 4
EXAMPLES_SHOWN = 3
MAX_QUESTION_CHARS = 20_000
_EMPTY = "Ask something from your own work."


@dataclass(frozen=True)
class Choice:
    """A model that can be talked to; `base_id` is the original to compare with, empty if it is one itself."""

    id: str
    label: str
    base_id: str = ""
    run_id: int = 0


class Playground:
    """The page's widgets and events. Created inside the page's Gradio layout."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._lay_out()
        self._wire()

    def _lay_out(self) -> None:
        html(markup.heading("Chat"))
        with gr.Row(elem_classes="chat-head"):
            self.model = gr.Dropdown([], label="Model", scale=2, allow_custom_value=True, elem_id="chat-model")
            self.compare = gr.Checkbox(False, label="Show the original beside it", container=False, elem_id="compare")
        self.notice = html(elem_id="chat-notice")
        with gr.Row(elem_classes="chats"):
            self.tuned = _window("Answers", "tuned")
            self.original = _window("The original's answers", "original", visible=False)
        with gr.Row(elem_classes="ask"):
            self.question = gr.Textbox(
                show_label=False,
                label="Your question",
                placeholder="Your question",
                lines=1,
                max_lines=6,
                scale=8,
                container=False,
                elem_id="ask",
            )
            self.send = gr.Button("Send", variant="primary", elem_id="send")
            self.halt = gr.Button("Stop", visible=False, elem_id="halt")
        self.foot = html(elem_classes="chat-foot", elem_id="chat-foot")
        with gr.Accordion("Settings", open=False, elem_id="chat-settings"):
            with gr.Row():
                self.temperature = gr.Slider(
                    0, 1.5, value=0.0, step=0.1, label="Temperature", info="0 always gives the likeliest answer."
                )
                self.max_tokens = gr.Slider(
                    16,
                    1024,
                    value=256,
                    step=16,
                    label="Longest answer",
                    info="In tokens, about three quarters of a word.",
                )
            self.clear = gr.Button("Clear the chat", size="sm", elem_id="clear")

    def _wire(self) -> None:
        aside: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
        chats = [self.tuned, self.original]
        root = gr.context.Context.root_block
        assert root is not None
        root.load(self._open, None, [self.model, self.compare, self.notice, self.tuned, self.foot], **aside).then(
            self._warm, [self.model], None, **aside
        )
        self.model.input(self._choose, [self.model], [*chats, self.compare, self.notice, self.foot], **aside).then(
            self._warm, [self.model], None, **aside
        )
        self.compare.input(lambda on: gr.update(visible=bool(on)), [self.compare], [self.original], **aside)
        gr.on(
            [self.clear.click, self.tuned.clear, self.original.clear],
            lambda: ([], [], "", ""),
            None,
            [*chats, self.notice, self.foot],
            **aside,
        )
        self.tuned.example_select(_picked, None, [self.question], **aside)

        said = [self.question, *chats, self.model, self.compare, self.temperature, self.max_tokens]
        drawn = [self.question, *chats, self.notice, self.foot, self.send, self.halt]
        asked = gr.on(
            [self.send.click, self.question.submit],
            self._answer,
            said,
            drawn,
            trigger_mode="once",
            concurrency_limit=CHATS_AT_ONCE,
            api_visibility="private",
            show_progress="hidden",
        )
        self.halt.click(_idle_buttons, None, [self.send, self.halt], cancels=[asked], **aside)

    def _open(self, request: gr.Request) -> Updates:
        choices = _choices(self._studio)
        wanted, notice = str(request.query_params.get("run", "")), ""
        chosen = choices[0] if choices else None
        if wanted:
            try:
                run_id = runs.parse_id(wanted)
                found = next((c for c in choices if c.run_id == run_id), None)
                if found is None:
                    raise NotFound(f"Run {run_id} has no model to chat with.", "Choose another one here.")
                chosen = found
            except StudioError as error:
                notice = markup.refusal(error)
        if chosen is None:
            notice = markup.notice("There is no model to chat with yet.", "info", "Train one on “New model” first.")
        return {
            self.model: gr.update(choices=[(c.label, c.id) for c in choices], value=chosen.id if chosen else None),
            self.compare: gr.update(interactive=bool(chosen and chosen.base_id)),
            self.notice: notice,
            self.tuned: gr.update(examples=self._examples(chosen)),
            self.foot: "",
        }

    def _choose(self, model: str | None) -> Updates:
        chosen = self._known(model)
        return {
            self.tuned: gr.update(value=[], examples=self._examples(chosen)),
            self.original: gr.update(value=[]),
            self.compare: gr.update(interactive=bool(chosen and chosen.base_id)),
            self.notice: "",
            self.foot: "",
        }

    def _warm(self, model: str | None) -> None:
        """Have the engine load the model while its user still thinks about a question."""
        chosen = self._known(model)
        if chosen is None:
            return
        try:
            chat.engine_of(self._studio).warm(chosen.id)
        except StudioError as error:
            log.info("could not warm %s: %s", chosen.id, error)  # the first question will say so on the page

    def _answer(
        self,
        question: str,
        tuned: Turns,
        original: Turns,
        model: str | None,
        compare: bool,
        temperature: float,
        max_tokens: float,
    ) -> Iterator[Updates]:
        question = str(question or "").strip()[:MAX_QUESTION_CHARS]
        chosen = self._known(model)
        if not question or chosen is None:
            yield {self.notice: "" if question else markup.notice("Type a question first.")}
            return
        beside = bool(compare and chosen.base_id)
        sides = [(self.tuned, chosen.id, _plain(tuned))]
        if beside:
            sides.append((self.original, chosen.base_id, _plain(original)))
        asked = {"role": "user", "content": question}
        yield {
            self.question: "",
            self.notice: "",
            self.foot: markup.footnote("Thinking…"),
            self.send: gr.update(visible=False),
            self.halt: gr.update(visible=True),
            **{window: [*turns, asked] for window, _, turns in sides},
        }
        speeds: list[str] = []
        try:
            engine = chat.engine_of(self._studio)
            for window, name, turns in sides:
                before, text, began = [*turns, asked], "", 0.0
                for delta in engine.stream(name, before, float(temperature), int(max_tokens)):
                    if delta.end is not None:
                        speeds.append(_speed(text, monotonic() - began, delta.end))
                    else:
                        began, text = began or monotonic(), text + delta.text
                        yield {window: [*before, _reply(text)]}
                if not text.strip():
                    yield {window: [*before, _reply("*(It answered with nothing.)*")]}
        except Exception as error:
            yield {
                self.question: question,
                self.notice: markup.refusal(in_words(error)),
                self.foot: "",
                **{window: turns for window, _, turns in sides},
                **_idle(self),
            }
            return
        yield {self.foot: markup.footnote(" · original: ".join(speeds)), **_idle(self)}

    def _known(self, model: str | None) -> Choice | None:
        return next((choice for choice in _choices(self._studio) if choice.id == model), None)

    def _examples(self, chosen: Choice | None) -> list[dict[str, str]]:
        if chosen is None or not chosen.run_id:
            return []
        return [{"text": text} for text in runs.held_back_questions(self._studio, chosen.run_id)[:EXAMPLES_SHOWN]]


def _speed(text: str, seconds: float, end: chat.End) -> str:
    """“12 words/s”, and whether the answer was cut off."""
    number = len(text.split())
    words = f"{number / seconds:.0f} words/s" if number > 1 and seconds > 0 else f"{number} word"
    return f"{words}, cut off at the longest answer" if end.finish_reason == "length" else words


def _reply(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _window(label: str, elem_id: str, visible: bool = True) -> gr.Chatbot:
    return gr.Chatbot(
        label=label,
        elem_id=elem_id,
        visible=visible,
        height="min(58vh, 560px)",
        min_width=300,
        placeholder=f"### {_EMPTY}",
        buttons=["copy", "copy_all"],
        allow_tags=False,
        latex_delimiters=[],
        feedback_options=None,
    )


def _choices(studio: Studio) -> list[Choice]:
    """Trained models, the newest first, then the base models that are here."""
    trained = [
        Choice(chat.model_name(view.run.id), f"{view.run.name} (run {view.run.id})", view.run.base_id, view.run.id)
        for view in runs.trained(studio)
    ]
    bases = [Choice(base.id, f"{base.name}, untrained") for base in base_models.choices(studio) if base.here]
    return trained + bases


def _plain(turns: Turns) -> Turns:
    """A chat window's messages as OpenAI's API takes them; Gradio wraps text into parts."""
    return [
        {"role": t["role"], "content": _text(t["content"])} for t in turns if t.get("role") in {"user", "assistant"}
    ]


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content)


def _picked(event: gr.SelectData) -> str:
    return str(event.value["text"])


def _idle(page: Playground) -> Updates:
    return dict(zip((page.send, page.halt), _idle_buttons(), strict=True))


def _idle_buttons() -> tuple[Any, Any]:
    return gr.update(visible=True), gr.update(visible=False)
