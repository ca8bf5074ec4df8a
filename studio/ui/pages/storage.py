"""Storage: an empty place that `assets/storage.js` fills from `/api/storage`."""

from studio.ui import markup
from studio.ui.markup import html


def lay_out() -> None:
    html(markup.heading("Storage", "What the studio keeps on this computer, and how to be rid of it."))
    html('<div id="storage-page" class="fill" aria-busy="true"><p class="aside">Looking at every file…</p></div>')
