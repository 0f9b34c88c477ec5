"""Figures as a table, as JSON, and as one line with the conditions they were taken under."""

import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from benchmarks.accuracy.figures import Figures
from benchmarks.accuracy.slices import Slice

ROOT = Path(__file__).resolve().parents[2]


def table(figures: Figures, needed: Mapping[str, str] | None = None) -> str:
    """Markdown; `needed` adds a column of limits and whether they hold."""
    head = ["figure", "value", "over"] + (["needed"] if needed else [])
    rows = []
    for name, figure in figures.items():
        row = [name, number(figure.value), f"{figure.count:,} {figure.of}"]
        rows.append([*row, needed.get(name, "")] if needed else row)
    return markdown(head, rows)


def number(value: float) -> str:
    """
    >>> number(0.98765), number(3.0), number(123.456)
    ('0.988', '3', '123')
    """
    return f"{value:.3g}" if value != int(value) else f"{int(value):,}"


def slice_tables(slices: Sequence[Slice]) -> str:
    """A table for each kind, a row a slice."""
    tables = []
    for kind in dict.fromkeys(each["kind"] for each in slices):
        rows = [each for each in slices if each["kind"] == kind]
        names = [name for name in rows[0] if name not in ("kind", "by", "is")]
        body = [
            [f"{each['by']}: {each['is']}", *("" if each[name] is None else str(each[name]) for name in names)]
            for each in rows
        ]
        tables.append(markdown([f"{kind} by", *names], body))
    return "\n\n".join(tables)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """
    >>> print(markdown(["a", "b"], [["1", "2"]]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summary(
    figures: Figures,
    slices: Sequence[Slice],
    distributions: Mapping[str, list[int]],
    run: Mapping[str, Any],
    command: str,
) -> dict[str, Any]:
    """All of it as JSON."""
    return {
        "benchmark": "accuracy",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(),
        "command": command,
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
        **run,
        "figures": {
            name: {"value": round(figure.value, 4), "over": figure.count, "of": figure.of}
            for name, figure in figures.items()
        },
        "distributions": dict(distributions),
        "slices": list(slices),
    }


def cpu_name() -> str:
    """As Linux tells it; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def commit() -> str:
    """The commit that asked, with `+` if the server or this benchmark differ from it; empty outside a repository."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "server", "benchmarks/accuracy"], capture_output=True)
    return head + ("+" if changed.stdout.strip() else "")


def write(folder: Path, report: Mapping[str, Any], tables: str) -> None:
    """`figures.json` and `table.md`."""
    (folder / "figures.json").write_bytes(orjson.dumps(dict(report), option=orjson.OPT_INDENT_2) + b"\n")
    (folder / "table.md").write_text(tables + "\n", encoding="utf-8")
