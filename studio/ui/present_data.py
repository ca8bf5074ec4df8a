"""Data sets as JSON for the pages' own scripts, which put every value on the page as text, never as markup."""

from dataclasses import asdict
from typing import Any

from studio.core.catalog import STARTER
from studio.core.conversation import Conversation, Message
from studio.core.finding import Finding, worst_first
from studio.core.mapping import Mapping
from studio.services import base_models, examples, left_out, lengths, library, report
from studio.services.context import Studio
from studio.services.library import Kept
from studio.services.report import Report
from studio.ui import words

_ROWS_NAMED = 12
_SHOWN_CHARS = 4000  # of a text in the table; editing loads the whole
_LABELS = 12


def data_page(studio: Studio) -> dict[str, Any]:
    """The list of data sets."""
    return {"sets": [_line(kept) for kept in library.every(studio)]}


def set_page(studio: Studio, dataset_id: int) -> dict[str, Any]:
    """All that a data set's page shows besides its rows."""
    kept = library.get(studio, dataset_id)
    found = report.report(studio, dataset_id)
    long = lengths.too_long(studio, dataset_id, STARTER) if found.state == "ready" else None
    used = {run.dataset_version for run in kept.runs}
    return _line(kept) | {
        "mapping": _mapping(kept),
        "sha256": kept.newest.sha256,
        "usable": kept.newest.usable,
        "undo": examples.undoable(studio, dataset_id),
        "versions": [
            {
                "number": version.number,
                "when": words.moment(version.at),
                "change": version.change,
                "changed": version.changed if version.number > 1 else 0,
                "rows": version.rows,
                "used": version.number in used,
                "same": version.equals if version.equals != version.number else None,
            }
            for version in examples.versions(studio, dataset_id)
        ],
        "models": [{"id": c.id, "name": c.name} for c in base_models.choices(studio) if c.here],
        "report": _report(found, [long] if long else []),
    }


def rows_page(page: examples.Page) -> dict[str, Any]:
    return {
        "version": page.version.number,
        "page": page.number,
        "count": page.count,
        "more": page.more,
        "size": examples.PAGE_ROWS,
        "rows": [
            _row(example.position, example.conversation, page.kinds.get(example.position, []))
            for example in page.examples
        ],
    }


def left_out_page(page: left_out.Page) -> dict[str, Any]:
    return {
        "page": page.number,
        "count": page.count,
        "more": page.more,
        "size": examples.PAGE_ROWS,
        "completable": page.completable,
        "rows": [asdict(row) for row in page.rows],
    }


def samples(found: list[report.Sample]) -> dict[str, Any]:
    """What a repair would do, text by text; only the texts it changes."""
    return {"samples": [change for sample in found for change in _changes(sample)]}


def counted(studio: Studio, dataset_id: int, base_id: str) -> dict[str, Any]:
    found = lengths.lengths(studio, dataset_id, base_id)
    shown = {"state": found.state, "done": found.done, "total": found.total}
    return shown | {"lengths": found.lengths.as_dict(), "usual": lengths.USUAL} if found.lengths else shown


def _line(kept: Kept) -> dict[str, Any]:
    return {
        "id": kept.dataset.id,
        "name": kept.dataset.name,
        "filename": kept.dataset.filename,
        "version": kept.newest.number,
        "rows": kept.newest.rows,
        "size": words.size(kept.size_bytes),
        "when": words.moment(kept.dataset.created_at),
        "runs": [{"id": run.id, "name": run.name, "version": run.dataset_version} for run in kept.runs],
    }


def _mapping(kept: Kept) -> str:
    try:
        return Mapping.model_validate(kept.dataset.mapping).words
    except ValueError:
        return ""


def _report(found: Report, more: list[Finding]) -> dict[str, Any]:
    return {
        "state": found.state,
        "done": found.done,
        "total": found.version.rows,
        "findings": [_finding(f) | {"left_out": f in found.left_out} for f in worst_first([*found.findings, *more])],
        "left_out": sum(finding.count for finding in found.left_out),
        "facts": _facts(found) if found.state == "ready" else [],
        "labels": found.figures.get("labels", [])[:_LABELS],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    named = ", ".join(f"{row:,}" for row in finding.rows[:_ROWS_NAMED])
    return {
        "kind": finding.kind,
        "severity": finding.severity,
        "message": finding.message,
        "count": finding.count,
        "rows": named + (" …" if finding.count > _ROWS_NAMED and named else ""),
        "repair": report.repair_label(finding.kind) if finding.repair else "",
        "name": report.KINDS_OF_ROWS.get(finding.kind, ""),
        "filter": finding.kind in report.KINDS_OF_ROWS,
        "longer": lengths.USUAL if finding.kind == "too_long" else 0,
    }


def _facts(found: Report) -> list[dict[str, str]]:
    figures = found.figures
    facts = [("Rows", f"{figures['rows']:,}", "Examples in this version")]
    if found.version.usable != found.version.rows:
        facts.append(("To learn from", f"{found.version.usable:,}", "Rows not marked “don't learn from this”"))
    turns = figures["turns"]
    if turns["most"] > 1:
        facts.append(("Turns", f"{turns['mean']:g} on average, {turns['most']} at most", "Questions in a row"))
    facts.append(("Text", words.count(figures["characters"], "character"), "In all questions and answers"))
    if figures["labels"]:
        facts.append(("Labels", f"{len(figures['labels'])}", "Different answers: few and short, so they are labels"))
    if figures["languages"]:
        told = ", ".join(f"{language['name']} {language['share']:.0%}" for language in figures["languages"][:3])
        facts.append(("Languages", told, "In a sample of the rows, where they could be told"))
    return [{"label": label, "value": value, "means": means} for label, value, means in facts]


def _row(position: int, conversation: Conversation, kinds: list[str]) -> dict[str, Any]:
    answers = [m for m in conversation.messages if m.role == "assistant"]
    parts = [_part("messages", i, m) for i, m in enumerate(conversation.messages)]
    parts += [_part("rejected", i, m) | {"role": "worse answer"} for i, m in enumerate(conversation.rejected)]
    if conversation.text:
        parts.append({"where": "text", "index": 0, "role": "text", "text": conversation.text[:_SHOWN_CHARS],
                      "cut": len(conversation.text) > _SHOWN_CHARS, "learn": True})  # fmt: skip
    return {
        "position": position,
        "row": conversation.row,
        "file": conversation.file,
        "parts": parts,
        "learn": not answers or any(m.learn for m in answers),
        "verdict": conversation.verdict,
        "kinds": [report.KINDS_OF_ROWS[kind] for kind in kinds if kind != "not_learned"],
    }


def _part(where: str, index: int, message: Message) -> dict[str, Any]:
    calls = " ".join(f"→ {call.name}({call.arguments})" for call in message.tool_calls)
    text = message.content or calls
    return {
        "where": where,
        "index": index,
        "role": message.role,
        "text": text[:_SHOWN_CHARS],
        "cut": len(text) > _SHOWN_CHARS,
        "learn": message.learn,
    }


def _changes(sample: report.Sample) -> list[dict[str, Any]]:
    row = sample.before.row
    before = report.texts(sample.before)
    if sample.after is None:
        return [{"row": row, "before": "\n".join(before)[:_SHOWN_CHARS], "after": None}]
    pairs = zip(before, report.texts(sample.after), strict=True)
    return [{"row": row, "before": b[:_SHOWN_CHARS], "after": a[:_SHOWN_CHARS]} for b, a in pairs if a != b]
