"""The part of the first page that says what is wrong with the examples, and leads to their own page."""

from typing import Any

import gradio as gr

from studio.services import datasets, examples, library, report
from studio.services.context import Studio
from studio.ui import markup
from studio.ui.draft import ExamplesDraft
from studio.ui.markup import html

Updates = dict[Any, Any]


class CheckPanel:
    """Created inside the page's Gradio layout."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self.worst = html(elem_id="worst")
        self.button = gr.Button("Check the data", size="sm", visible=False, elem_id="check-data")

    @property
    def widgets(self) -> list[Any]:
        return [self.worst, self.button]

    def hidden(self) -> Updates:
        return {self.worst: "", self.button: gr.update(visible=False)}

    def shown(self, draft: ExamplesDraft, problem: bool) -> Updates:
        """The worst findings of an upload, and whether it was here before."""
        before = library.uploaded_before(self._studio, draft.upload_id)
        told = markup.uploaded_before(before) if before else ""
        if problem:
            return self.hidden() | {self.worst: told}
        findings, rows = report.first_look(self._studio, draft.upload_id, draft.mapping)
        return {self.worst: told + markup.worst(findings, rows), self.button: gr.update(visible=True)}

    def kept(self, draft: ExamplesDraft, summary: Any, bubbles: Any) -> Updates:
        """The same of a data set that is kept, with its summary and first examples; sets the draft's rows."""
        kept = library.get(self._studio, draft.dataset_id)
        page = examples.page(self._studio, draft.dataset_id, version=draft.dataset_version)
        findings = report.report(self._studio, draft.dataset_id, draft.dataset_version).findings
        draft.rows = page.version.usable
        return {
            summary: markup.kept(kept, page),
            self.worst: markup.worst(findings),
            self.button: gr.update(visible=True),
            bubbles: markup.bubbles(example.conversation for example in page.examples[:3]),
        }

    def draft_on(self, kept: str) -> ExamplesDraft:
        """A draft on a data set that is kept: its number, or number@version. Raises NotFound."""
        number, version = library.parse(kept)
        return ExamplesDraft(dataset_id=number, dataset_version=examples.version(self._studio, number, version).number)

    def address(self, draft: ExamplesDraft) -> str:
        """Of the examples' own page. An upload becomes a data set. Raises DataError if it is none."""
        return f"/data?id={draft.dataset_id or datasets.make(self._studio, draft.upload_id, draft.mapping).id}"
