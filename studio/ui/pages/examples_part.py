"""New model, step 1: the examples, and what the studio understood of them.

Reading a big file takes its time, so these handlers wait in Gradio's line and tell how far they are. They change the
`ExamplesDraft` alone; what follows from it, `model_part` finds out by itself.
"""

from collections.abc import Callable
from typing import Any

import gradio as gr

from studio.core.mapping import Mapping
from studio.services import datasets, uploads
from studio.services.context import Studio
from studio.services.readings import Preview
from studio.ui import markup, words
from studio.ui.draft import ExamplesDraft
from studio.ui.markup import html
from studio.ui.pages.check_panel import CheckPanel
from studio.ui.pages.mapping_panel import MappingPanel, with_reading
from studio.ui.received import received
from studio.ui.trouble import in_words

Updates = dict[Any, Any]
_READING: dict[str, Any] = {
    "queue": True, "api_visibility": "private", "show_progress": "full", "concurrency_limit": 4
}  # fmt: skip


class ExamplesPart:
    """Created inside the page's Gradio layout."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        # a fixed secret: a random one would forget every draft whenever the studio restarts
        self.draft = gr.BrowserState({}, storage_key="studio-examples", secret="draft")  # noqa: S106
        self._lay_out()
        self._wire()

    def _lay_out(self) -> None:
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
        self.bubbles = html(elem_id="as-seen")

    @property
    def outputs(self) -> list[Any]:
        """Everything that `drawn` updates."""
        own = [self.draft, self.file, self.pasted, self.summary, self.repair, self.bubbles]
        return [*own, *self.panel.widgets, *self.check.widgets]

    def _wire(self) -> None:
        reading: dict[str, Any] = _READING | {"show_progress_on": [self.summary]}
        to = self.outputs
        self.file.upload(self._take_files, [self.draft, self.file], to, **reading)
        at_once: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
        self.sample.click(self._take_sample, [self.draft], to, **at_once)
        self.paste.click(self._take_pasted, [self.draft, self.pasted], to, **reading)
        gr.on([self.fetch.click, self.hub_id.submit], self._fetch, [self.draft, self.hub_id], to, **reading)
        self.repair.click(self._repair, [self.draft], to, **reading)
        # one listener for the whole panel, which waits for its last answer: two choices must not undo each other
        asked = [self.draft, *self.panel.asked]
        gr.on(self.panel.changes, self._choose, asked, to, trigger_mode="always_last", **reading)

    # what events do

    def _take_files(
        self,
        stored: Any,
        given: list[str] | str | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Updates:
        paths = received(self._studio, given)
        if not paths:
            return {self.file: None}
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
        try:
            draft = ExamplesDraft(upload_id=keep())
        except Exception as error:
            draft = ExamplesDraft.read(stored).model_copy(update={"upload_id": ""})
            # what was pasted may be corrected
            return self.drawn(draft) | {self.file: None, self.summary: markup.refusal(in_words(error))}
        return self.drawn(draft, progress) | {self.file: None, self.pasted: ""}

    def _repair(self, stored: Any, progress: gr.Progress = gr.Progress()) -> Updates:  # noqa: B008
        draft = ExamplesDraft.read(stored)
        try:
            draft.mapping = with_reading(self._view(draft).mapping, repair=True)
        except Exception as error:
            return self.drawn(draft) | {self.summary: markup.refusal(in_words(error))}
        return self.drawn(draft, progress)

    def _choose(self, stored: Any, progress: gr.Progress = gr.Progress(), *asked: Any) -> Updates:  # noqa: B008
        draft = ExamplesDraft.read(stored)
        if not draft.upload_id:
            return {self.file: gr.skip()}
        try:
            view = self._view(draft)
            draft.mapping = self.panel.chosen(view, asked)
        except Exception as error:
            return self.drawn(draft) | {self.summary: markup.refusal(in_words(error))}
        shown = self.drawn(draft, progress, asked)
        if _same_table(view.mapping, draft.mapping):  # an update would open a list again
            for widget in self.panel.widgets:
                shown.pop(widget, None)
        return shown

    def _view(self, draft: ExamplesDraft, progress: gr.Progress | None = None) -> Preview:
        return datasets.preview(self._studio, draft.upload_id, draft.mapping, _telling(progress))

    # what is drawn

    def drawn(
        self, draft: ExamplesDraft, progress: gr.Progress | None = None, sent: tuple[Any, ...] | None = None
    ) -> Updates:
        """What is known of the examples; sets the draft's number of rows."""
        known = self._known(draft, progress, sent)
        return known | {self.draft: draft.model_dump()}

    def _known(self, draft: ExamplesDraft, progress: gr.Progress | None, sent: tuple[Any, ...] | None) -> Updates:
        nothing: Updates = {
            self.summary: "",
            self.repair: gr.update(visible=False),
            self.bubbles: "",
            **self.panel.hidden(),
            **self.check.hidden(),
        }
        draft.rows = 0
        if not draft.upload_id and not draft.dataset_id:
            return nothing
        try:
            if draft.dataset_id:
                return nothing | self.check.kept(draft, self.summary, self.bubbles)
            view = self._view(draft, progress)
        except Exception as error:
            draft.upload_id, draft.dataset_id = "", 0
            return nothing | {self.summary: markup.refusal(in_words(error))}
        draft.rows = 0 if view.problem or view.untrained else view.usable_rows
        opened = bool(view.problem) or draft.mapping is not None or view.confidence == "Not sure"
        offer = f"Fix {words.count(view.mendable, 'line')} for me"
        return nothing | {
            self.summary: markup.understood(view),
            self.repair: gr.update(visible=bool(view.mendings), value=offer),
            self.bubbles: markup.bubbles(view.examples),
            **self.panel.shown(view, opened, sent),
            **self.check.shown(draft, bool(view.problem)),
        }


def _same_table(before: Mapping, after: Mapping) -> bool:
    return before.reading == after.reading and (before.shape or "columns") == after.shape


def _telling(progress: gr.Progress | None) -> Callable[[float], None]:
    """What a reader calls as it goes on."""
    return lambda share: progress(share, desc="Reading your examples") if progress else None
