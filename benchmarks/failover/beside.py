"""The kill test before real engines on the CPU, each gateway in turn before the same engines.

    python -m benchmarks.failover.beside [--engines 2] [--rounds 2] [--only ours,nginx,haproxy,vllm-router,litellm]

As `benchmarks.failover.real`, but engines listen on ports, which all gateways can reach, and are started again by this
program at once.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import uvloop

from benchmarks.failover.__main__ import until_answered
from benchmarks.failover.callers import Callers, Load
from benchmarks.failover.gateways import GATEWAYS, Place
from benchmarks.failover.real import MODEL, QUESTIONS, START_S, TOKENS, keep, kill_family, row, undisturbed, word_tokens
from benchmarks.failover.report import table
from benchmarks.overhead.processes import Running, free_ports
from benchmarks.overhead.rivals import API_KEY, NotHere
from server.engines import guard
from server.engines.checkpoints import RANDOM, fitted
from server.engines.profiles import profile
from server.settings import Settings

UP_S = 4.0
"""Before each kill, and after the last."""
STEPS = "vllm:iteration_tokens_total_count"


class PortEngine:
    """One vLLM on a port that stays the same."""

    def __init__(self, folder: Path, number: int, model: Path = RANDOM) -> None:
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / f"engine-{number}.log"
        settings = fitted(Settings(model=str(model)), str(model))
        chosen = profile(str(model), [], settings)
        scratch = folder / f"engine-{number}"
        self._command = [sys.executable, "-I", "-S", guard.__file__, "--parent", str(os.getpid())]
        self._command += ["--scratch", str(scratch)]
        self._command += [word for name, value in chosen.env.items() for word in ("--env", f"{name}={value}")]
        self._command += ["--", settings.engine_python, *chosen.args, "--host", "127.0.0.1", "--port", str(self.port)]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns when it answers."""
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + START_S
        while not await self._is_healthy():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"the engine did not start:\n{self._log.read_text()[-1000:]}")
            await asyncio.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL to every process of it."""
        if self._process is not None:
            kill_family(self._process.pid)
            self._process.wait(guard.END_S + 5)
            self._process = None

    async def steps(self) -> float:
        """That it has made since it was started."""
        async with httpx2.AsyncClient(base_url=self.url, timeout=10) as client:
            lines = (await client.get("/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(STEPS))

    async def _is_healthy(self) -> bool:
        try:
            async with httpx2.AsyncClient(base_url=self.url, timeout=2) as client:
                return (await client.get("/health")).status_code == 200
        except httpx2.HTTPError:
            return False


@asynccontextmanager
async def on_ports(count: int, folder: Path) -> AsyncIterator[list[PortEngine]]:
    """Engines that are ready."""
    engines = [PortEngine(folder, number) for number in range(count)]
    try:
        await asyncio.gather(*(one.start() for one in engines))
        yield engines
    finally:
        for one in engines:
            one.kill()


async def measured(
    name: str, engines: list[PortEngine], load: Load, expected: dict[int, str], rounds: int, folder: Path
) -> dict[str, Any]:
    """One gateway's row."""
    port, metrics_port = free_ports(2)
    start = GATEWAYS[name](Place([one.url for one in engines], MODEL, port, metrics_port, folder))
    command = [*start.command, "--engine-stall-s", "30"] if name == "ours" else start.command
    running = Running(name, command, max(os.sched_getaffinity(0)), folder / f"{name}.log", start.environment)
    url = f"http://127.0.0.1:{port}"
    try:
        await until_answered(url, load, running)
        callers = Callers(url, load, lambda seed, _: expected[int(seed)])
        await callers.start()
        back_s = []
        for number in range(rounds):
            one = engines[number % len(engines)]
            await asyncio.sleep(UP_S)
            one.kill()
            began_s = time.monotonic()
            await one.start()
            back_s.append(round(time.monotonic() - began_s, 1))
        before = [await one.steps() for one in engines]
        await asyncio.sleep(UP_S)
        recovered = all([await one.steps() > steps for one, steps in zip(engines, before, strict=True)])
        outcome = row(await callers.stop(), len(engines), rounds)
    finally:
        running.stop()
    return {**outcome, "gateway": name, "version": start.version, "recovered": recovered, "back_s": back_s}


async def run(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    async with on_ports(options.engines, folder) as engines:
        url = engines[0].url
        load = Load(MODEL, tokens=TOKENS, questions=QUESTIONS, headers={"authorization": f"Bearer {API_KEY}"})
        load = replace(load, extra={"allowed_token_ids": await word_tokens(url), "ignore_eos": True})
        expected = await undisturbed(url, load)
        for name in options.only.split(","):
            try:
                rows.append(await measured(name, engines, load, expected, options.rounds, folder))
            except NotHere as exc:
                print(f"{name}: {exc}", file=sys.stderr)
                continue
            print(table([rows[-1]]), file=sys.stderr, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failover.beside", description=__doc__.split("\n")[0])
    parser.add_argument("--only", default=",".join(GATEWAYS), help="gateways to run, by comma")
    parser.add_argument("--engines", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with TemporaryDirectory(prefix="failover-") as folder:
        rows = uvloop.run(run(options, Path(folder)))
    keep("beside", options.engines, rows)


if __name__ == "__main__":
    main()
