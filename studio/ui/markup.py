"""Small pieces of HTML that the server writes. Everything a person typed or uploaded goes through `Markup.format`,
which escapes it."""

from collections.abc import Iterable
from typing import Any

import gradio as gr
from markupsafe import Markup

from studio.core.conversation import Conversation, Message
from studio.core.errors import RecipeError, StudioError
from studio.core.finding import Finding
from studio.core.mapping import SHAPE_NAMES
from studio.services.examples import Page
from studio.services.library import Kept
from studio.services.readings import Preview
from studio.ui import words
from studio.ui.theme import ASSETS_URL

PAGES = (("New model", "/"), ("My models", "/models"), ("Chat", "/chat"), ("Data", "/data"), ("Storage", "/storage"))
FORECAST = (
    '<details class="foresee"><summary>What it will take<span class="verdict"></span></summary>'
    '<div id="forecast-panel"></div></details>'
)
_SHOWN_CHARS = 600
_SHOWN_REASONS = 6
_SHOWN_FINDINGS = 4


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


def refusals(error: RecipeError) -> str:
    """A box for each setting that cannot be used."""
    return Markup("").join(notice(sentence, "error") for sentence in error.fields.values())


def changes(changed: Iterable[tuple[str, str, str, str]]) -> str:
    """The settings that differ from the preset, each as (name, title, value, usual value), with a way back."""
    listed = list(changed)
    if not listed:
        return Markup('<p class="aside">Everything is as “How long” says. You need not change anything here.</p>')
    items = Markup("").join(
        Markup(
            '<li><span>{}: <strong>{}</strong>, not {}</span> <button type="button" class="button link" '
            'data-reset="{}">Reset<span class="spoken"> {}</span></button></li>'
        ).format(title, value, usual, name, title)
        for name, title, value, usual in listed
    )
    return Markup(
        '<div class="changes" role="status"><p><strong>{}</strong> <button type="button" class="button link" '
        'data-reset="{}">Reset all</button></p><ul>{}</ul></div>'
    ).format(words.count(len(listed), "changed setting"), " ".join(name for name, *_ in listed), items)


def understood(view: Preview) -> str:
    """What the studio made of a file: counts, advice, and the rows it leaves out."""
    if view.problem:
        head = Markup('<p class="file">{}</p>').format(view.filename) + notice(view.problem, "error")
    else:
        head = Markup('<p class="file">{}</p><p class="understood"><strong>{}</strong> {}</p>').format(
            view.filename, view.words, "" if view.untrained else view.advice
        ) + notice(view.untrained, "warn")
    return Markup('<div class="summary">{}{}{}{}{}</div>').format(
        head,
        _guessed(view),
        Markup("").join(Markup('<p class="aside">{}</p>').format(note) for note in view.notes),
        _rows("{} used, but changed a little. See which.", [(s.words, s.count) for s in view.changed])
        + _rows("{} left out. See which.", [(s.words, s.count) for s in view.skipped]),
        _mendings(view),
    )


def bubbles(conversations: Iterable[Conversation]) -> str:
    """Examples as the model will see them."""
    talks = Markup("").join(Markup('<li class="talk">{}</li>').format(_talk(c)) for c in conversations)
    if not talks:
        return ""
    return Markup('<h3 class="small">What the model will see</h3><ul class="talks">{}</ul>').format(talks)


def kept(data: Kept, page: Page) -> str:
    """A data set that is kept, as what a run will learn from."""
    return Markup(
        '<div class="summary"><p class="file">{}, version {}</p>'
        '<p class="understood"><strong>{} examples.</strong> {}.</p></div>'
    ).format(data.dataset.name, page.version.number, f"{page.version.usable:,}", page.version.change)


def uploaded_before(before: Kept) -> Markup:
    """Says that the same file is here already, and leads to it."""
    return Markup(
        '<div class="notice info" role="status">You uploaded this file on {}. '
        '<a href="/data?id={}">Open “{}”</a> to go on with what you changed there.</div>'
    ).format(words.moment(before.dataset.created_at), before.dataset.id, before.dataset.name)


def worst(findings: Iterable[Finding], rows: int = 0) -> Markup:
    """The findings a person should know before training; `rows` if only so many were looked at."""
    shown = [f for f in findings if f.severity != "note"][:_SHOWN_FINDINGS]
    if not shown:
        return Markup('<p class="aside">{}</p>').format("Checked: nothing is wrong with them." if not rows else "")
    items = Markup("").join(Markup('<li class="{}">{}</li>').format(f.severity, f.message) for f in shown)
    head = f"In the first {rows:,} rows" if rows else "Before you train"
    return Markup('<div class="worst"><h3 class="small">{}</h3><ul>{}</ul></div>').format(head, items)


def _talk(conversation: Conversation) -> Markup:
    answer = {"preference": "The better answer", "verdict": "A good answer" if conversation.verdict else "A bad answer"}
    who = {
        "user": "Question", "system": "Always told", "tool": "A tool answers",
        "assistant": answer.get(conversation.kind, "Answer to learn"),
    }  # fmt: skip
    said = [_said(m.role, who[m.role] if m.learn else "Answer, not learned", _words(m)) for m in conversation.messages]
    said += [_said("assistant worse", "The worse answer", _words(m)) for m in conversation.rejected]
    if conversation.text:
        said.append(_said("assistant", "Text to learn", conversation.text))
    return Markup("").join(said)


def _said(kind: str, who: str, text: str) -> Markup:
    return Markup('<p class="said {}"><span class="who">{}</span>{}</p>').format(kind, who, _short(text))


def _words(message: Message) -> str:
    calls = (f"calls {call.name} {call.arguments}" for call in message.tool_calls)
    return "\n".join(part for part in (message.content, *calls) if part)


def _guessed(view: Preview) -> Markup:
    if not view.confidence or not view.mapping.complete:
        return Markup("")
    return Markup('<p class="aside" id="guess">{}. {}: {}</p>').format(
        SHAPE_NAMES[view.mapping.shape], view.confidence, view.reason
    )


def _mendings(view: Preview) -> Markup:
    """What a repair would do, before and after."""
    if not view.mendings:
        return Markup("")
    isnt = "isn't" if view.mendable == 1 else "aren't"
    rows = Markup("").join(
        Markup("<li>Row {}: <del>{}</del> becomes <ins>{}</ins></li>").format(m.row, m.before, m.after)
        for m in view.mendings
    )
    return Markup('<p class="mend">{} {} quite JSON. The studio can fix {}:</p><ul class="mendings">{}</ul>').format(
        words.count(view.mendable, "line"), isnt, "it" if view.mendable == 1 else "them", rows
    )


def _rows(title: str, told: list[tuple[str, int]]) -> Markup:
    count = sum(count for _, count in told)
    if not count:
        return Markup("")
    shown = Markup("").join(Markup("<li>{}</li>").format(sentence) for sentence, _ in told[:_SHOWN_REASONS])
    return Markup('<details class="left-out"><summary>{}</summary><ul>{}</ul></details>').format(
        title.format(words.count(count, "row")), shown
    )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def plan(text: str) -> str:
    return Markup('<p class="plan">{}</p>').format(text) if text else ""


def footnote(text: str) -> str:
    return Markup('<p class="aside" role="status">{}</p>').format(text)
