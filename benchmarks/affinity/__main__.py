"""Twelve pictures, four questions each, before two engines: who sends a question where its picture is cached?

    python -m benchmarks.affinity [--only ours,round-robin,vllm-router,...] [--at-once 4]

Prints a table in Markdown, then one line of JSON, and keeps both.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import uvloop

from benchmarks.affinity.asking import ask_all, bodies, of_repeats, shares, shown
from benchmarks.failover.__main__ import until_answered
from benchmarks.failover.callers import Load
from benchmarks.failover.engines import EngineProcess
from benchmarks.failover.gateways import Place, haproxy, nginx, ours, vllm_router
from benchmarks.generated import into_readme
from benchmarks.overhead.mock import MODEL
from benchmarks.overhead.processes import Running, free_ports
from benchmarks.overhead.rivals import API_KEY, ROOT, NotHere, Start

PICTURE_MS = 300
PICTURES = 12
README = ROOT / "benchmarks" / "affinity" / "README.md"


def vllm_router_with(policy: str) -> Callable[[Place], Start]:
    def start(place: Place) -> Start:
        found = vllm_router(place)
        return replace(found, command=[policy if word == "round_robin" else word for word in found.command])

    return start


def nginx_round_robin(place: Place) -> Start:
    found = nginx(place)
    configuration = Path(found.command[-1])
    configuration.write_text(configuration.read_text().replace("least_conn;", ""))
    return found


GATEWAYS: dict[str, Callable[[Place], Start]] = {
    "ours": ours,
    "nginx, round robin": nginx_round_robin,
    "HAProxy, leastconn": haproxy,
    "vllm-router, round_robin": vllm_router,
    "vllm-router, cache_aware": vllm_router_with("cache_aware"),
    "vllm-router, consistent_hash": vllm_router_with("consistent_hash"),
}


@dataclass(frozen=True, slots=True)
class Row:
    gateway: str
    version: str
    requests: list[int]
    repeats: int
    cached: int
    first_text_s: float
    """Mean over all questions but each picture's first."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.affinity", description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="gateways to run, by semicolon")
    parser.add_argument("--at-once", type=int, default=4, help="questions under way at once")
    parser.add_argument("--no-save", action="store_true", help="do not write benchmarks/results/ and the README")
    return parser.parse_args()


async def measure(name: str, at_once: int, folder: Path) -> Row:
    flags = ("--picture-ms", str(PICTURE_MS), "--interval-ms", "5", "--keep-requests", "1000")
    engines = [EngineProcess(folder, number, *flags) for number in range(2)]
    await asyncio.gather(*(engine.start() for engine in engines))
    port, metrics_port = free_ports(2)
    url = f"http://127.0.0.1:{port}"
    load = Load(MODEL, headers={"authorization": f"Bearer {API_KEY}"})
    try:
        start = GATEWAYS[name](Place([engine.url for engine in engines], MODEL, port, metrics_port, folder))
        running = Running("gateway", start.command, max(os.sched_getaffinity(0)), folder / "log", start.environment)
        try:
            await until_answered(url, load, running)
            await asyncio.sleep(8)  # vllm-router takes so long to find its second engine
            asked = bodies(MODEL, PICTURES)
            took_s = await ask_all(url, asked, at_once, load.headers)
        finally:
            running.stop()
        async with httpx2.AsyncClient() as client:
            kept = [(await client.get(f"{engine.url}/mock/requests")).json() for engine in engines]
    finally:
        for engine in engines:
            engine.kill()
    found = shares([list(shown(requests)) for requests in kept])
    return Row(
        name,
        start.version,
        found.requests,
        found.repeats,
        found.cached,
        round(statistics.mean(of_repeats(asked, took_s)), 3),
    )


def table(rows: list[dict[str, Any]]) -> str:
    heads = (
        "gateway",
        "requests of each engine",
        "repeats where the picture is cached",
        "first text of repeats, mean",
    )
    lines = [f"| {' | '.join(heads)} |", "| --- | --- | --- | --- |"]
    for row in rows:
        cached = f"{row['cached']} / {row['repeats']}"
        requests = " + ".join(map(str, row["requests"]))
        lines.append(
            f"| {row['gateway']} ({row['version']}) | {requests} | {cached} | {row['first_text_s'] * 1000:.0f} ms |"
        )
    return "\n".join(lines)


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for name in options.only.split(";") if options.only else GATEWAYS:
        with TemporaryDirectory(prefix="affinity-") as folder:
            try:
                row = await measure(name, options.at_once, Path(folder))
            except NotHere as exc:
                print(f"{name}: {exc}", file=sys.stderr)
                continue
        rows.append({field: getattr(row, field) for field in row.__slots__})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def main() -> None:
    options = arguments()
    rows = uvloop.run(run(options))
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "pictures": PICTURES,
        "at_once": options.at_once,
        "picture_ms": PICTURE_MS,
        "rows": rows,
    }
    print(table(rows))
    print(json.dumps(record))
    if not options.no_save:
        (ROOT / "benchmarks" / "results" / f"affinity-{record['date']}.json").write_text(
            json.dumps(record, indent=1) + "\n"
        )
        into_readme(README, "table", table(rows))


if __name__ == "__main__":
    main()
