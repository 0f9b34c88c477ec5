"""A set of measurements as a Markdown table and as one HTML page that holds everything."""

import base64
import html
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.load.plots import named

Point = Mapping[str, Any]
COLUMNS: tuple[tuple[str, str], ...] = (
    ("requests/s", "request_throughput"),
    ("good/s", "request_goodput"),
    ("tokens/s", "output_throughput"),
    ("pictures/s", "pictures_per_s"),
    ("TTFT p50", "p50_ttft_ms"),
    ("p95", "p95_ttft_ms"),
    ("p99", "p99_ttft_ms"),
    ("TPOT p50", "p50_tpot_ms"),
    ("ITL p95", "p95_itl_ms"),
    ("whole p50", "p50_e2el_ms"),
    ("p95", "p95_e2el_ms"),
    ("failed", "failed"),
)
TOLD: tuple[tuple[str, Callable[[Point], Any]], ...] = (
    ("tokens/s/GPU", lambda point: (point["per_gpu"] or {}).get("output_tokens_per_s")),
    ("pictures/s/GPU", lambda point: (point["per_gpu"] or {}).get("pictures_per_s")),
    ("cost of 1,000", lambda point: point["cost_per_1000"]),
    ("caches hit", lambda point: _caches(point.get("caches", {})) or None),
)
"""Columns that are there where something is known for them: cards, a price, what the engine tells of its caches."""
NOTES = """- Times are milliseconds, from the moment a request was meant to be sent.
- Failed requests count against goodput, never towards a latency.
- A p99 is given from 662 requests on; summary.json has 95 % confidence bounds of every percentile.
"""


def rows(points: Sequence[Point]) -> list[list[str]]:
    """Header and a row for each measurement."""
    told = [(title, find) for title, find in TOLD if any(find(point) is not None for point in points)]
    header = ["", "sent", *(title for title, _ in (*COLUMNS, *told)), "notes"]
    return [header, *(_row(point, [find(point) for _, find in told]) for point in points)]


def _row(point: Point, told: Sequence[Any]) -> list[str]:
    cells = (*(point[key] for _, key in COLUMNS), *told)
    return [str(point["label"]), named(point), *map(_cell, cells), _notes(point)]


def _caches(shares: Mapping[str, float | None]) -> str:
    """Hit rates as the engine tells them.

    >>> _caches({"prefix cache": 0.02, "picture cache": None})
    'prefix 2%'
    """
    return ", ".join(
        f"{name.removesuffix(' cache')} {share:.0%}" for name, share in shares.items() if share is not None
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 100 else f"{value:.3g}"


def _notes(point: Point) -> str:
    notes = []
    if point["saturated"]:
        notes.append("more sent than served")
    if point["client"]["was_the_limit"]:
        notes.append("the client was the limit: see its lag in summary.json")
    if point.get("inputs_used_again"):
        notes.append("inputs used again: caches may know them")
    if point["level"] and not point["level_met"]:
        notes.append("level not met")
    return "; ".join(notes)


def markdown(points: Sequence[Point], header: Mapping[str, Any]) -> str:
    """The table with its conditions."""
    lines = [f"# {header['title']}", "", header["conditions"], "", f"`{header['command']}`", ""]
    table = rows(points)
    lines += [f"| {' | '.join(row)} |" for row in (table[0], ["---"] * len(table[0]), *table[1:])]
    lines += ["", NOTES.rstrip()]
    if header.get("highest"):
        lines += ["", header["highest"]]
    for point in points:
        if point.get("server_stages"):
            lines += ["", f"Stages at {named(point)}, means: {_stages(point)}"]
    return "\n".join(lines) + "\n"


def _stages(point: Point) -> str:
    client = [f"{name.removesuffix('_ms')} {value:g} ms" for name, value in point["client_stages_ms"].items() if value]
    server = [f"{name} {stage['mean_ms']:g} ms" for name, stage in point["server_stages"].items()]
    return ", ".join([*(f"client {each}" for each in client), *server])


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1f2937; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; }} code {{ background: #f3f4f6; padding: .1em .3em; overflow-wrap: anywhere; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }}
th, td {{ padding: .3rem .6rem; border-bottom: 1px solid #e5e7eb; text-align: right; white-space: nowrap; }}
th:first-child, td:first-child, td:last-child {{ text-align: left; }}
td:last-child {{ white-space: normal; color: #b91c1c; min-width: 12rem; }}
img {{ max-width: 100%; height: auto; margin: 1rem 0; }}
summary {{ cursor: pointer; }} pre {{ font-size: 12px; overflow-x: auto; }}
.key {{ background: #eff6ff; padding: .6rem 1rem; border-left: 3px solid #2563eb; }}
</style>
<h1>{title}</h1>
<p>{conditions}</p>
<p><code>{command}</code></p>
{highest}
<div class="wide">{table}</div>
<ul>{notes}</ul>
{plots}
<details><summary>Everything, as JSON</summary><pre>{json}</pre></details>
</html>
"""


def page(points: Sequence[Point], header: Mapping[str, Any], plots: Iterable[Path]) -> str:
    """One HTML file, pictures inside."""
    table = rows(points)
    head = "".join(f"<th scope=col>{html.escape(cell)}</th>" for cell in table[0])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table[1:])
    return PAGE.format(
        title=html.escape(header["title"]),
        conditions=html.escape(header["conditions"]),
        command=html.escape(header["command"]),
        highest=f'<p class="key">{html.escape(header["highest"])}</p>' if header.get("highest") else "",
        table=f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>",
        notes="".join(f"<li>{html.escape(note.removeprefix('- '))}</li>" for note in NOTES.strip().split("\n")),
        plots="".join(_image(path) for path in plots),
        json=html.escape(json.dumps({"about": dict(header), "points": list(points)}, indent=1)),
    )


def _image(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}">\n'
