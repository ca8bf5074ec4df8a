"""New model, steps 2 and 3: the base model, how long, the settings, and what follows from them.

The widgets are the truth: one listener looks at all of them whenever something changes, so two quick changes cannot
undo each other; and it sends back only what must change.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.core.choices import build
from studio.core.errors import RecipeError
from studio.core.methods import conflicts
from studio.core.presets import Advice, Facts, advise
from studio.core.recipe import GROUPS
from studio.services import advice
from studio.services.context import Studio
from studio.ui import cards, forms, looks, markup
from studio.ui.draft import ExamplesDraft, ModelDraft
from studio.ui.markup import html
from studio.ui.pages.recipe_file import RecipeFile
from studio.ui.shown import Look, Shown
from studio.ui.theme import ASSETS_URL
from studio.ui.wish import Wish

Updates = dict[Any, Any]
_LISTEN = f'import("{ASSETS_URL}/form.js").then((form) => form.listen(props));'


@dataclass(frozen=True)
class Asked:
    """What a browser sent. `shown` is None while its page is still being restored."""

    examples: ExamplesDraft
    stored: Any  # the model's draft as the browser keeps it
    shown: Shown | None
    base_id: str
    preset: str
    name: str
    wish: Wish
    values: dict[str, Any]  # of the fields


class ModelPart:
    """Created inside the page's Gradio layout; its places are laid out one by one."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self.draft = gr.BrowserState({}, storage_key="studio-model", secret="draft")  # noqa: S106
        self.shown = gr.JSON(visible=False)
        self.fields: dict[str, Any] = {}
        self.groups: dict[str, gr.Accordion] = {}

    def lay_out_base(self) -> None:
        html(markup.step(2, "Base model"))
        self.base = gr.Radio(
            cards.bases(self._studio), show_label=False, label="Base model", elem_classes="cards", elem_id="base"
        )

    def lay_out_settings(self) -> None:
        html(markup.step(3, "How long"))
        self.preset = gr.Radio(
            cards.presets(Facts(0, 0)),
            value="balanced",
            show_label=False,
            label="How long",
            elem_classes="cards three",
            elem_id="preset",
        )
        self.note = html()
        # not inside the accordion: what is folded has no script running
        self.wish = gr.HTML("", html_template="", js_on_load=_LISTEN, apply_default_css=False, elem_classes="unseen")
        with gr.Accordion("More settings", open=False, elem_id="more-settings"):
            self.changes = html(elem_id="changes")
            for title, names in GROUPS.items():
                self.groups[title] = gr.Accordion(title, open=title == "Method", elem_classes="group")
                with self.groups[title], gr.Row(elem_classes="recipe-fields"):
                    self.fields |= forms.widgets(names)
            self.file = RecipeFile(self._studio, self.wish)

    def lay_out_start(self) -> None:
        self.name = gr.Textbox(
            label="Name (optional)", placeholder="As your file is called", max_lines=1, elem_id="name"
        )
        self.plan = html(elem_id="plan")
        self.problems = html(elem_id="problems")
        self.start = gr.Button("Add your examples", variant="primary", interactive=False, elem_id="start")

    def inputs(self, examples: Any) -> list[Any]:
        """What `settle` and `chosen` take; `examples` is the other half of the draft."""
        mine = [self.draft, self.shown, self.base, self.preset, self.name, self.wish]
        return [examples, *mine, *self.fields.values()]

    @property
    def outputs(self) -> list[Any]:
        said = [self.note, self.changes, self.plan, self.problems, self.start, self.file.text]
        return [self.draft, self.shown, self.preset, *said, *self.groups.values(), *self.fields.values()]

    @property
    def events(self) -> list[Any]:
        """Everything after which to settle."""
        # text boxes tell of typing, but not of what is pasted with the mouse: that is seen when they are left
        texts = [self.name, *(field for field in self.fields.values() if isinstance(field, gr.Textbox))]
        typed = [self.base, self.preset, self.name, *self.fields.values()]
        return [*(widget.input for widget in typed), *(text.blur for text in texts), self.wish.change]

    # what events do

    def settle(self, *inputs: Any) -> Updates:
        """What follows from the widgets as they are."""
        asked = self._asked(inputs)
        if asked.shown is None:
            return {self.shown: gr.skip()}  # Gradio takes an empty answer for a missing one
        model, note = self.chosen(*inputs)
        asked.shown.wish = asked.wish.id
        updates = self._drawn(asked.examples, model, asked.shown, asked.values)
        if model.preset != asked.preset:
            updates[self.preset] = gr.update(**updates.get(self.preset, {}) | {"value": model.preset})
        if model.model_dump() != asked.stored:
            updates |= {self.draft: model.model_dump(), self.note: markup.notice(note)}
        return updates

    def filled(self, examples: ExamplesDraft, model: ModelDraft) -> Updates:
        """Everything as the draft has it, for a page that has just been opened."""
        model.settings = forms.showable(model.settings)
        updates = self._drawn(examples, model, Shown(), {})
        preset = gr.update(**updates[self.preset] | {"value": model.preset})
        base = gr.update(choices=cards.bases(self._studio), value=model.base_id)
        drawn = {self.draft: model.model_dump(), self.preset: preset, self.base: base, self.name: model.name}
        # settled once more: a file may have been dropped before this answer arrives
        return updates | drawn | {self.wish: Wish().model_dump_json()}

    def chosen(self, *inputs: Any) -> tuple[ModelDraft, str]:
        """The draft with what the widgets say now, and what to say about it."""
        asked, note = self._asked(inputs), ""
        model, shown = ModelDraft.read(asked.stored), asked.shown
        if shown is None:
            return model, note
        model.base_id, model.name, model.preset = asked.base_id, asked.name, forms.known_preset(asked.preset)
        settings = forms.changed(asked.values, shown.usual)
        if settings and model.preset != shown.preset:
            settings, note = {}, f"Set back to what “{model.preset}” means; your own changes are gone."
        if asked.wish.id != shown.wish:
            model.preset = forms.known_preset(asked.wish.preset or model.preset)
            settings = asked.wish.granted(settings, forms.showable(asked.wish.fields))
        model.settings = settings
        model.settings = forms.changed(settings, forms.to_values(self.advice(asked.examples, model).recipe))
        return model, note

    def advice(self, examples: ExamplesDraft, model: ModelDraft) -> Advice:
        """What the preset means for these examples, this model and the method that was chosen; without examples
        there are no reasons yet.
        """
        method = forms.known_method(model.settings.get("method"))
        advised = advise(forms.known_preset(model.preset), self._facts(examples, model), method)
        return advised if examples.rows else Advice(advised.recipe, {})

    def _facts(self, examples: ExamplesDraft, model: ModelDraft) -> Facts:
        studio, rows = self._studio, examples.rows
        if examples.dataset_id:
            return advice.of_dataset(studio, model.base_id, rows, examples.dataset_id, examples.dataset_version or None)
        if examples.upload_id:
            return advice.of_upload(studio, model.base_id, rows, examples.upload_id, examples.mapping)
        return advice.of_nothing(studio, model.base_id, rows)

    def _asked(self, inputs: tuple[Any, ...]) -> Asked:
        examples, stored, shown, base, preset, name, wish, *values = inputs
        return Asked(
            examples=ExamplesDraft.read(examples),
            stored=stored,
            shown=Shown.read(shown) if shown else None,
            base_id=str(base or "")[:300],
            preset=str(preset or ""),
            name=str(name or "")[:200],
            wish=Wish.parse(wish),
            values=forms.to_choices(dict(zip(self.fields, values, strict=True))),
        )

    # what is drawn

    def _drawn(self, examples: ExamplesDraft, model: ModelDraft, shown: Shown, values: dict[str, Any]) -> Updates:
        """`values` are what the fields hold; those that are not right are sent, and the looks that are not `shown`."""
        facts, advised = self._facts(examples, model), self.advice(examples, model)
        recipe = forms.usable(model.settings, advised.recipe)
        refused = _refused(model, facts) | conflicts(recipe)
        shown.preset, shown.usual = model.preset, forms.to_values(advised.recipe)
        right = shown.usual | model.settings

        def wanted() -> Iterator[tuple[str, Any, Look]]:
            yield "preset cards", self.preset, {"choices": cards.presets(facts)}
            yield "recipe.yaml", self.file.text, {"value": recipe.as_yaml()}
            for title, look in looks.groups(model.settings).items():
                yield title, self.groups[title], look
            for name, look in looks.looks(recipe, advised, model.settings, refused).items():
                yield name, self.fields[name], look
            for name, look in looks.options(recipe).items():
                yield f"{name} options", self.fields[name], look

        new = shown.take(wanted())
        for name, widget in self.fields.items():
            if name not in values or values[name] != forms.to_choices({name: right[name]})[name]:
                new[widget] = new.get(widget, {}) | {"value": right[name]}
        ready = examples.rows > 0
        return {widget: gr.update(**look) for widget, look in new.items()} | {
            self.shown: shown.model_dump(),
            self.changes: looks.changes(model.settings, shown.usual),
            self.plan: markup.plan(cards.plan(recipe, examples.rows) if ready and not refused else ""),
            self.problems: "".join(markup.notice(sentence, "error") for sentence in refused.values()),
            self.start: gr.update(value=_todo(examples), interactive=ready),
        }


def _refused(model: ModelDraft, facts: Facts) -> dict[str, str]:
    """A sentence for each choice that cannot be used."""
    try:
        build({"preset": model.preset} | model.settings, facts.rows, facts.parameters, facts)
    except RecipeError as error:
        return error.fields
    return {}


def _todo(examples: ExamplesDraft) -> str:
    """The button says what is still to be done."""
    if examples.rows:
        return "Start training"
    return "Look at your examples" if examples.upload_id else "Add your examples"
