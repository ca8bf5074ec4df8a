"""Data sets: an empty place that `assets/data.js` fills with the list, or by the id in the address with one of them."""

from studio.ui.markup import html


def lay_out() -> None:
    html('<div id="data-page" class="fill" aria-busy="true"><p class="aside">Loading…</p></div>')
