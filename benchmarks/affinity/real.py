"""The same questions before real engines on the CPU, ours beside nginx's round robin: what do vLLM's own caches say?

    python -m benchmarks.affinity.real [--engines 2] [--rounds 3] [--no-save]

Each round asks about pictures that no engine has met, before one gateway and then before the other. Hits are counted by
the engines (`vllm:mm_cache_hits_total`, and tokens of `vllm:prefix_cache_hits_total`), times by the caller. Prints a
table in Markdown, then one line of JSON.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import uvloop

from benchmarks.affinity.__main__ import GATEWAYS, PICTURES
from benchmarks.affinity.asking import QUESTIONS, ask_all, bodies, of_repeats
from benchmarks.failover.__main__ import until_answered
from benchmarks.failover.callers import Load
from benchmarks.failover.gateways import Place
from benchmarks.failover.real import START_S, engine
from benchmarks.overhead.processes import Running, free_ports
from benchmarks.overhead.rivals import ROOT
from server.engines.checkpoints import DEMO
from server.engines.launcher import EngineProcess

MODEL = "qwen2.5-vl"
COMPARED = ("ours", "nginx, round robin")
COUNTED = {
    "pictures": "vllm:mm_cache_queries_total",
    "picture_hits": "vllm:mm_cache_hits_total",
    "prefix_hit_tokens": "vllm:prefix_cache_hits_total",
    "prefix_tokens": "vllm:prefix_cache_queries_total",
}
REPEATS = PICTURES * (len(QUESTIONS) - 1)


async def counted(engines: Sequence[EngineProcess]) -> dict[str, list[float]]:
    """Each figure of COUNTED, engine by engine."""
    found: dict[str, list[float]] = {name: [] for name in COUNTED}
    for one in engines:
        transport = httpx2.AsyncHTTPTransport(uds=one.url.removeprefix("unix:"))
        async with httpx2.AsyncClient(transport=transport, base_url="http://engine") as client:
            lines = (await client.get("/metrics")).text.splitlines()
        for name, metric in COUNTED.items():
            found[name].append(sum(float(line.split()[-1]) for line in lines if line.startswith(f"{metric}{{")))
    return found


async def asked(name: str, engines: Sequence[EngineProcess], seed: int, at_once: int, folder: Path) -> dict[str, Any]:
    """One round before one gateway."""
    port, metrics_port = free_ports(2)
    url = f"http://127.0.0.1:{port}"
    start = GATEWAYS[name](Place([one.url for one in engines], MODEL, port, metrics_port, folder))
    running = Running("gateway", start.command, max(os.sched_getaffinity(0)), folder / "log", start.environment)
    try:
        await until_answered(url, Load(MODEL), running)
        before = await counted(engines)
        requests = bodies(MODEL, PICTURES, seed)
        took_s = await ask_all(url, requests, at_once, {})
        after = await counted(engines)
    finally:
        running.stop()
    grown = {figure: [round(b - a) for a, b in zip(before[figure], after[figure], strict=True)] for figure in COUNTED}
    return {
        "gateway": name,
        "version": start.version,
        **grown,
        "first_text_s": round(statistics.median(of_repeats(requests, took_s)), 3),
    }


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    engines = [engine(DEMO) for _ in range(options.engines)]
    rows = []
    try:
        for one in engines:
            await one.start()
        await asyncio.wait_for(asyncio.gather(*(one.wait_ready() for one in engines)), START_S)
        for number in range(options.rounds):
            for at, name in enumerate(COMPARED):
                with TemporaryDirectory(prefix="affinity-") as folder:
                    seed = 1 + number * len(COMPARED) + at
                    rows.append(await asked(name, engines, seed, options.at_once, Path(folder)))
                print(rows[-1], file=sys.stderr, flush=True)
    finally:
        await asyncio.gather(*(one.stop() for one in engines))
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each gateway, its rounds together."""
    heads = (
        "gateway",
        "requests of each engine",
        "repeats whose picture vLLM had",
        "prompt tokens it had",
        "first text of repeats, median",
    )
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for name in dict.fromkeys(row["gateway"] for row in rows):
        mine = [row for row in rows if row["gateway"] == name]
        requests = " + ".join(str(sum(each)) for each in zip(*(row["pictures"] for row in mine), strict=True))
        hits = sum(sum(row["picture_hits"]) for row in mine)
        had, all_tokens = (sum(sum(row[key]) for row in mine) for key in ("prefix_hit_tokens", "prefix_tokens"))
        first_ms = 1000 * statistics.median(row["first_text_s"] for row in mine)
        cells = (
            f"{name} ({mine[0]['version']})",
            requests,
            f"{hits} / {REPEATS * len(mine)}",
            f"{had / all_tokens:.0%}",
            f"{first_ms:.0f} ms",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.affinity.real", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--engines", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=4, help="questions under way at once")
    parser.add_argument("--no-save", action="store_true", help="do not write benchmarks/results/")
    options = parser.parse_args()
    rows = uvloop.run(run(options))
    record = {"date": time.strftime("%Y-%m-%d"), "pictures": PICTURES, "at_once": options.at_once, "rows": rows}
    print(table(rows))
    print(json.dumps(record))
    if not options.no_save:
        file = ROOT / "benchmarks" / "results" / f"affinity-real-{options.engines}-engines-{record['date']}.json"
        file.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
