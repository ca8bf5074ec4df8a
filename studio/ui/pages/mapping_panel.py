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
        return [self.folded, self.shape, self.sheet, self.header, *self.choices]

    @property
    def choices(self) -> list[Any]:
        """What is chosen within a shape; `chosen` takes their values in this order."""
        return [*self.parts, self.template, self.system, self.system_text]

    def hidden(self) -> Updates:
        return {self.folded: gr.update(visible=False)}

    def shown(self, view: Preview, opened: bool) -> Updates:
        mapping, columns = view.mapping, view.columns
        parts = _PARTS.get(mapping.shape, _PARTS["columns"])
        updates: Updates = {
            self.folded: gr.update(visible=bool(columns or view.sheets), open=opened),
            self.shape: mapping.shape or None,
            self.sheet: gr.update(choices=view.sheets, value=view.sheet or None, visible=bool(view.sheets)),
            self.header: gr.update(value=view.headed is True, visible=view.headed is not None),
            self.template: gr.update(value=mapping.question_template, visible=_asks(mapping)),
            self.system: gr.update(
                choices=[_NO_COLUMN, *columns], value=mapping.system or _NO_COLUMN, visible=mapping.shape != "text"
            ),
            self.system_text: gr.update(value=mapping.system_text, visible=mapping.shape != "text"),
        }
        for place, widget in enumerate(self.parts):
            if place < len(parts):
                name, label = parts[place]
                value = getattr(mapping, name) or None
                updates[widget] = gr.update(choices=columns, value=value, label=label, visible=True)
            else:
                updates[widget] = gr.update(visible=False)
        return updates

    def chosen(self, before: Mapping, values: Sequence[Any]) -> Mapping:
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


def with_shape(before: Mapping, shape: Any) -> Mapping:
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
