"""The kill test: engines are killed under sixteen callers, round after round, before each gateway in turn.

    python -m benchmarks.failover [--rounds 10] [--engines 2] [--only ours,nginx,haproxy,vllm-router,litellm]

Prints a table in Markdown, then one line of JSON, and keeps that in benchmarks/results/.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import uvloop

from benchmarks.failover.callers import Callers, Load, Tally
from benchmarks.failover.engines import EngineProcess
from benchmarks.failover.gateways import GATEWAYS, ROOT, Place
from benchmarks.failover.report import save, table
from benchmarks.overhead.mock import MODEL
from benchmarks.overhead.processes import Running, free_ports
from benchmarks.overhead.rivals import API_KEY, NotHere

TOKENS = 40
STEP_MS = 10
START_S = 180


@dataclass(frozen=True, slots=True)
class Row:
    """One gateway's outcome."""

    gateway: str
    version: str
    engines: int
    rounds: int
    ended: dict[str, dict[str, int]]
    slowest_s: float
    recovered: bool
    """Whether every engine got requests again after the last round."""
    failures: list[str]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failover", description=__doc__.split("\n")[0])
    parser.add_argument("--only", default=",".join(GATEWAYS), help="gateways to run, by comma")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--engines", type=int, default=2)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--up-s", type=float, default=1.5, help="before each kill")
    parser.add_argument("--down-s", type=float, default=2, help="until the engine is started again")
    parser.add_argument("--no-save", action="store_true", help="do not write benchmarks/results/ and the README")
    return parser.parse_args()


async def until_answered(url: str, load: Load, running: Running) -> None:
    """Wait for the gateway's first right answer."""
    body = {"model": load.model, "messages": [{"role": "user", "content": "ready?"}], "max_tokens": 1}
    deadline_s = time.monotonic() + START_S
    async with httpx2.AsyncClient(base_url=url, headers=load.headers, timeout=10) as client:
        while time.monotonic() < deadline_s and not running.ended():
            try:
                if (await client.post(load.chat_path, json=body)).status_code == 200:
                    return
            except httpx2.HTTPError:
                pass
            await asyncio.sleep(0.2)
    raise running.failure()


async def asked(engine: EngineProcess) -> int:
    """Requests that an engine got since it was started."""
    async with httpx2.AsyncClient(base_url=engine.url, timeout=10) as client:
        return int((await client.get("/mock/stats")).json()["requests"])


async def rounds(engines: list[EngineProcess], callers: Callers, options: argparse.Namespace) -> tuple[Tally, bool]:
    """Kill and start, in turn; the outcomes, and whether all engines work at the end."""
    await callers.start()
    for number in range(options.rounds):
        engine = engines[number % len(engines)]
        await asyncio.sleep(options.up_s)
        engine.kill()
        await asyncio.sleep(options.down_s)
        await engine.start()
    await asyncio.sleep(2 + options.up_s)
    recovered = all([await asked(engine) > 0 for engine in engines])
    return await callers.stop(), recovered


async def measure(name: str, options: argparse.Namespace, folder: Path) -> Row:
    flags = ("--interval-ms", str(STEP_MS), "--json-ms", str(TOKENS * STEP_MS), "--own-words")
    engines = [EngineProcess(folder, number, *flags) for number in range(options.engines)]
    await asyncio.gather(*(engine.start() for engine in engines))
    try:
        port, metrics_port = free_ports(2)
        start = GATEWAYS[name](Place([engine.url for engine in engines], MODEL, port, metrics_port, folder))
        running = Running(name, start.command, options.core, folder / f"{name}.log", start.environment)
        try:
            load = Load(MODEL, options.callers, TOKENS, headers={"authorization": f"Bearer {API_KEY}"})
            url = f"http://127.0.0.1:{port}"
            await until_answered(url, load, running)
            tally, recovered = await rounds(engines, Callers(url, load), options)
        finally:
            running.stop()
    finally:
        for engine in engines:
            engine.kill()
    ended = {kind: dict(counts) for kind, counts in sorted(tally.ended.items())}
    return Row(
        name,
        start.version,
        options.engines,
        options.rounds,
        ended,
        round(tally.slowest_s, 2),
        recovered,
        tally.failures,
    )


async def run(options: argparse.Namespace) -> list[Row]:
    rows = []
    for name in options.only.split(","):
        with TemporaryDirectory(prefix="failover-") as folder:
            try:
                rows.append(await measure(name, options, Path(folder)))
            except NotHere as exc:
                print(f"{name}: {exc}", file=sys.stderr)
                continue
        print(table([asdict(rows[-1])]), file=sys.stderr, flush=True)
    return rows


def main() -> None:
    options = arguments()
    options.core = max(os.sched_getaffinity(0))
    rows = [asdict(row) for row in uvloop.run(run(options))]
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "callers": options.callers,
        "tokens": TOKENS,
        "step_ms": STEP_MS,
        "rows": rows,
    }
    print(table(rows))
    print(json.dumps(record))
    if not options.no_save:
        save(record, ROOT)


if __name__ == "__main__":
    main()
