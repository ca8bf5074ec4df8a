"""Small pieces of HTML that the server writes. Everything a person typed or uploaded goes through `Markup.format`,
which escapes it."""

from collections.abc import Iterable
from typing import Any

import gradio as gr
from markupsafe import Markup

from studio.core.conversation import Conversation
from studio.core.errors import StudioError
from studio.services.datasets import Preview
from studio.ui.theme import ASSETS_URL

PAGES = (("New model", "/"), ("My models", "/models"), ("Chat", "/chat"), ("Storage", "/storage"))
_SHOWN_CHARS = 600
_SHOWN_REASONS = 6


def html(value: str = "", **options: Any) -> gr.HTML:
    """A place on the page for markup from this module, without Gradio's own styles and click handler."""
    return gr.HTML(value, js_on_load=None, apply_default_css=False, **options)


def navigation(current: str) -> str:
    links = Markup("").join(
        Markup('<a href="{}"{}>{}</a>').format(path, Markup(' aria-current="page"') if path == current else "", title)
        for title, path in PAGES
    )
    return Markup(
        '<a class="skip" href="#main">Skip to the page</a><nav class="site" aria-label="Main">'
        '<a class="brand" href="/"><img src="{}/logo.svg" alt="" width="28" height="28"><span>Adapter Studio</span></a>'
        '<span class="links">{}</span></nav>'
    ).format(ASSETS_URL, links)


def heading(title: str, lead: str = "") -> str:
    return Markup('<header class="page" id="main"><h1>{}</h1>{}</header>').format(
        title, Markup('<p class="lead">{}</p>').format(lead) if lead else ""
    )


def step(number: int, title: str, more: str = "") -> str:
    return Markup('<h2 class="step"><span aria-hidden="true">{}</span>{}</h2>{}').format(
        number, title, Markup('<p class="aside step-more">{}</p>').format(more) if more else ""
    )


def notice(text: str, kind: str = "info", hint: str = "") -> Markup:
    """A box with a sentence; `kind` is info, warn or error."""
    if not text:
        return Markup("")
    role = "alert" if kind == "error" else "status"
    more = Markup(" <span>{}</span>").format(hint) if hint else ""
    return Markup('<div class="notice {}" role="{}"><strong>{}</strong>{}</div>').format(kind, role, text, more)


def refusal(error: StudioError) -> str:
    return notice(error.message, "error", error.hint)


def understood(view: Preview) -> str:
    """What the studio made of a file: counts, advice, and the rows it leaves out."""
    if view.problem:
        head = Markup('<p class="file">{}</p>').format(view.filename) + notice(view.problem, "error")
    else:
        head = Markup('<p class="file">{}</p><p class="understood"><strong>{}</strong> {}</p>').format(
            view.filename, view.words, view.advice
        )
    return Markup('<div class="summary">{}{}</div>').format(head, _left_out(view))


def bubbles(conversations: Iterable[Conversation]) -> str:
    """Examples as the model will see them."""
    talks = Markup("").join(
        Markup('<li class="talk">{}</li>').format(
            Markup("").join(
                Markup('<p class="said {}"><span class="who">{}</span>{}</p>').format(
                    message.role,
                    {"user": "Question", "assistant": "Answer to learn", "system": "Always told"}[message.role],
                    _short(message.content),
                )
                for message in conversation.messages
            )
        )
        for conversation in conversations
    )
    if not talks:
        return ""
    return Markup('<h3 class="small">What the model will see</h3><ul class="talks">{}</ul>').format(talks)


def _left_out(view: Preview) -> Markup:
    count = sum(skipped.count for skipped in view.skipped)
    if not count:
        return Markup("")
    shown = Markup("").join(Markup("<li>{}</li>").format(skipped.words) for skipped in view.skipped[:_SHOWN_REASONS])
    return Markup('<details class="left-out"><summary>{} left out. See which.</summary><ul>{}</ul></details>').format(
        f"{count:,} row{'s' if count != 1 else ''}", shown
    )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def plan(text: str) -> str:
    return Markup('<p class="plan">{}</p>').format(text) if text else ""


def footnote(text: str) -> str:
    return Markup('<p class="aside" role="status">{}</p>').format(text)
