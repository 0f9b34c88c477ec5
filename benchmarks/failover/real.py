"""The kill test before real engines on the CPU, which are killed whole and brought back by their supervisors.

    python -m benchmarks.failover.real [--engines 2] [--rounds 3]

The model has random weights. Its answers are held to words that are one token each whatever stands before them, so that
at temperature 0 an answer that was taken up can be compared with the undisturbed one, which is asked for first.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import uvloop

from benchmarks.failover.__main__ import until_answered
from benchmarks.failover.callers import Callers, Load, Tally
from benchmarks.failover.report import table
from benchmarks.overhead.processes import Running, free_ports
from benchmarks.overhead.rivals import ROOT
from server.engines.checkpoints import RANDOM
from server.engines.guard import family
from server.engines.launcher import EngineProcess, launch
from server.settings import Settings

MODEL = "qwen2.5-vl"
TOKENS = 48
QUESTIONS = 16
WORDS = (" circle", " cross", " triangle", " square", " green", " blue", " red", " orange", " yellow", " purple")
START_S = 300


def engine(model: Path = RANDOM) -> EngineProcess:
    """One vLLM on the CPU, not yet started."""
    process, _ = launch(Settings(model=str(model)), on_progress=lambda _: None)
    process.on_log = lambda _: None
    return process


def kill(process: EngineProcess) -> None:
    """SIGKILL to every process of the engine, its supervisor's guard excepted."""
    assert process.pid is not None
    kill_family(process.pid)


def kill_family(guard: int) -> None:
    """SIGKILL to what descends from a guard."""
    for pid in family(guard):
        with contextlib.suppress(ProcessLookupError):  # it went with another one
            os.kill(pid, signal.SIGKILL)


async def word_tokens(url: str) -> list[int]:
    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
        answers = [await client.post("/tokenize", json={"model": MODEL, "prompt": word}) for word in WORDS]
    return [token for answer in answers for token in answer.json()["tokens"]]


async def undisturbed(url: str, load: Load) -> dict[int, str]:
    """What each question is answered when nothing happens."""
    async with httpx2.AsyncClient(base_url=url, timeout=120) as client:

        async def said(seed: int) -> str:
            answer = await client.post(load.chat_path, json=load.body(seed))
            return str(answer.json()["choices"][0]["message"]["content"])

        return {seed: await said(seed) for seed in range(load.questions)}


@asynccontextmanager
async def started(count: int, model: Path = RANDOM) -> AsyncIterator[list[EngineProcess]]:
    """Engines that are ready."""
    engines = [engine(model) for _ in range(count)]
    try:
        for one in engines:
            await one.start()
        await asyncio.wait_for(asyncio.gather(*(one.wait_ready() for one in engines)), START_S)
        yield engines
    finally:
        await asyncio.gather(*(one.stop() for one in engines))


@asynccontextmanager
async def called(engines: Sequence[EngineProcess], folder: Path, *words: str) -> AsyncIterator[tuple[str, Callers]]:
    """The URL of a gateway before them, started with `words`, and callers who know what they should be told."""
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "server", "--port", str(port), "--no-access-log", "--log-level", "warning"]
    command += [word for one in engines for word in ("--engine-url", one.url)]
    running = Running("gateway", [*command, *words], max(os.sched_getaffinity(0)), folder / "log")
    try:
        load = Load(MODEL, tokens=TOKENS, questions=QUESTIONS)
        await until_answered(url, load, running)
        load = replace(load, extra={"allowed_token_ids": await word_tokens(url), "ignore_eos": True})
        expected = await undisturbed(url, load)
        callers = Callers(url, load, lambda seed, _: expected[int(seed)])
        await callers.start()
        yield url, callers
    finally:
        running.stop()


async def run(count: int, rounds: int, folder: Path) -> dict[str, Any]:
    async with started(count) as engines, called(engines, folder, "--engine-stall-s", "30") as (_, callers):
        back_s = []
        for number in range(rounds):
            one = engines[number % len(engines)]
            await asyncio.sleep(4)
            kill(one)
            began_s = time.monotonic()
            while one.state == "ready":
                await asyncio.sleep(0.05)
            await asyncio.wait_for(one.wait_ready(), START_S)
            back_s.append(round(time.monotonic() - began_s, 1))
        await asyncio.sleep(4)
        return {**row(await callers.stop(), count, rounds), "back_s": back_s}


def row(tally: Tally, engines: int, rounds: int) -> dict[str, Any]:
    """As the table has it."""
    return {
        "gateway": "ours, real engines",
        "version": "",
        "engines": engines,
        "rounds": rounds,
        "ended": {kind: dict(counts) for kind, counts in sorted(tally.ended.items())},
        "slowest_s": round(tally.slowest_s, 2),
        "recovered": True,
        "failures": tally.failures,
    }


def keep(name: str, engines: int, rows: list[dict[str, Any]]) -> None:
    """Prints the table and a line of JSON, and writes that among the results."""
    record = {"date": time.strftime("%Y-%m-%d"), "callers": 16, "tokens": TOKENS, "rows": rows}
    print(table(rows))
    print(json.dumps(record))
    file = ROOT / "benchmarks" / "results" / f"failover-{name}-{engines}-engines-{record['date']}.json"
    file.write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failover.real", description=__doc__.split("\n")[0])
    parser.add_argument("--engines", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with TemporaryDirectory(prefix="failover-") as folder:
        outcome = uvloop.run(run(options.engines, options.rounds, Path(folder)))
    keep("real", options.engines, [outcome])


if __name__ == "__main__":
    main()
