"""The settings as a `recipe.yaml`: to copy, to save, and to take over from one."""

from pathlib import Path
from typing import Any

import gradio as gr

from studio.core.choices import build, parse_yaml
from studio.core.errors import RecipeError
from studio.services.context import Studio
from studio.ui import forms, markup, words
from studio.ui.markup import html
from studio.ui.received import received
from studio.ui.theme import ASSETS_URL
from studio.ui.trouble import in_words
from studio.ui.wish import Wish

_MOST_BYTES = 64 * 2**10
_ANY_ROWS, _ANY_PARAMETERS = 1000, 10**9  # whether a recipe can be used depends on neither


class RecipeFile:
    """Created inside the page's Gradio layout. `wish` is where the settings that it takes over go."""

    def __init__(self, studio: Studio, wish: gr.HTML) -> None:
        self._studio = studio
        with (
            gr.Accordion("As a file (recipe.yaml)", open=False, elem_id="recipe-file", elem_classes="group"),
            gr.Row(elem_classes="recipe-file"),
        ):
            with gr.Column():
                self.text = gr.Textbox(
                    label="These settings", interactive=False, lines=8, max_lines=8, elem_id="recipe-text"
                )
                with gr.Row(elem_classes="side-by-side"):
                    copy = gr.Button("Copy as recipe.yaml", size="sm", elem_id="copy-recipe")
                    save = gr.Button("Save", size="sm", elem_id="save-recipe")
            with gr.Column():
                pasted = gr.Textbox(
                    label="Use a recipe.yaml",
                    placeholder="preset: balanced\nrank: 8",
                    lines=8,
                    max_lines=8,
                    elem_id="recipe-pasted",
                )
                with gr.Row(elem_classes="side-by-side"):
                    use = gr.Button("Use it", size="sm", elem_id="use-recipe")
                    opened = gr.UploadButton("Open a file", size="sm", elem_id="open-recipe")
        said = html(elem_id="recipe-said")
        private: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
        use.click(self._use, [pasted], [said, wish], **private)
        opened.upload(self._open, [opened], [pasted, said], **private)
        for button, does in ((copy, "copy"), (save, "save")):
            js = f'async (text) => (await import("{ASSETS_URL}/form.js")).{does}(text)'
            button.click(None, [self.text], [said], js=js, **private)

    def _use(self, text: str | None) -> tuple[str, Any]:
        try:
            choices = parse_yaml(text or "")
            recipe = build(choices, _ANY_ROWS, _ANY_PARAMETERS)
        except RecipeError as error:
            return markup.refusals(error), gr.skip()
        fields = {name: forms.written(getattr(recipe, name)) for name in choices if name != "preset"}
        if not choices:
            return markup.notice("There is nothing to use yet: paste a recipe.yaml, or open one.", "warn"), gr.skip()
        wish = Wish(preset=str(choices.get("preset", "")), fields=fields, alone=True)
        return markup.notice(f"Taken over: {words.count(len(choices), 'setting')}."), wish.model_dump_json()

    def _open(self, given: str | None) -> tuple[Any, str]:
        paths = received(self._studio, given)
        try:
            return _text(paths[0]) if paths else gr.skip(), ""
        except Exception as error:
            return gr.skip(), markup.refusal(in_words(error))
        finally:
            for path in paths:
                path.unlink(missing_ok=True)


def _text(path: Path) -> str:
    """Raises RecipeError if it is none."""
    content = path.read_bytes()[: _MOST_BYTES + 1]
    if len(content) > _MOST_BYTES or b"\0" in content:
        raise RecipeError({"recipe": f"{path.name} is no recipe. Open a text file such as the studio saves."})
    return content.decode("utf-8-sig", errors="replace")
