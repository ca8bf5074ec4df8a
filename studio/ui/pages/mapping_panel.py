"""How an upload was understood, part by part, each of which can be chosen otherwise. It lies folded under its summary
and opens by itself when the studio is not sure."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from studio.core.mapping import SHAPE_NAMES, Mapping, Reading, Shape
from studio.services.readings import Preview

Updates = dict[Any, Any]

# which parts a shape has, as its columns are asked for
_PARTS: dict[Shape, tuple[tuple[str, str], ...]] = {
    "columns": (("question", "The question is in"), ("answer", "The answer is in")),
    "messages": (("messages", "The conversation is in"),),
    "labels": (("question", "The text is in"), ("answer", "The label is in")),
    "preference": (
        ("answer", "The better answer is in"),
        ("rejected", "The worse answer is in"),
        ("question", "The question is in (empty: in both answers)"),
    ),
    "verdict": (
        ("question", "The question is in"),
        ("answer", "The answer is in"),
        ("verdict", "Whether it is good is in"),
    ),
    "text": (("text", "The text is in"),),
}
_MOST_PARTS = 3
_NO_COLUMN = "(none)"
_SHAPES = [(name, shape) for shape, name in SHAPE_NAMES.items()]
_MOST_CHARS = 2000


class MappingPanel:
    def __init__(self) -> None:
        self.folded = gr.Accordion("Change columns", open=False, visible=False, elem_id="columns")
        with self.folded:
            with gr.Row():
                self.shape = gr.Dropdown(_SHAPES, label="Your examples are", elem_id="shape")
                self.sheet = gr.Dropdown([], label="Sheet", visible=False, elem_id="sheet")
            self.header = gr.Checkbox(label="The first row names the columns", visible=False, elem_id="header")
            with gr.Row():
                # free text is fine: `services` say which columns there are
                self.parts = [gr.Dropdown([], label="", allow_custom_value=True) for _ in range(_MOST_PARTS)]
            self.template = gr.Textbox(
                label="Or put the question together from columns",
                placeholder="{product}: {question}",
                max_lines=1,
                elem_id="template",
            )
            with gr.Row():
                self.system = gr.Dropdown([], label="Each row's own instructions are in", allow_custom_value=True)
                self.system_text = gr.Textbox(
                    label="Or tell the model this in every example",
                    placeholder="You answer as our shop, in two sentences.",
                    elem_id="system-text",
                )

    @property
    def widgets(self) -> list[Any]:
        """Everything that is drawn."""
        return [self.folded, *self.asked]

    @property
    def asked(self) -> list[Any]:
        """What is chosen; `chosen` takes their values in this order."""
        return [
            self.shape, self.sheet, self.header, *self.parts, self.template, self.system, self.system_text
        ]  # fmt: skip

    @property
    def changes(self) -> list[Any]:
        """The events that tell of a choice. A text is taken when it is left: each letter would mean another reading."""
        texts = (self.template, self.system_text)
        chosen: tuple[Any, ...] = (self.shape, self.sheet, self.header, *self.parts, self.system)
        return [*(widget.input for widget in chosen), *(event for t in texts for event in (t.blur, t.submit))]

    def hidden(self) -> Updates:
        return {self.folded: gr.update(visible=False)}

    def shown(self, view: Preview, opened: bool, sent: Sequence[Any] | None = None) -> Updates:
        """How to draw `view`. `sent` is what `asked` held when the browser asked.

        A value that is right already is left out: its answer would undo what is being typed when it arrives.
        """
        mapping, columns = view.mapping, view.columns
        takes_system = mapping.shape != "text"
        parts = _PARTS.get(mapping.shape, _PARTS["columns"])
        drawn: dict[Any, dict[str, Any]] = {
            self.shape: {"value": mapping.shape or None},
            self.sheet: {"choices": view.sheets, "value": view.sheet or None, "visible": bool(view.sheets)},
            self.header: {"value": view.headed is True, "visible": view.headed is not None},
            self.template: {"value": mapping.question_template, "visible": _asks(mapping)},
            self.system: {
                "choices": [_NO_COLUMN, *columns], "value": mapping.system or _NO_COLUMN, "visible": takes_system
            },
            self.system_text: {"value": mapping.system_text, "visible": takes_system},
        }  # fmt: skip
        for place, widget in enumerate(self.parts):
            if place < len(parts):
                name, label = parts[place]
                value = getattr(mapping, name) or None
                drawn[widget] = {"choices": columns, "value": value, "label": label, "visible": True}
            else:
                drawn[widget] = {"visible": False}
        for widget, had in zip(self.asked, sent or (), strict=False):
            if "value" in drawn[widget] and (had or "") == (drawn[widget]["value"] or ""):
                del drawn[widget]["value"]
        folded = gr.update(visible=bool(columns or view.sheets), open=opened)
        return {self.folded: folded} | {widget: gr.update(**look) for widget, look in drawn.items()}

    def chosen(self, view: Preview, values: Sequence[Any]) -> Mapping:
        """The mapping that `asked` holding `values` means, when they were drawn from `view`."""
        shape, sheet, header, *choices = values
        if sheet and view.sheets and sheet != view.sheet:
            return with_reading(view.mapping, sheet=str(sheet))
        if view.headed is not None and bool(header) != view.headed:
            return with_reading(view.mapping, header=bool(header))
        if shape and shape != view.mapping.shape:
            return _with_shape(view.mapping, shape)
        return self._with_columns(view.mapping, choices)

    def _with_columns(self, before: Mapping, values: Sequence[Any]) -> Mapping:
        """`before` with what the widgets say now. The parts stand in the order of the shape that `before` has."""
        *parts, template, system, system_text = (str(value or "")[:_MOST_CHARS] for value in values)
        fields = {name: _column(value) for (name, _), value in zip(_PARTS[before.shape or "columns"], parts)}  # noqa: B905
        changes: dict[str, Any] = fields | {
            "shape": before.shape or "columns",
            "question_template": template.strip() if _asks(before) else "",
            "system": _column(system),
            "system_text": system_text.strip(),
        }
        if fields.get("answer") != before.answer:
            changes["labels"] = ()
        return before.model_copy(update=changes)


def _with_shape(before: Mapping, shape: Any) -> Mapping:
    """Another shape, whose columns are to be guessed."""
    known: dict[Any, Shape] = {name: name for name in SHAPE_NAMES}
    return Mapping(shape=known.get(shape, ""), system_text=before.system_text, reading=before.reading)


def with_reading(before: Mapping, **changes: Any) -> Mapping:
    """Read anew from the file, everything to be guessed. The user's earlier choices spoke of another table."""
    reading = Reading.model_validate(before.reading.model_dump() | changes)
    return Mapping(shape="", system_text=before.system_text, reading=reading)


def _asks(mapping: Mapping) -> bool:
    """Whether examples of this shape have a question of their own column."""
    return mapping.shape in {"", "columns", "labels", "verdict", "preference"}


def _column(value: str) -> str:
    return "" if value == _NO_COLUMN else value
