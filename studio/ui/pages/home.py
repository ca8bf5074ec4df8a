"""New model: examples, a base model, how long; then one button.

What was chosen is kept in the browser as a `Draft`, so it survives a reload. Handlers take the draft, change it and say
what to draw; they run outside Gradio's queue, because nothing here takes long enough to wait in a line.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from studio.core.choices import build
from studio.core.errors import RecipeError, StudioError
from studio.core.mapping import Mapping
from studio.core.presets import for_preset
from studio.core.recipe import PRESETS, Recipe
from studio.services import base_models, datasets, examples, runs, uploads
from studio.services.context import Studio
from studio.ui import forms, markup, words
from studio.ui.draft import Draft
from studio.ui.markup import html
from studio.ui.pages.check_panel import CheckPanel
from studio.ui.pages.mapping_panel import MappingPanel, with_reading, with_shape
from studio.ui.trouble import in_words

log = logging.getLogger(__name__)
Updates = dict[Any, Any]

_PRESET_WORDS = {
    "quick": "A first look. Learns the gist.",
    "balanced": "Right for most uses.",
    "thorough": "Learns more detail, takes longest.",
}


def received_folder(studio: Studio) -> Path:
    """Where Gradio puts what a browser sends, before `services` keep a copy."""
    folder = studio.home.path / "received"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


class Home:
    """The page's widgets, and what its events do to them. Created inside the page's Gradio layout."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._lay_out()
        self._wire()

    def _lay_out(self) -> None:
        # a fixed secret: a random one would forget every draft whenever the studio restarts
        self.draft = gr.BrowserState({}, storage_key="studio-draft", secret="draft")  # noqa: S106
        html(
            markup.heading(
                "Teach a model with your own examples", "Your file stays on the studio's computer. No code needed."
            ),
        )
        with gr.Column(elem_classes="step-block"):
            html(
                markup.step(
                    1,
                    "Your examples",
                    "A question and its answer in each row: Excel, CSV, JSON, JSONL, Parquet or YAML. Several files "
                    "and ZIPs are fine.",
                )
            )
            self.file = gr.File(
                label="Your examples", show_label=False, height=140, file_count="multiple", elem_id="examples-file"
            )
            with gr.Row(elem_classes="side-by-side"):
                self.sample = gr.Button("Use the sample", size="sm", elem_id="use-sample")
                html('<p class="aside">No file yet? Try it with invented support questions.</p>')
            with gr.Accordion("Paste rows, or fetch a data set", open=False, elem_id="other-ways"):
                self.pasted = gr.Textbox(
                    label="Rows copied from a spreadsheet, with their header",
                    placeholder="question\tanswer",
                    lines=4,
                    max_lines=12,
                    elem_id="pasted",
                )
                self.paste = gr.Button("Use these rows", size="sm", elem_id="use-pasted")
                self.hub_id = gr.Textbox(
                    label="Or a data set's id on the Hugging Face hub",
                    placeholder="owner/name",
                    max_lines=1,
                    elem_id="hub-id",
                )
                self.fetch = gr.Button("Fetch it", size="sm", elem_id="use-hub")
            self.summary = html(elem_id="summary")
            self.repair = gr.Button("Fix it for me", size="sm", visible=False, elem_id="repair")
            self.panel = MappingPanel()
            self.check = CheckPanel(self._studio)
            self.examples = html(elem_id="as-seen")
        with gr.Column(elem_classes="step-block"):
            html(markup.step(2, "Base model"))
            self.base = gr.Radio(
                _base_cards(self._studio), show_label=False, label="Base model", elem_classes="cards", elem_id="base"
            )
        with gr.Column(elem_classes="step-block"):
            html(markup.step(3, "How long"))
            self.preset = gr.Radio(
                _preset_cards(0, 0),
                value="balanced",
                show_label=False,
                label="How long",
                elem_classes="cards three",
                elem_id="preset",
            )
            with gr.Accordion("More settings", open=False, elem_id="more-settings"):
                self.note = html()
                with gr.Row(elem_classes="recipe-fields"):
                    self.settings = forms.widgets()
        with gr.Column(elem_classes="step-block last"):
            self.name = gr.Textbox(
                label="Name (optional)", placeholder="As your file is called", max_lines=1, elem_id="name"
            )
            self.plan = html(elem_id="plan")
            self.problems = html(elem_id="problems")
            self.start = gr.Button("Add your examples", variant="primary", interactive=False, elem_id="start")
            self.address = gr.Textbox(visible=False)  # of the run that was started

    def _wire(self) -> None:
        fields = list(self.settings.values())
        panel = self.panel
        about_data = [
            self.file,
            self.pasted,
            self.summary,
            self.repair,
            *panel.widgets,
            *self.check.widgets,
            self.examples,
        ]
        usual = [self.preset, self.note, *fields]  # follow from the preset and the number of examples
        always = [self.draft, self.plan, self.problems, self.start]
        private: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
        # a big file takes its time: these wait in Gradio's line, and tell how far they are
        reading: dict[str, Any] = private | {
            "queue": True, "show_progress": "full", "show_progress_on": [self.summary], "concurrency_limit": 4
        }  # fmt: skip
        after_data = always + about_data + usual
        go: dict[str, Any] = {
            "inputs": [self.address],
            "outputs": None,
            "js": "(address) => { if (address) window.location.assign(address) }",
        }

        root = gr.context.Context.root_block
        assert root is not None
        root.load(self._restore, [self.draft], [*after_data, self.base, self.name], **private)
        self.file.upload(self._take_files, [self.draft, self.file], after_data, **reading)
        self.sample.click(self._take_sample, [self.draft], after_data, **private)
        self.paste.click(self._take_pasted, [self.draft, self.pasted], after_data, **reading)
        gr.on([self.fetch.click, self.hub_id.submit], self._fetch, [self.draft, self.hub_id], after_data, **reading)
        panel.shape.input(self._choose_shape, [self.draft, panel.shape], after_data, **reading)
        panel.sheet.input(self._choose_sheet, [self.draft, panel.sheet], after_data, **reading)
        panel.header.input(self._choose_header, [self.draft, panel.header], after_data, **reading)
        self.repair.click(self._repair, [self.draft], after_data, **reading)
        gr.on(
            [
                *(part.input for part in panel.parts), panel.system.input,
                # a text is taken when it is left: each letter would mean another look at the file
                panel.template.blur, panel.template.submit, panel.system_text.blur, panel.system_text.submit,
            ],
            self._choose_columns,
            [self.draft, *panel.choices],
            after_data,
            trigger_mode="always_last",  # a second column may be chosen while the first is still being looked at
            **reading,
        )  # fmt: skip
        self.check.button.click(self._open_report, [self.draft], [*always, self.address], **private).then(None, **go)
        chosen = [self.draft, self.base, self.preset, self.name, *fields]
        self.preset.input(self._choose_preset, chosen, always + usual, **private)
        self.base.input(self._choose_base, chosen, always + usual, **private)
        # text boxes tell of typing, but not of what is pasted with the mouse: that is seen when they are left
        texts = [self.name, *(field for field in fields if isinstance(field, gr.Textbox))]
        typed = [self.name.input, *(field.input for field in fields)]
        gr.on(
            [*typed, *(text.blur for text in texts)],
            self._choose,
            chosen,
            always,
            trigger_mode="always_last",
            **private,
        )
        self.start.click(self._begin, chosen, [*always, self.address], **private).then(None, **go)

    # what events do

    def _restore(self, stored: Any, request: gr.Request) -> Updates:
        again, kept, trouble = request.query_params.get("from"), request.query_params.get("data"), ""
        try:
            draft = (
                self._like_run(again) if again else self.check.draft_on(stored, kept) if kept else Draft.read(stored)
            )
        except Exception as error:
            draft, trouble = Draft.read(stored), _problem(in_words(error))
        base = gr.update(choices=_base_cards(self._studio), value=draft.base_id)
        if not draft.upload_id and not draft.dataset_id and not trouble:
            # nothing of the examples is touched: a file may have been dropped before this answer arrives
            return {self.base: base, self.preset: draft.preset, self.name: draft.name}
        shown = self._after_data(draft) | {self.base: base, self.name: draft.name}
        return shown | ({self.problems: trouble} if trouble else {})

    def _like_run(self, run: str) -> Draft:
        """A draft with everything as it was when that run was started."""
        start = runs.start_of(self._studio, runs.parse_id(run))
        draft = Draft(
            dataset_id=start.dataset_id,
            dataset_version=start.version,
            rows=examples.version(self._studio, start.dataset_id, start.version).usable,
            base_id=start.base_id,
            preset=start.recipe.preset,
            name=start.name,
        )
        draft.settings = forms.changed(forms.to_values(start.recipe), self._usual_recipe(draft))
        return draft

    def _take_files(
        self,
        stored: Any,
        given: list[str] | str | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Updates:
        paths = [Path(path) for path in ([given] if isinstance(given, str) else given or [])]
        # Gradio checks this too, but not in every version and way of starting it
        if not paths or not all(p.resolve().is_relative_to(received_folder(self._studio)) for p in paths):
            return self._after_data(Draft.read(stored))
        try:
            files = [(path, path.name) for path in paths]
            return self._take(stored, lambda: uploads.keep(self._studio, files), progress)
        finally:
            for path in paths:
                path.unlink(missing_ok=True)  # the studio has its own copy now

    def _take_sample(self, stored: Any) -> Updates:
        sample = datasets.SAMPLE
        return self._take(stored, lambda: uploads.keep(self._studio, [(sample, sample.name)]))

    def _take_pasted(self, stored: Any, text: str | None) -> Updates:
        return self._take(stored, lambda: uploads.keep_pasted(self._studio, text or ""))

    def _fetch(self, stored: Any, name: str | None, progress: gr.Progress = gr.Progress()) -> Updates:  # noqa: B008
        def tick(share: float) -> None:
            progress(share, desc="Fetching")

        return self._take(stored, lambda: uploads.keep_from_hub(self._studio, name or "", tick), progress)

    def _take(self, stored: Any, keep: Callable[[], str], progress: gr.Progress | None = None) -> Updates:
        draft = Draft.read(stored)
        try:
            draft.upload_id, draft.mapping = keep(), None
            draft.dataset_id = draft.dataset_version = 0
        except Exception as error:
            draft.upload_id = ""
            shown = self._after_data(draft) | {self.summary: markup.refusal(in_words(error))}
            shown.pop(self.pasted, None)  # what was pasted may be corrected
            return shown
        return self._after_data(draft, progress)

    def _choose_shape(self, stored: Any, shape: Any, progress: gr.Progress = gr.Progress()) -> Updates:  # noqa: B008
        return self._remap(stored, lambda before: with_shape(before, shape), progress)

    def _choose_sheet(self, stored: Any, sheet: Any, progress: gr.Progress = gr.Progress()) -> Updates:  # noqa: B008
        return self._remap(stored, lambda before: with_reading(before, sheet=str(sheet or "")), progress)

    def _choose_header(self, stored: Any, header: Any, progress: gr.Progress = gr.Progress()) -> Updates:  # noqa: B008
        return self._remap(stored, lambda before: with_reading(before, header=bool(header)), progress)

    def _repair(self, stored: Any, progress: gr.Progress = gr.Progress()) -> Updates:  # noqa: B008
        return self._remap(stored, lambda before: with_reading(before, repair=True), progress)

    def _choose_columns(self, stored: Any, *choices: Any) -> Updates:
        shown = self._remap(stored, lambda before: self.panel.chosen(before, choices), None)
        for untouched in self.panel.widgets:  # an update would open a list again, or undo what is being typed
            shown.pop(untouched, None)
        return shown

    def _remap(self, stored: Any, change: Callable[[Mapping], Mapping], progress: gr.Progress | None) -> Updates:
        draft = Draft.read(stored)
        try:
            draft.mapping = change(datasets.preview(self._studio, draft.upload_id, draft.mapping).mapping)
        except Exception as error:
            return self._after_data(draft) | {self.summary: markup.refusal(in_words(error))}
        return self._after_data(draft, progress)

    def _choose_preset(self, stored: Any, base: str, preset: str, name: str, *fields: Any) -> Updates:
        reset = bool(self._chosen(stored, base, Draft.read(stored).preset, name, fields).settings)
        draft = self._chosen(stored, base, preset, name, fields)
        draft.settings = {}
        note = f"Set back to what “{draft.preset}” means; your own changes are gone." if reset else ""
        return self._usual(draft) | self._always(draft) | {self.note: markup.notice(note)}

    def _choose_base(self, stored: Any, base: str, preset: str, name: str, *fields: Any) -> Updates:
        draft = self._chosen(stored, Draft.read(stored).base_id, preset, name, fields)
        draft.base_id = str(base or "")[:300]
        return self._usual(draft) | self._always(draft)

    def _choose(self, stored: Any, base: str, preset: str, name: str, *fields: Any) -> Updates:
        return self._always(self._chosen(stored, base, preset, name, fields))

    def _begin(self, stored: Any, base: str, preset: str, name: str, *fields: Any) -> Updates:
        draft = self._chosen(stored, base, preset, name, fields)
        try:
            asked = draft.base_id, {"preset": draft.preset} | draft.settings, draft.name, draft.request_key
            if draft.dataset_id:
                run = runs.start_on(self._studio, draft.dataset_id, draft.dataset_version, *asked)
            else:
                run = runs.start(self._studio, draft.upload_id, draft.mapping, *asked)
        except Exception as error:
            return self._always(draft) | {self.problems: _problem(in_words(error))}
        log.info("run %s started from the page", run.id)
        fresh = Draft(base_id=draft.base_id, preset=draft.preset)
        return {self.draft: fresh.model_dump(), self.address: f"/run?id={run.id}"}

    def _open_report(self, stored: Any) -> Updates:
        draft = Draft.read(stored)
        try:
            return {self.address: self.check.address(draft)}
        except Exception as error:
            return self._always(draft) | {self.problems: _problem(in_words(error))}

    def _chosen(self, stored: Any, base: str | None, preset: str, name: str, fields: tuple[Any, ...]) -> Draft:
        """The draft with what the widgets say now: two quick changes must not undo each other."""
        draft = Draft.read(stored)
        draft.base_id, draft.name = str(base or "")[:300], str(name or "")[:200]
        draft.preset = forms.known_preset(preset)
        draft.settings = forms.changed(dict(zip(self.settings, fields, strict=True)), self._usual_recipe(draft))
        return draft

    # what is drawn

    def _after_data(self, draft: Draft, progress: gr.Progress | None = None) -> Updates:
        return self._data(draft, progress) | self._usual(draft) | self._always(draft)

    def _data(self, draft: Draft, progress: gr.Progress | None) -> Updates:
        """What is known of the examples; sets the draft's number of rows."""
        nothing: Updates = {
            self.file: None,
            self.pasted: "",
            self.summary: "",
            self.repair: gr.update(visible=False),
            self.examples: "",
            **self.panel.hidden(),
            **self.check.hidden(),
        }
        draft.rows = 0
        if not draft.upload_id and not draft.dataset_id:
            return nothing
        try:
            if draft.dataset_id:
                return nothing | self.check.kept(draft, self.summary, self.examples)
            view = datasets.preview(self._studio, draft.upload_id, draft.mapping, _telling(progress))
        except Exception as error:
            draft.upload_id, draft.dataset_id = "", 0
            return nothing | {self.summary: markup.refusal(in_words(error))}
        draft.rows = 0 if view.problem or view.untrained else view.usable_rows
        opened = bool(view.problem) or draft.mapping is not None or view.confidence == "Not sure"
        offer = f"Fix {words.count(view.mendable, 'line')} for me"
        return nothing | {
            self.summary: markup.understood(view),
            self.repair: gr.update(visible=bool(view.mendings), value=offer),
            self.examples: markup.bubbles(view.examples),
            **self.panel.shown(view, opened),
            **self.check.shown(draft, bool(view.problem)),
        }

    def _usual_recipe(self, draft: Draft) -> Recipe:
        return for_preset(forms.known_preset(draft.preset), draft.rows, self._parameters(draft))

    def _parameters(self, draft: Draft) -> int:
        return base_models.parameters(self._studio, draft.base_id)

    def _usual(self, draft: Draft) -> Updates:
        """The settings as the preset has them for these examples and this model, with the draft's own changes kept."""
        values = forms.to_values(self._usual_recipe(draft)) | draft.settings
        fields = {self.settings[name]: value for name, value in values.items() if name in self.settings}
        preset = gr.update(choices=_preset_cards(draft.rows, self._parameters(draft)), value=draft.preset)
        return {self.preset: preset, self.note: "", **fields}

    def _always(self, draft: Draft) -> Updates:
        ready, problem, plan = draft.rows > 0, "", ""
        try:
            recipe = build({"preset": draft.preset} | draft.settings, draft.rows, self._parameters(draft))
            plan = _plan(recipe, draft.rows) if ready else ""
        except RecipeError as error:
            problem = _problem(error)
        return {
            self.draft: draft.model_dump(),
            self.plan: markup.plan(plan),
            self.problems: problem,
            self.start: gr.update(
                value="Start training"
                if ready
                else "Look at your examples"
                if draft.upload_id
                else "Add your examples",
                interactive=ready,
            ),
        }


def _telling(progress: gr.Progress | None) -> Callable[[float], None]:
    """What a reader calls as it goes on."""
    return lambda share: progress(share, desc="Reading your examples") if progress else None


def _problem(error: StudioError) -> str:
    if isinstance(error, RecipeError):
        return "".join(markup.notice(f"{sentence}", "error") for sentence in error.fields.values())
    return markup.refusal(error)


def _plan(recipe: Recipe, rows: int) -> str:
    """“162 to learn from · 18 held back to check · about 5 passes, 205 steps”."""
    plan = runs.plan(rows, recipe)
    checked = f"{plan.validation_rows:,} held back to check" if plan.validation_rows else "none held back to check"
    passes = f"{words.passes(recipe.epochs)}, {words.count(plan.steps, 'step')}"
    return f"{plan.train_rows:,} to learn from · {checked} · {passes}"


def _base_cards(studio: Studio) -> list[tuple[str, str]]:
    """Radio labels in lines: the name, what it is for, its licence and whether it must be fetched."""
    return [
        (
            f"{choice.name}\n{choice.words}\n{choice.licence} · "
            + ("ready on this computer" if choice.here else "will be downloaded first"),
            choice.id,
        )
        for choice in base_models.choices(studio)
    ]


def _preset_cards(rows: int, parameters: int) -> list[tuple[str, str]]:
    def reads(preset: str) -> str:
        recipe = for_preset(forms.known_preset(preset), rows, parameters)
        return f"\nReads your examples {recipe.epochs:g} time{'' if recipe.epochs == 1 else 's'}" if rows else ""

    return [(f"{preset.capitalize()}\n{_PRESET_WORDS[preset]}{reads(preset)}", preset) for preset in PRESETS]
