"""New model: examples, a base model, how long; then one button.

What was chosen is kept in the browser as two halves of a draft, so it survives a reload. Each part of the page changes
its own half. Most handlers run outside Gradio's queue, because nothing in them takes long enough to wait in a line.
"""

import logging
from typing import Any

import gradio as gr

from studio.core.errors import RecipeError, StudioError
from studio.services import examples, runs
from studio.services.context import Studio
from studio.ui import forms, markup
from studio.ui.draft import ExamplesDraft, ModelDraft, request_key
from studio.ui.markup import html
from studio.ui.pages.examples_part import ExamplesPart
from studio.ui.pages.model_part import ModelPart
from studio.ui.theme import ASSETS_URL
from studio.ui.trouble import in_words

log = logging.getLogger(__name__)
Updates = dict[Any, Any]
_PRIVATE: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
_ANNOUNCE = f'async (examples, model) => {{ (await import("{ASSETS_URL}/form.js")).announce(examples, model) }}'
_FOLD = f'import("{ASSETS_URL}/form.js").then((form) => form.foldForecast(element.querySelector("details")));'
_GO = "(address) => { if (address) window.location.assign(address) }"


class Home:
    """The page's widgets, and what its events do to them. Created inside the page's Gradio layout."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._lay_out()
        self._wire()

    def _lay_out(self) -> None:
        html(
            markup.heading(
                "Teach a model with your own examples", "Your file stays on the studio's computer. No code needed."
            ),
        )
        self.trouble = html()
        self.model = ModelPart(self._studio)
        with gr.Column(elem_classes="new-model"):
            with gr.Column(elem_classes="choose"):
                with gr.Column(elem_classes="step-block"):
                    self.examples = ExamplesPart(self._studio)
                with gr.Column(elem_classes="step-block"):
                    self.model.lay_out_base()
                with gr.Column(elem_classes="step-block"):
                    self.model.lay_out_settings()
            with gr.Column(elem_classes="foresee"):
                gr.HTML(markup.FORECAST, js_on_load=_FOLD, apply_default_css=False)
            with gr.Column(elem_classes="step-block last"):
                self.model.lay_out_start()
        self.address = gr.Textbox(visible=False)  # of the run that was started

    def _wire(self) -> None:
        mine, theirs = self.model, self.examples
        inputs = mine.inputs(theirs.draft)
        settle: dict[str, Any] = {"fn": mine.settle, "inputs": inputs, "outputs": mine.outputs, **_PRIVATE}
        restored = [*theirs.outputs, *mine.outputs, mine.base, mine.name, mine.wish, self.trouble]
        told = [theirs.draft, mine.draft, mine.shown, mine.problems, self.address]
        go: dict[str, Any] = {"inputs": [self.address], "outputs": None, "js": _GO}
        root = gr.context.Context.root_block
        assert root is not None
        root.load(self._restore, [theirs.draft, mine.draft], restored, **_PRIVATE)
        gr.on([theirs.draft.change, mine.draft.change], None, [theirs.draft, mine.draft], js=_ANNOUNCE)
        # also after its own answer: two that overtake each other would leave the older draft
        gr.on([theirs.draft.change, mine.draft.change, *mine.events], trigger_mode="always_last", **settle)
        theirs.check.button.click(self._open_report, [theirs.draft], [mine.problems, self.address], **_PRIVATE).then(
            None, **go
        )
        mine.start.click(self._begin, inputs, told, **_PRIVATE).then(None, **go)

    # what events do

    def _restore(self, stored_examples: Any, stored_model: Any, request: gr.Request) -> Updates:
        again, kept, trouble = request.query_params.get("from"), request.query_params.get("data"), ""
        chosen, model = ExamplesDraft.read(stored_examples), ModelDraft.read(stored_model)
        try:
            if again:
                chosen, model = self._like_run(again)
            elif kept:
                chosen = self.examples.check.draft_on(kept)
        except Exception as error:
            trouble = markup.refusal(in_words(error))
        if not chosen.upload_id and not chosen.dataset_id:
            # nothing of the examples is touched: a file may have been dropped before this answer arrives
            return self.model.filled(ExamplesDraft(), model) | {self.trouble: trouble}
        shown = self.examples.drawn(chosen)
        return shown | self.model.filled(chosen, model) | {self.trouble: trouble}

    def _like_run(self, run: str) -> tuple[ExamplesDraft, ModelDraft]:
        """A draft with everything as it was when that run was started."""
        start = runs.start_of(self._studio, runs.parse_id(run))
        usable = examples.version(self._studio, start.dataset_id, start.version).usable
        chosen = ExamplesDraft(dataset_id=start.dataset_id, dataset_version=start.version, rows=usable)
        model = ModelDraft(base_id=start.base_id, preset=start.recipe.preset, name=start.name)
        model.settings = {"method": start.recipe.method}
        usual = forms.to_values(self.model.advice(chosen, model).recipe)
        model.settings = forms.changed(forms.to_values(start.recipe), usual)
        return chosen, model

    def _begin(self, *inputs: Any) -> Updates:
        chosen, (model, _) = ExamplesDraft.read(inputs[0]), self.model.chosen(*inputs)
        try:
            asked = model.base_id, {"preset": model.preset} | model.settings, model.name, request_key(chosen, model)
            if chosen.dataset_id:
                run = runs.start_on(self._studio, chosen.dataset_id, chosen.dataset_version, *asked)
            else:
                run = runs.start(self._studio, chosen.upload_id, chosen.mapping, *asked)
        except Exception as error:
            return {self.model.problems: _problem(in_words(error))}
        log.info("run %s started from the page", run.id)
        fresh = ModelDraft(base_id=model.base_id, preset=model.preset)
        return {
            self.examples.draft: {},
            self.model.draft: fresh.model_dump(),
            self.model.shown: None,  # what the widgets still hold belongs to the run
            self.address: f"/run?id={run.id}",
        }

    def _open_report(self, stored: Any) -> Updates:
        try:
            return {self.address: self.examples.check.address(ExamplesDraft.read(stored))}
        except Exception as error:
            return {self.model.problems: _problem(in_words(error))}


def _problem(error: StudioError) -> str:
    return markup.refusals(error) if isinstance(error, RecipeError) else markup.refusal(error)
