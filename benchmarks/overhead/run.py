"""The overhead benchmark: what each gateway costs before the same mock engine, side by side in one run.

    python -m benchmarks.overhead.run [--quick] [--only ours,nginx,vllm-router,litellm]

Prints the tables in Markdown, then one line of JSON, and keeps that in benchmarks/results/.
"""

import argparse
import asyncio
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.generated import into_readme
from benchmarks.overhead import cpu, report
from benchmarks.overhead.columns import COLUMNS, INTERVAL_MS, Column, text_body
from benchmarks.overhead.load import Target
from benchmarks.overhead.mock import MODEL
from benchmarks.overhead.processes import ProcessFailed, Running, answers, free_ports, settled, start_mock
from benchmarks.overhead.rivals import API_KEY, GATEWAYS, ROOT, NotHere, Place

LOGS = ROOT / ".cache" / "overhead"
CAVEATS = """\
CPU time is of the gateway's processes, children and threads included, by their own clocks: the figure to compare.
Mock and load generator share one core, each gateway has the other to itself (the rest stand still meanwhile); loopback,
HTTP/1.1, no TLS, no GPU. A chunk's figure holds its share (1/50) of the stream's request. `added` is over direct at one
connection, and at 128 streams for chunks. Ours checks a key, limits, counts metrics and watches for clients that leave;
LiteLLM checks a key; nginx and vllm-router check none. Ours decodes the picture and scales it
down to what the model is shown, work that the others leave to the engine (`big_pictures.py` counts both)."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A gateway that runs, or the mock itself under the name `direct`."""

    name: str
    running: Running
    target: Target
    version: str


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead.run", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round of short windows: a look, not a result")
    parser.add_argument("--only", default=",".join(GATEWAYS), help="gateways to run, by comma")
    parser.add_argument("--columns", default=",".join(column.name for column in COLUMNS), help="loads, by comma")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="length of a window")
    parser.add_argument("--gateway-core", type=int, default=1)
    parser.add_argument("--load-core", type=int, default=0)
    parser.add_argument("--pause-pid", type=int, action="append", default=[], help="process to stop meanwhile")
    parser.add_argument("--realtime", action="store_true", help="preempt all else in the windows; needs root")
    parser.add_argument("--rest", type=float, default=0, help="seconds left to others between two windows")
    parser.add_argument("--no-save", action="store_true", help="do not write benchmarks/results/ and the README")
    return parser.parse_args()


@contextmanager
def contenders(options: argparse.Namespace, folder: Path) -> Iterator[list[Contender]]:
    """The mock and every gateway that can be had, started; one that cannot is named and left out."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        mock, engine_url = start_mock(options.load_core, folder, "--interval-ms", str(INTERVAL_MS), "--stamp")
        stack.callback(mock.stop)
        port = int(engine_url.rpartition(":")[2])
        found = [Contender("direct", mock, Target("127.0.0.1", port), "")]
        for name in options.only.split(","):
            port, metrics_port = free_ports(2)
            try:
                start = GATEWAYS[name](Place(engine_url, MODEL, port, metrics_port, folder))
            except NotHere as exc:
                print(f"skipped: {name}: {exc}", flush=True)
                continue
            running = Running(name, start.command, options.gateway_core, folder / f"{name}.log", start.environment)
            stack.callback(running.stop)
            found.append(Contender(name, running, Target("127.0.0.1", port, API_KEY), start.version))
        yield found


async def ready(found: list[Contender]) -> list[Contender]:
    """Those that answer."""
    kept = []
    for contender in found:
        try:
            await answers(contender.target, contender.running, text_body(MODEL))
            kept.append(contender)
        except ProcessFailed as exc:
            print(f"skipped: {exc}", flush=True)
    return kept


async def window(
    column: Column, contender: Contender, found: list[Contender], options: argparse.Namespace
) -> dict[str, float]:
    """One column of one gateway, while the other gateways stand still."""
    await asyncio.sleep(options.rest)
    direct, *gateways = found
    pid = contender.running.pid
    with ExitStack() as stack:
        others = [one.running.pid for one in gateways if one is not contender]
        stack.enter_context(cpu.stopped([*others, *options.pause_pid]))
        await settled(contender.running)
        if options.realtime:
            stack.enter_context(cpu.realtime({os.getpid(), direct.running.pid, pid}))
        return await column.measure(
            contender.target, MODEL, lambda: cpu.cpu_s(pid), min(1.0, options.seconds / 2), options.seconds
        )


Window = Callable[[Column, Contender, list[Contender], argparse.Namespace], Awaitable[dict[str, float]]]
"""One column of one gateway: its figures."""


async def measured(found: list[Contender], options: argparse.Namespace, window: Window = window) -> report.Rounds:
    """All rounds; within a round a column is taken on one gateway after the other, so ratios share their moment."""
    columns = [column for column in COLUMNS if column.name in options.columns.split(",")]
    rounds: report.Rounds = []
    for i in range(options.rounds):
        figures: dict[str, dict[str, dict[str, float]]] = {contender.name: {} for contender in found}
        for column in columns:
            for contender in found:
                figures[contender.name][column.name] = await window(column, contender, found, options)
                if contender.running.ended():
                    raise contender.running.failure("died")
                told = _short(figures[contender.name][column.name])
                print(f"round {i + 1} {column.name} {contender.name}: {told}", flush=True)
        rounds.append(figures)
    return rounds


def _short(figures: dict[str, float]) -> str:
    return " ".join(f"{name}={value:.4g}" for name, value in figures.items())


def machine() -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")), "")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
    }


def commit() -> str:
    """The commit that was measured, with `+` if the server or the benchmark differ from it."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "server", "benchmarks/overhead"], capture_output=True)
    return head + ("+" if changed.stdout.strip() else "")


def main() -> None:
    options = arguments()
    if options.quick:
        options.rounds, options.seconds = 1, 2
    os.sched_setaffinity(0, {options.load_core})
    before = machine()
    with contenders(options, LOGS) as started:
        found = uvloop.run(ready(started))
        rounds = uvloop.run(measured(found, options))
    result = report.medians(rounds)
    found_ratios = report.ratios(rounds)
    tables = f"{report.table(result)}\n\n{report.ratio_table(found_ratios)}"
    print(f"\n{tables}\n\n{CAVEATS}\n")
    line = {
        "benchmark": "overhead",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(),
        "command": shlex.join(["python", "-m", "benchmarks.overhead.run", *sys.argv[1:]]),
        "machine": before,
        "load_average_after": os.getloadavg(),
        "versions": {contender.name: contender.version for contender in found},
        "figures": result,
        "ratios": found_ratios,
    }
    text = json.dumps(report.plain(line))
    if not options.no_save:
        (ROOT / "benchmarks" / "results" / f"overhead-{line['date']}.json").write_text(text + "\n")
        into_readme(ROOT / "benchmarks" / "README.md", "overhead", f"{report.conditions(line)}\n\n{tables}")
    print(text)


if __name__ == "__main__":
    main()
