"""Answers in words, for `--text`."""

import json
from typing import Any

from qwenvl.results import Action, Caption, Detection, Document, EventList, Extraction, ReadText


def detection(result: Detection) -> str:
    """A line for each object: label, numbers, how sure the model was."""
    lines = [f"{found.words}\t{_numbers(found.place)}\t{_share(found.confidence)}" for found in result.objects]
    lines += [f"{label}\tnot found\t" for label in result.not_found]
    return "\n".join(lines) or "nothing found"


def document(result: Document) -> str:
    """Markdown."""
    return result.to_markdown()


def events(result: EventList) -> str:
    """A line for each event: from, to, what."""
    lines = [f"{each.start_time}\t{each.end_time}\t{each.description or ''}" for each in result.events]
    return "\n".join(lines) or "no events"


def read(result: ReadText) -> str:
    return result.text


def caption(result: Caption) -> str:
    return result.caption


def extraction(result: Extraction) -> str:
    """The data, as JSON."""
    return _json(result.data)


def action(result: Action) -> str:
    """The action, as JSON; a warning where a person should allow it first."""
    asked = f"\nconfirm first: {result.confirmation_reason}" if result.needs_confirmation else ""
    return f"{json.dumps(result.action, ensure_ascii=False)}{asked}"


def _numbers(place: tuple[float, ...]) -> str:
    return " ".join(f"{number:g}" for number in place)


def _share(confidence: float | None) -> str:
    return "" if confidence is None else f"{confidence:.2f}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
