"""Writes deploy/grafana/dashboards/qwenvl.json from the table below; `--check` says whether it is current.

python deploy/grafana/make.py [--check]
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent / "dashboards" / "qwenvl.json"
GATEWAY = 'instance=~"$gateway"'
ENGINE = 'instance=~"$engine"'
WIDTH, HEIGHT, COLUMNS = 8, 8, 24


@dataclass(frozen=True)
class Panel:
    """One graph: what it shows, in which unit, and `{legend: PromQL}`."""

    title: str
    unit: str
    queries: dict[str, str]
    description: str = ""


def late(metric: str, by: str = "instance", where: str = ENGINE, part: float = 0.95) -> dict[str, str]:
    """The time that 95 of 100 stay under, from a histogram."""
    speed = f"sum by ({by}, le) (rate({metric}_bucket{{{where}}}[$__rate_interval]))"
    return {f"{{{{{by}}}}}": f"histogram_quantile({part}, {speed})"}


def speed(metric: str, by: str = "instance", where: str = ENGINE) -> str:
    """A counter's rate a second."""
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def level(metric: str, by: str = "instance", where: str = ENGINE, how: str = "sum") -> str:
    """A gauge."""
    return f"{how} by ({by}) ({metric}{{{where}}})"


def found(cache: str) -> str:
    """The share of queries that a cache of vLLM had an answer to; nothing while none are asked."""
    hits, queries = speed(f"vllm:{cache}_cache_hits_total"), speed(f"vllm:{cache}_cache_queries_total")
    return f"{hits} / ({queries} > 0)"


V1 = f'{GATEWAY}, path=~"/v1/.*"'
ROWS: dict[str, list[Panel]] = {
    "Callers": [
        Panel("Requests", "reqps", {"{{path}}": speed("qvl_requests_total", "path", V1)}),
        Panel(
            "Answers that are no 200",
            "reqps",
            {"{{status}}": speed("qvl_requests_total", "status", V1 + ', status!="200"')},
        ),
        Panel("In flight", "short", {"{{instance}}": level("qvl_requests_in_flight", where=GATEWAY)}),
        Panel("First byte, 95 of 100", "s", late("qvl_time_to_first_byte_seconds", "path", V1)),
        Panel("Whole answer, 95 of 100", "s", late("qvl_request_duration_seconds", "path", V1)),
        Panel("Whole answer, median", "s", late("qvl_request_duration_seconds", "path", V1, 0.5)),
        Panel("First token of streams, 95 of 100", "s", late("qvl_time_to_first_token_seconds", "path", V1)),
        Panel("Time a token of streams, median", "s", late("qvl_time_per_output_token_seconds", "path", V1, 0.5)),
        Panel(
            "Tokens by key",
            "short",
            {"{{caller}} {{kind}}": speed("qvl_caller_tokens_total", "caller, kind", GATEWAY)},
            "Of prompts and answers, a second.",
        ),
    ],
    "Room": [
        Panel("Places", "short", {"{{kind}}": level("qvl_places", "kind", GATEWAY)}, "Taken, and those there are."),
        Panel("Waiting for a place", "short", {"{{instance}}": level("qvl_requests_waiting", where=GATEWAY)}),
        Panel("Turned away", "reqps", {"{{reason}}": speed("qvl_refused_total", "reason", GATEWAY)}),
    ],
    "Answers": [
        Panel("Stages, 95 of 100", "s", late("qvl_stage_seconds", "stage", GATEWAY)),
        Panel("Repaired, clipped, dropped", "short", {"{{code}}": speed("qvl_warnings_total", "code", GATEWAY)}),
        Panel("Cut for going round", "short", {"{{path}}": speed("qvl_loops_cut_total", "path", GATEWAY)}),
    ],
    "Media": [
        Panel("Fetching and decoding, 95 of 100", "s", late("qvl_media_seconds", "path", GATEWAY)),
        Panel("Visual tokens a second", "short", {"{{path}}": speed("qvl_visual_tokens_total", "path", GATEWAY)}),
        Panel(
            "Fields taken out of requests",
            "reqps",
            {"{{path}}": speed("qvl_stripped_fields_total", "path", GATEWAY)},
            "Clients that try to steer what belongs to the operator.",
        ),
    ],
    "Engines, as the gateways see them": [
        Panel(
            "Ready",
            "short",
            {"{{engine}}": level("qvl_engine_ready", "engine", GATEWAY, "min")},
            "0: takes no requests.",
        ),
        Panel(
            "Pictures where they are cached",
            "short",
            {"{{outcome}}": speed("qvl_affinity_total", "outcome", GATEWAY)},
            "Requests a second: to the engine that holds them, new to all, or elsewhere for its load.",
        ),
        Panel("Asked of another engine", "short", {"{{code}}": speed("qvl_engine_retries_total", "code", GATEWAY)}),
        Panel("Taken out", "short", {"{{state}}": speed("qvl_engine_ejections_total", "state", GATEWAY)}),
        Panel(
            "Streams that lost their engine",
            "short",
            {"{{outcome}}": speed("qvl_streams_cut_total", "outcome", GATEWAY)},
        ),
        Panel("Our requests", "short", {"{{engine}}": level("qvl_engine_requests_in_flight", "engine", GATEWAY)}),
    ],
    "Engines, as vLLM tells": [
        Panel(
            "Running and waiting",
            "short",
            {
                "{{instance}} running": level("vllm:num_requests_running"),
                "{{instance}} waiting": level("vllm:num_requests_waiting"),
            },
        ),
        Panel(
            "Tokens a second",
            "short",
            {
                "{{instance}} written": speed("vllm:generation_tokens_total"),
                "{{instance}} read": speed("vllm:prompt_tokens_total"),
            },
        ),
        Panel("KV cache in use", "percentunit", {"{{instance}}": level("vllm:kv_cache_usage_perc", how="max")}),
        Panel("Time to first token, 95 of 100", "s", late("vllm:time_to_first_token_seconds")),
        Panel("Between two tokens, 95 of 100", "s", late("vllm:inter_token_latency_seconds")),
        Panel("Queue in the engine, 95 of 100", "s", late("vllm:request_queue_time_seconds")),
        Panel(
            "Found in caches",
            "percentunit",
            {"{{instance}} prefix": found("prefix"), "{{instance}} pictures": found("mm")},
        ),
        Panel(
            "Steps a second",
            "short",
            {"{{instance}}": speed("vllm:iteration_tokens_total_count")},
            "0 with requests running: it is stuck.",
        ),
        Panel(
            "Work thrown away for room", "short", {"{{instance}}": speed("vllm:num_preemptions_total")}, "Preemptions."
        ),
    ],
}


def graph(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    """A time series as Grafana's schema wants it."""
    targets = [
        {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend, "datasource": SOURCE}
        for place, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": LINES}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }


LINES = {"fillOpacity": 8, "lineWidth": 1}
SOURCE = {"type": "prometheus", "uid": "prometheus"}


def variable(name: str, label: str, query: str) -> dict[str, Any]:
    """A choice at the top of the page, all by default."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


def dashboard() -> dict[str, Any]:
    """The whole page."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        place_of_row = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "gridPos": place_of_row, "panels": []})
        y += 1
        for place, panel in enumerate(row):
            x = place * WIDTH % COLUMNS
            panels.append(graph(panel, len(panels) + 1, x, y + place * WIDTH // COLUMNS * HEIGHT))
        y += -(-len(row) * WIDTH // COLUMNS) * HEIGHT
    return {
        "uid": "qwenvl",
        "title": "Qwen2.5-VL",
        "tags": ["vllm"],
        "schemaVersion": 41,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "templating": {
            "list": [
                variable("gateway", "Gateway", "label_values(qvl_requests_in_flight, instance)"),
                variable("engine", "Engine", "label_values(vllm:num_requests_running, instance)"),
            ]
        },
        "annotations": {"list": []},
        "panels": panels,
    }


def main() -> int:
    """Write, or check."""
    text = json.dumps(dashboard(), indent=1) + "\n"
    if "--check" in sys.argv:
        return int(not TARGET.is_file() or TARGET.read_text() != text)
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
