"""The page for people at `/status`: engines, places and queue, the last minutes, recent errors, who used what.

Plain HTML that the browser asks for again every few seconds: no script, nothing from elsewhere, and a policy that would
not let it. All text goes through `escape`.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from operator import itemgetter
from typing import Any

REFRESH_S = 5
STYLE = """
:root { color-scheme: light dark; --line: #8884; --bar: #3b7dd8; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .2rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .4rem; }
p { margin: .2rem 0; } .dim { color: light-dark(#59636e, #9198a1); }
.good { color: light-dark(#1a7f37, #3fb950); } .bad { color: light-dark(#cf222e, #f85149); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; } td.n, th.n { text-align: right; padding-right: 2rem; } td { overflow-wrap: break-word; }
.tiles { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; margin: 1rem 0; }
.tiles b { display: block; font-size: 1.6rem; }
svg { width: 100%; height: 5rem; display: block; border-bottom: 1px solid var(--line); }
rect { fill: var(--bar); } rect.bad { fill: #cf222e; }
"""
POLICY = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}


def page(status: dict[str, Any]) -> str:
    """The page of a status as `routes_operations.status_of` gives it."""
    ready = sum(engine["ready"] for engine in status["engines"])
    all_ready = "good" if ready else "bad"
    places, queue = status["places"], status["queue"]
    last = status["pulse"]["slots"][-6:]
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        f"<meta http-equiv=refresh content={REFRESH_S}><meta name=viewport content='width=device-width'>"
        f"<title>Status</title><style>{STYLE}</style></head><body>"
        f"<h1>Qwen2.5-VL server</h1><p class=dim>version {escape(status['version'])} &middot; "
        f"up {_span(status['uptime_s'])} &middot; {escape(status['time'])}</p>"
        "<div class=tiles>"
        + _tile(f"<span class={all_ready}>{ready} of {len(status['engines'])}</span>", "engines ready")
        + _tile(f"{places['taken']} of {places['all']}", "places taken")
        + _tile(str(queue["waiting"]), "waiting")
        + _tile(str(sum(slot[0] for slot in last)), "requests in the last minute")
        + _tile(str(sum(slot[1] for slot in last)), "server errors in it")
        + "</div>"
        + _section("Engines", _engines(status["engines"]))
        + _section("Requests in the last ten minutes", _bars(status["pulse"]["slots"], status["pulse"]["slot_s"]))
        + _section("Callers that are here", _callers(status["callers"]))
        + _section("Recent errors", _errors(status["errors"]))
        + _section("Used since the start", _usage(status["usage"]))
        + "</body></html>"
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}"


def _tile(number: str, what: str) -> str:
    return f"<div><b>{number}</b><span class=dim>{escape(what)}</span></div>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> str:
    """Columns of numbers stand to the right; a cell that is `Raw` is HTML already."""
    found = [list(row) for row in rows]
    if not found:
        return f"<p class=dim>{escape(empty)}</p>"
    right = [all(isinstance(row[column], int | float) for row in found) for column in range(len(heads))]
    head = "".join(f"<th{' class=n' * right[at]}>{escape(name)}</th>" for at, name in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f"<td{' class=n' * right[at]}>{_cell(cell)}</td>" for at, cell in enumerate(row)) + "</tr>"
        for row in found
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Raw(str):
    """HTML of our own."""


def _cell(value: object) -> str:
    if isinstance(value, Raw):
        return value
    return f"{value:,}" if isinstance(value, int | float) else escape(str(value))


def _engines(engines: list[dict[str, Any]]) -> str:
    rows = (
        (
            engine["engine"],
            Raw(f"<span class={'good' if engine['ready'] else 'bad'}>{escape(engine['state'])}</span>"),
            engine["in_flight"],
            ", ".join(engine["models"]),
            engine["reason"] or "",
        )
        for engine in engines
    )
    return _table(("engine", "state", "in flight", "models", "why"), rows, "none is set up")


def _bars(slots: list[tuple[int, int, int]], slot_s: int) -> str:
    """Requests of each slot as a bar, server errors red at its foot."""
    highest = max([1, *(slot[0] for slot in slots)])
    bars = ""
    for at, (requests, errors, _) in enumerate(slots):
        for count, kind in ((requests, ""), (errors, " class=bad")):
            height = 100 * count / highest
            if count:
                bars += f"<rect{kind} x={at * 10} y={100 - height:.1f} width=8 height={height:.1f} />"
    width = len(slots) * 10
    label = f"{sum(slot[0] for slot in slots)} requests, at most {highest} in {slot_s} s"
    return (
        f"<svg viewBox='0 0 {width} 100' preserveAspectRatio=none role=img aria-label='{label}'>{bars}</svg>"
        f"<p class=dim>{label}; {sum(slot[1] for slot in slots)} server errors, "
        f"{sum(slot[2] for slot in slots):,} tokens</p>"
    )


def _callers(callers: list[dict[str, Any]]) -> str:
    rows = (
        (caller["name"], caller["priority"], caller["places"], caller["waiting"], f"{caller['share']:.0%}")
        for caller in callers
    )
    return _table(("caller", "priority", "places", "waiting", "share"), rows, "nobody at the moment")


def _errors(errors: list[dict[str, Any]]) -> str:
    """Newest first; the same ones in a row are one line, so that a caller over his limit does not hide the others."""
    rows = []
    for _, same in groupby(errors, key=itemgetter("status", "code", "route", "caller")):
        alike = list(same)
        last = alike[0]
        times = f"{len(alike)} times" if len(alike) > 1 else ""
        names = ("code", "route", "caller", "request_id")
        rows.append((last["time"], times, str(last["status"]), *(last[name] for name in names)))
    return _table(("when", "", "status", "code", "path", "caller", "request id"), rows, "none since the start")


def _usage(usage: list[dict[str, Any]]) -> str:
    names = ("requests", "errors", "prompt_tokens", "completion_tokens", "visual_tokens")
    rows = ((each["caller"], *(each["total"][name] for name in names)) for each in usage)
    return _table(("caller", *(name.replace("_", " ") for name in names)), rows, "nothing yet")


def _span(seconds: float) -> str:
    """A time as people say it.

    >>> _span(59), _span(3700), _span(200_000)
    ('59 s', '1 h 1 min', '2 d 7 h')
    """
    minutes, hours, days = int(seconds) // 60, int(seconds) // 3600, int(seconds) // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {int(seconds) % 60} s" if minutes else f"{int(seconds)} s"
