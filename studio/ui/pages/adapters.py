"""My models: an empty place that `assets/models.js` fills from `/api/runs`."""

from studio.ui import markup
from studio.ui.markup import html


def lay_out() -> None:
    html(markup.heading("My models"))
    html('<div id="models-page" class="fill" aria-busy="true"><p class="aside">Loading…</p></div>')
