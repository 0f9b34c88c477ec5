"""Draws the dashboard as one picture from what a Prometheus holds, where there is no Grafana to open.

.venv/bin/python -m deploy.grafana.draw --prometheus http://127.0.0.1:9090 --minutes 15 --out dashboard.png
"""

import argparse
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deploy.grafana.make import COLUMNS, dashboard

POINTS = 240
"""Of each line."""
MOST_LINES = 8
"""Named below a panel; more are drawn, and counted."""
COLUMN_IN, ROW_IN = 0.75, 0.42
"""Of the dashboard's grid, in inches."""
UNITS = {"reqps": "requests/s", "s": "s", "short": "", "percentunit": "share"}
STYLE: Any = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "legend.fontsize": 7,
}


@dataclass(frozen=True)
class Line:
    """One series of a panel: its legend, times in s from now (at most 0), values."""

    legend: str
    times_s: Sequence[float]
    values: Sequence[float]


def filled(query: str, interval_s: int) -> str:
    """PromQL with the dashboard's variables filled in: all gateways, all engines.

    >>> filled('rate(qvl_requests_total{instance=~"$gateway"}[$__rate_interval])', 30)
    'rate(qvl_requests_total{instance=~".*"}[30s])'
    """
    for name, value in {"$gateway": ".*", "$engine": ".*", "$__rate_interval": f"{interval_s}s"}.items():
        query = query.replace(name, value)
    return query


def named(template: str, labels: Mapping[str, str]) -> str:
    """A legend as Grafana fills it in.

    >>> named("{{caller}} {{kind}}", {"caller": "ann", "kind": "prompt"})
    'ann prompt'
    """
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found[1], ""), template)


class History:
    """What a Prometheus holds of the last minutes.

    Raises:
        httpx2.HTTPError: it can't be reached, or refuses a query.
    """

    def __init__(self, url: str, span_s: float, interval_s: int) -> None:
        self._client = httpx2.Client(base_url=url, timeout=30)
        self._span_s, self._interval_s = span_s, interval_s
        self._now = time.time()

    def __enter__(self) -> "History":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def lines(self, targets: Sequence[Mapping[str, Any]]) -> list[Line]:
        """The series of a panel's queries."""
        found = []
        for target in targets:
            params = {
                "query": filled(target["expr"], self._interval_s),
                "start": f"{self._now - self._span_s:.3f}",
                "end": f"{self._now:.3f}",
                "step": f"{max(1.0, self._span_s / POINTS):.3f}",
            }
            answer = self._client.get("/api/v1/query_range", params=params).raise_for_status()
            for series in answer.json()["data"]["result"]:
                at, values = zip(*series["values"], strict=True)
                legend = named(target["legendFormat"], series["metric"])
                found.append(Line(legend, [t - self._now for t in at], [float(value) for value in values]))
        return found


def draw_panel(axes: Axes, panel: Mapping[str, Any], lines: Sequence[Line]) -> None:
    """One graph; a panel without data says so."""
    axes.set_title(panel["title"], weight="bold")
    axes.set_ylabel(UNITS[panel["fieldConfig"]["defaults"]["unit"]])
    if not lines:
        axes.text(0.5, 0.5, "no data", ha="center", va="center", transform=axes.transAxes, color="#9ca3af")
        axes.set(xticks=[], yticks=[])
        return
    lines = sorted(lines, key=lambda line: -max(line.values))
    for place, line in enumerate(lines):
        label = line.legend if place < MOST_LINES else "_"
        axes.plot(line.times_s, line.values, linewidth=1, label=label)
    axes.set_ylim(bottom=0)
    if (more := len(lines) - MOST_LINES) > 0:
        axes.plot([], [], " ", label=f"and {more} more")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, handlelength=1)


def drawn(page: Mapping[str, Any], history: History) -> Figure:
    """The dashboard's panels, each where the dashboard has it."""
    panels = page["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMNS * COLUMN_IN, rows * ROW_IN))
        for panel in panels:
            place = panel["gridPos"]
            left, top = place["x"] / COLUMNS, 1 - place["y"] / rows
            if panel["type"] == "row":
                figure.text(0.005, top - 0.7 / rows, panel["title"], size=12, weight="bold")
                continue
            # A panel's margins are for its title, its ticks and its legend.
            x, y = left + 1.2 / COLUMNS, top - (place["h"] - 2.4) / rows
            axes = figure.add_axes((x, y, (place["w"] - 1.8) / COLUMNS, (place["h"] - 3.4) / rows))
            draw_panel(axes, panel, history.lines(panel["targets"]))
    return figure


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its URL")
    parser.add_argument("--minutes", type=float, default=60, help="how far back")
    parser.add_argument("--interval-s", type=int, default=60, help="over which rates are taken: 4 scrapes or more")
    parser.add_argument("--out", type=Path, default=Path("dashboard.png"))
    options = parser.parse_args()
    try:
        with History(options.prometheus, options.minutes * 60, options.interval_s) as history:
            figure = drawn(dashboard(), history)
    except httpx2.HTTPError as error:
        parser.exit(1, f"{options.prometheus}: {error}\n")
    figure.savefig(options.out, dpi=100)
    sys.stdout.write(f"{options.out}\n")


if __name__ == "__main__":
    main()
