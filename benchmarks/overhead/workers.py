"""What several workers on one port give and cost, beside one process that answers alone.

    python -m benchmarks.overhead.workers [--workers 1,2] [--quick]

`--workers 1` is that one process: nothing of the workers' machinery is there. Each gateway is measured in turn before
the same mock engines, the others standing still meanwhile; a round has them all, and a ratio is that of two gateways
in one round. CPU time is that of all the gateway's processes, and of it that of the process that divides the work.

Unless `--gateway-cores` and `--load-cores` part them, gateway, engines and load generator share all cores. On two cores
that leaves no second one for a second worker: requests a second then tell what is left over by the others, and CPU time
a request, which does not depend on it, is the figure that carries over to a larger machine. `direct` is the load
generator straight at an engine.

Prints the tables in Markdown, then one line of JSON, and keeps both in benchmarks/.
"""

import argparse
import asyncio
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from benchmarks.generated import into_readme, markdown
from benchmarks.overhead import cpu, report
from benchmarks.overhead.columns import INTERVAL_MS, STREAMS, Column
from benchmarks.overhead.load import Target
from benchmarks.overhead.mock import MODEL
from benchmarks.overhead.processes import START_S, Running, free_ports, settled, start_mock
from benchmarks.overhead.rivals import API_KEY, ROOT
from benchmarks.overhead.run import LOGS, Contender, commit, machine, measured, ready

LOADS = ("json", "stream")
RATIOS = (
    ("JSON requests/s", "json", "requests_per_s"),
    ("CPU a JSON request", "json", "us_per_request"),
    ("CPU a streamed chunk", "stream", "us_per_chunk"),
)
"""What, column, figure; each over that of the first gateway."""


def name_of(workers: int) -> str:
    """What a gateway is called in the tables.

    >>> name_of(1), name_of(4)
    ('1 process', '4 workers')
    """
    return "1 process" if workers == 1 else f"{workers} workers"


def cores(text: str) -> set[int]:
    """Numbers and spans of them, as taskset has them; empty: all that this process may use.

    >>> sorted(cores("0,2-4"))
    [0, 2, 3, 4]
    """
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found or os.sched_getaffinity(0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead.workers", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="one round of short windows: a look, not a result")
    parser.add_argument(
        "--workers", default="1,2", help="how many each gateway has, by comma; the first is compared with"
    )
    parser.add_argument("--engines", type=int, default=2, help="mock engines before which each stands")
    parser.add_argument("--columns", default=",".join(LOADS), help="loads, by comma")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="length of a window")
    parser.add_argument("--gateway-cores", type=cores, default="", help="such as 1-3; all where not given")
    parser.add_argument(
        "--load-cores", type=cores, default="", help="of engines and load generator; all where not given"
    )
    parser.add_argument("--realtime", action="store_true", help="preempt all else in the windows; needs root")
    parser.add_argument("--rest", type=float, default=0, help="seconds left to others between two windows")
    parser.add_argument("--no-save", action="store_true", help="do not write benchmarks/results/ and the README")
    return parser.parse_args()


@contextmanager
def contenders(options: argparse.Namespace, folder: Path) -> Iterator[tuple[list[Running], list[Contender]]]:
    """The engines; and the gateways before them, all of whose workers take requests, after an engine itself."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        engines, urls = [], []
        for i in range(options.engines):
            place = folder / f"engine-{i}"
            place.mkdir(exist_ok=True)
            engine, url = start_mock(options.load_cores, place, "--interval-ms", str(INTERVAL_MS), "--stamp")
            stack.callback(engine.stop)
            engines.append(engine)
            urls.append(url)
        found = [Contender("direct", engines[0], Target("127.0.0.1", int(urls[0].rpartition(":")[2])), "")]
        for workers in map(int, options.workers.split(",")):
            (port,) = free_ports(1)
            command = [sys.executable, "-m", "server", "--port", str(port), "--workers", str(workers)]
            command += ["--batch-store=off", *(f"--engine-url={url}" for url in urls)]
            log = folder / f"workers-{workers}.log"
            running = Running(name_of(workers), command, options.gateway_cores, log, {"QVL_API_KEY": API_KEY})
            stack.callback(running.stop)
            _wait_for_all_workers(running)
            found.append(Contender(running.name, running, Target("127.0.0.1", port, API_KEY), ""))
        yield engines, found


def _wait_for_all_workers(running: Running) -> None:
    """Raises ProcessFailed."""
    deadline_s = time.monotonic() + START_S
    while "serving on" not in running.log.read_text():
        if running.ended() or time.monotonic() > deadline_s:
            raise running.failure()
        time.sleep(0.05)


async def window(
    engines: list[Running], column: Column, contender: Contender, found: list[Contender], options: argparse.Namespace
) -> dict[str, float]:
    """One column of one gateway while the others stand still; `dividing` is what its first process has of its CPU time,
    0 to 1.
    """
    await asyncio.sleep(options.rest)
    pid = contender.running.pid
    clock: list[tuple[float, float]] = []

    def cpu_s() -> float:
        clock.append((cpu.alone_s(pid), cpu.cpu_s(pid)))
        return clock[-1][1]

    with ExitStack() as stack:
        stack.enter_context(cpu.stopped(one.running.pid for one in found[1:] if one is not contender))
        await settled(contender.running)
        if options.realtime:
            stack.enter_context(cpu.realtime({os.getpid(), pid, *(engine.pid for engine in engines)}))
        figures = await column.measure(contender.target, MODEL, cpu_s, min(1.0, options.seconds / 2), options.seconds)
    (first_s, all_s), (last_s, all_last_s) = clock
    return {**figures, "dividing": (last_s - first_s) / max(all_last_s - all_s, 1e-9)}


def ratios(rounds: report.Rounds, names: Sequence[str]) -> list[dict[str, Any]]:
    """Each of RATIOS of every gateway over the first of `names`: the median of the rounds' own ratios.

    >>> rounds = [{"1 process": {"json": {"us_per_request": 100.0}}, "2 workers": {"json": {"us_per_request": us}}}
    ...           for us in (210.0, 190.0, 205.0)]
    >>> ratios(rounds, ["1 process", "2 workers"])
    [{'what': 'CPU a JSON request, 2 workers / 1 process', 'ratio': 2.05, 'low': 1.9, 'high': 2.1}]
    """
    under, *others = names
    found = []
    for what, column, figure in RATIOS:
        for over in others:
            if figure in rounds[0][over].get(column, {}):
                values = [one[over][column][figure] / one[under][column][figure] for one in rounds]
                row = {"ratio": median(values), "low": min(values), "high": max(values)}
                found.append({"what": f"{what}, {over} / {under}", **row})
    return found


def table(result: dict[str, dict[str, dict[str, float]]]) -> str:
    """The medians in Markdown.

    >>> one = {"us_per_request": 88.0, "requests_per_s": 9000.0, "dividing": 0.25, "errors_high": 0.0}
    >>> print(table({"2 workers": {"json": one}}).splitlines()[-1])
    | 2 workers | 9,000 | 88.0 | 22.0 |  |  |  | 0 |
    """
    rows = [
        [
            "gateway",
            "JSON requests/s",
            "CPU us/request",
            "of it dividing",
            "CPU us/chunk",
            "of it dividing",
            f"streams served of {STREAMS}",
            "errors",
        ]
    ]
    for name, columns in result.items():
        json_figures, stream = columns.get("json", {}), columns.get("stream", {})
        rows.append(
            [
                name,
                f"{json_figures['requests_per_s']:,.0f}" if json_figures else "",
                *_cost(name, json_figures, "us_per_request"),
                *_cost(name, stream, "us_per_chunk"),
                f"{stream['served']:,.0f}" if stream else "",
                f"{sum(figures['errors_high'] for figures in columns.values()):.0f}",
            ]
        )
    return markdown(rows).rstrip("\n")


def _cost(name: str, figures: dict[str, float], figure: str) -> tuple[str, str]:
    """Of all processes, and of the one that divides the work, where there is one."""
    if not figures or name == "direct":
        return "", ""
    us = figures[figure]
    return f"{us:,.1f}", "" if name == name_of(1) else f"{us * figures['dividing']:,.1f}"


def ratio_table(found: list[dict[str, Any]]) -> str:
    """In Markdown."""
    rows = [["ratio", "median", "lowest and highest round"]]
    rows += [[one["what"], f"{one['ratio']:.2f}", f"{one['low']:.2f} to {one['high']:.2f}"] for one in found]
    return markdown(rows).rstrip("\n")


def main() -> None:
    options = arguments()
    if options.quick:
        options.rounds, options.seconds = 1, 2
    before = machine()
    everywhere = os.sched_getaffinity(0)
    with contenders(options, LOGS) as (engines, started):
        os.sched_setaffinity(0, options.load_cores)
        found = uvloop.run(ready(started))
        rounds = uvloop.run(measured(found, options, partial(window, engines)))
    result = report.medians(rounds)
    found_ratios = ratios(rounds, [contender.name for contender in found[1:]])
    tables = f"{table(result)}\n\n{ratio_table(found_ratios)}"
    shared = bool(options.gateway_cores & options.load_cores)
    where = (
        f"gateway, {options.engines} engines and load generator share {len(everywhere)} cores"
        if shared
        else f"the gateway has {len(options.gateway_cores)} cores to itself, {options.engines} engines and the load "
        f"generator {len(options.load_cores)}"
    )
    print(f"\n{tables}\n\n{where}\n")
    line = {
        "benchmark": "workers",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(),
        "command": shlex.join(["python", "-m", "benchmarks.overhead.workers", *sys.argv[1:]]),
        "machine": before,
        "load_average_after": os.getloadavg(),
        "versions": {"ours": commit()},
        "where": where,
        "figures": result,
        "ratios": found_ratios,
    }
    text = json.dumps(report.plain(line))
    if not options.no_save:
        (ROOT / "benchmarks" / "results" / f"workers-{line['date']}.json").write_text(text + "\n")
        section = f"{report.conditions(line)}; {where}\n\n{tables}"
        into_readme(ROOT / "benchmarks" / "README.md", "workers", section)
    print(text)


if __name__ == "__main__":
    main()
