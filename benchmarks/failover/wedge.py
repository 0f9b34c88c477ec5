"""The wedge test before real engines on the CPU: they stand still (SIGSTOP), whole or their core alone, and go on.

    python -m benchmarks.failover.wedge [--engines 2] [--rounds 2] [--model demo/checkpoint]

vLLM's API process and its core are two: where the core alone stands still, `/health` goes on saying 200. Both kinds are
done to each engine in turn, under the callers of `benchmarks.failover.real`, when the engine has something to do. After
`--still-s` it goes on, with whatever it was asked before.
"""

import argparse
import asyncio
import json
import os
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import uvloop

from benchmarks.failover.callers import Callers
from benchmarks.failover.real import called, keep, row, started
from benchmarks.overhead.rivals import ROOT
from server.engines.guard import family
from server.engines.launcher import EngineProcess
from server.engines.unix import is_healthy

DEMO = ROOT / "demo" / "checkpoint"
KINDS = ("whole", "core alone")
CORE = "EngineCore"
"""In the command line that vLLM gives its core."""
EJECTED_S, BACK_S = 60.0, 60.0
"""Longest waits: a test that never sees it ends."""
HEALTH_S = 1.0
LEAST = 5
"""Requests that an engine has before it stands still: of sixteen callers, after its slow start."""
LOOK_S = 0.05


class Wedged(Exception):
    """It never came to what was waited for."""


def processes(engine: EngineProcess, kind: str) -> list[int]:
    """Process ids of what stands still of an engine."""
    assert engine.pid is not None
    found = family(engine.pid)
    return [pid for pid, command in found.items() if kind == "whole" or CORE in command]


async def card(client: httpx2.AsyncClient, engine: EngineProcess) -> dict[str, Any]:
    """How the gateway sees an engine."""
    cards = (await client.get("/v1/engines")).json()["data"]
    found: dict[str, Any] = next(card for card in cards if card["engine"] == engine.url)
    return found


async def seen(client: httpx2.AsyncClient, engine: EngineProcess, *, ready: bool, within_s: float) -> float:
    """Seconds until the gateway holds it for ready, or not."""
    began_s = time.monotonic()
    while (await card(client, engine))["ready"] != ready:
        if time.monotonic() - began_s > within_s:
            raise Wedged(f"the engine is not {'ready' if ready else 'ejected'} after {within_s:g} s")
        await asyncio.sleep(LOOK_S)
    return time.monotonic() - began_s


async def wedge(client: httpx2.AsyncClient, engine: EngineProcess, kind: str, still_s: float) -> dict[str, Any]:
    """One engine stands still and goes on; what the gateway made of it."""
    stopped = processes(engine, kind)
    await until_asked(client, engine, LEAST)
    began_s = time.monotonic()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        in_flight = (await card(client, engine))["in_flight"]
        ejected_s = await seen(client, engine, ready=False, within_s=EJECTED_S)
        reason = (await card(client, engine))["reason"]
        health_is_200 = await is_healthy(Path(engine.url.removeprefix("unix:")), HEALTH_S)
        await asyncio.sleep(max(0.0, began_s + still_s - time.monotonic()))
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    return {
        "stands_still": kind,
        "processes": len(stopped),
        "in_flight": in_flight,
        "ejected_s": round(ejected_s, 1),
        "reason": reason,
        "health_is_200": health_is_200,
        "still_s": still_s,
        "back_s": round(await seen(client, engine, ready=True, within_s=BACK_S), 1),
    }


async def until_asked(client: httpx2.AsyncClient, engine: EngineProcess, requests: int) -> None:
    """Until it has so many requests."""
    deadline_s = time.monotonic() + BACK_S
    while (await card(client, engine))["in_flight"] < requests:
        if time.monotonic() > deadline_s:
            raise Wedged(f"the engine has not {requests} requests after {BACK_S:g} s")
        await asyncio.sleep(LOOK_S)


async def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    wedges: list[dict[str, Any]] = []
    async with (
        started(options.engines, options.model) as engines,
        called(engines, folder) as (url, callers),
        httpx2.AsyncClient(base_url=url, timeout=30) as client,
    ):
        for number in range(options.rounds * len(KINDS)):
            await until_all_ready(client, engines, callers)
            engine = engines[number // len(KINDS) % len(engines)]
            wedges.append(await wedge(client, engine, KINDS[number % len(KINDS)], options.still_s))
            await until_asked(client, engine, 1)  # it is back for callers too
            print(json.dumps(wedges[-1]), flush=True)
        tally = await callers.stop()
    slowest_s = {kind: round(took_s, 2) for kind, took_s in sorted(tally.slowest.items())}
    return {**row(tally, len(engines), len(wedges)), "slowest_by_kind_s": slowest_s, "wedges": wedges}


async def until_all_ready(client: httpx2.AsyncClient, engines: list[EngineProcess], callers: Callers) -> None:
    """And some answers later."""
    for engine in engines:
        await seen(client, engine, ready=True, within_s=BACK_S)
    goal = callers.tally.count("json") + 8
    while callers.tally.count("json") < goal:
        await asyncio.sleep(LOOK_S)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failover.wedge", description=__doc__.split("\n")[0])
    parser.add_argument("--engines", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2, help="each is both kinds, on one engine")
    parser.add_argument("--still-s", type=float, default=20)
    parser.add_argument("--model", type=Path, default=DEMO)
    options = parser.parse_args()
    with TemporaryDirectory(prefix="wedge-") as folder:
        outcome = uvloop.run(run(options, Path(folder)))
    keep("wedge", options.engines, [outcome])


if __name__ == "__main__":
    main()
