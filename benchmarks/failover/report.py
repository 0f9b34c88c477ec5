"""The kill test's table, and where it is kept."""

import json
from pathlib import Path
from typing import Any

from benchmarks.generated import into_readme

COLUMNS = (
    "gateway",
    "engines",
    "rounds",
    "not streamed: failed / all",
    "resumable streams: whole / all",
    "told of a failure",
    "torn",
    "others: whole, told, torn",
    "slowest",
    "all engines back",
)
HEAD = f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}"


def table(rows: list[dict[str, Any]]) -> str:
    """In Markdown, a row a gateway.

    >>> row = {"gateway": "g", "version": "1", "engines": 2, "rounds": 1, "slowest_s": 1.0, "recovered": True}
    >>> table([{**row, "ended": {"json": {"whole": 3, "refused": 1}}}]).splitlines()[-1]
    '| g 1 | 2 | 1 | 1 / 4 | 0 / 0 | 0 | 0 | 0, 0, 0 | 1.0 s | yes |'
    """
    return "\n".join([HEAD, *map(_row, rows)])


def _row(row: dict[str, Any]) -> str:
    json_, stream, last = (row["ended"].get(kind, {}) for kind in ("json", "stream", "last-word"))
    asked = sum(json_.values())
    torn = sum(stream.get(kind, 0) for kind in ("torn", "wrong", "refused", "hung"))
    last_torn = sum(last.get(kind, 0) for kind in ("torn", "wrong", "refused", "hung"))
    cells = [
        f"{row['gateway']} {row['version']}",
        row["engines"],
        row["rounds"],
        f"{asked - json_.get('whole', 0)} / {asked}",
        f"{stream.get('whole', 0)} / {sum(stream.values())}",
        stream.get("told", 0),
        torn,
        f"{last.get('whole', 0)}, {last.get('told', 0)}, {last_torn}",
        f"{row['slowest_s']} s",
        "yes" if row["recovered"] else "no",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def save(record: dict[str, Any], root: Path) -> None:
    """Keep the record, and write its table into the README beside this file."""
    engines = record["rows"][0]["engines"]
    name = f"failover-{engines}-engines-{record['date']}.json"
    (root / "benchmarks" / "results" / name).write_text(json.dumps(record, indent=1) + "\n")
    readme = root / "benchmarks" / "failover" / "README.md"
    into_readme(readme, f"table {engines}", table(record["rows"]))
