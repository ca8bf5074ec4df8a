"""One run: an empty place that `assets/run.js` fills from `/api/runs/<id>`, the id being in the page's address."""

from studio.ui.markup import html


def lay_out() -> None:
    html('<div id="run-page" class="fill" aria-busy="true"><p class="aside">Loading…</p></div>')
