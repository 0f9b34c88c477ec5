"""Bulk on Ray beside the online path: pictures a second, the same answers, and every row once after two kills.

    python -m benchmarks.bulk [--scenes 2000] [--rounds 2] [--concurrency 8,16,32,64,128,192] [--no-save]

Needs `.venv-bulk` (`scripts/bulk --help` makes it). The online path is a server as `scripts/serve` starts it, whose
best concurrency is found first; then both ways answer all scenes, in turn. Prints a table in Markdown, then one line of
JSON.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvloop

from benchmarks.bulk import online, ray_run
from benchmarks.bulk.pictures import Pictures, accuracy, differing, pictures, written
from benchmarks.generated import into_readme, markdown
from benchmarks.load.environment import environment

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "benchmarks/README.md"
WARM = 64
SWEPT = 320
"""Pictures of each concurrency that is tried, but six of every caller's at least."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk", description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2, help="how often each way answers all scenes (default 2)")
    parser.add_argument("--concurrency", default="8,16,32,64,128,192", help="of the online path, to try")
    parser.add_argument(
        "--workers", type=int, default=len(os.sched_getaffinity(0)), help="on Ray (default: a core each)"
    )
    parser.add_argument("--no-kill", action="store_true", help="without the run that is killed twice")
    parser.add_argument("--no-save", action="store_true", help="do not write results/ and README.md")
    return parser.parse_args()


def tell(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)


async def one_online(shown: Pictures, concurrency: int, folder: Path, engines: int = 0) -> online.Asked:
    """All scenes, on a server that has answered some already."""
    bodies = list(shown.bodies.items())
    async with online.server(folder, engines) as (address, pids):
        await online.asked(address, pids, bodies[-WARM:], WARM)
        found = await online.asked(address, pids, bodies, concurrency)
    tell(f"online, {engines or 1} engines, {concurrency} at once: {found.per_s:.1f} a second, {_rounded(found.cpu_ms)}")
    return found


async def swept(shown: Pictures, concurrencies: list[int], folder: Path) -> dict[int, float]:
    """Pictures a second at each concurrency."""
    bodies, rates = list(shown.bodies.items()), {}
    async with online.server(folder) as (address, pids):
        await online.asked(address, pids, bodies[-WARM:], WARM)
        for concurrency in concurrencies:
            some = bodies[: min(max(SWEPT, 6 * concurrency), len(bodies))]
            rates[concurrency] = round((await online.asked(address, pids, some, concurrency)).per_s, 1)
            tell(f"online, {concurrency} at once: {rates[concurrency]} a second")
    return rates


async def one_bulk(shown: Pictures, workers: int, folder: Path, kills: int = 0) -> tuple[list[ray_run.Run], Path]:
    """All scenes on Ray, killed so often on the way."""
    out = Path(folder / f"out-{time.monotonic_ns()}")
    words = ray_run.command(shown.manifest, out, workers)
    shards = -(-len(shown.items) // 32)
    runs = []
    for place in range(kills + 1):
        kill_at = None if place == kills else shards * (place + 1) // (kills + 1)
        runs.append(await ray_run.run(words, out, folder / "bulk.log", kill_at))
        tell(
            f"bulk, {workers} workers: exit {runs[-1].exit_code} after {runs[-1].took_s:.0f} s, "
            f"{runs[-1].per_s} a second"
        )
    if runs[-1].exit_code:
        raise RuntimeError((folder / "bulk.log").read_text(errors="replace")[-3000:])
    return runs, out


async def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything."""
    shown = pictures(folder / "scenes", options.scenes, online.MODEL)
    tell(f"{len(shown.items)} scenes")
    rates = await swept(shown, [int(each) for each in options.concurrency.split(",")], folder)
    best = max(rates, key=lambda each: rates[each])
    onlines, bulks, outs = [], [], []
    for _ in range(options.rounds):
        onlines.append(await one_online(shown, best, folder))
        (run,), out = await one_bulk(shown, options.workers, folder)
        bulks.append(run)
        outs.append(out)
    each = await one_online(shown, best, folder, engines=options.workers)
    record: dict[str, Any] = {
        "scenes": len(shown.items),
        "online": {
            "swept_per_s": rates,
            "concurrency": best,
            "per_s": [round(one.per_s, 2) for one in onlines],
            "cpu_ms": [_rounded(one.cpu_ms) for one in onlines],
            "accuracy": accuracy(shown.items, onlines[0].answers),
        },
        "online_engine_a_core": {"per_s": round(each.per_s, 2), "cpu_ms": _rounded(each.cpu_ms)},
        "bulk": {
            "workers": options.workers,
            "per_s": [one.per_s for one in bulks],
            "whole_run_s": [round(one.took_s, 1) for one in bulks],
            "cpu_ms": [round(1000 * one.cpu_s / len(shown.items), 1) for one in bulks],
        },
    }
    rows = {row["id"]: json.loads(row["result"]) for row in written(outs[0])}
    record["bulk"]["accuracy"] = accuracy(shown.items, rows)
    record["differing"] = {
        "bulk and online": differing(rows, onlines[0].answers),
        "online and online again": differing(onlines[0].answers, onlines[-1].answers),
    }
    record["ratio"] = [round(one.per_s / other.per_s, 3) for one, other in zip(bulks, onlines, strict=True)]
    if not options.no_kill:
        runs, out = await one_bulk(shown, options.workers, folder, kills=2)
        counted = Counter(row["id"] for row in written(out))
        record["killed"] = {
            "exit_codes": [run.exit_code for run in runs],
            "rows": counted.total(),
            "each_once": set(counted.values()) == {1} and counted.keys() == {item.id for item in shown.items},
            "with_an_error": sum(row["status"] != "ok" for row in written(out)),
        }
    return record


def _rounded(cpu_ms: dict[str, float]) -> dict[str, float]:
    return {role: round(spent, 1) for role, spent in cpu_ms.items()}


def table(record: dict[str, Any]) -> str:
    """The ways side by side, then what the kills left."""
    alone, both, bulk = record["online"], record["online_engine_a_core"], record["bulk"]
    rows = [
        ["way", "pictures a second", "CPU ms a picture", "mAP@0.5 (with colours)", "numbers right"],
        [
            f"online, {alone['concurrency']} at once, as shipped",
            _spread(alone["per_s"]),
            f"{statistics.median(sum(each.values()) for each in alone['cpu_ms']):.0f}",
            *_right(alone["accuracy"]),
        ],
        ["online, an engine a core", f"{both['per_s']:.1f}", f"{sum(both['cpu_ms'].values()):.0f}", "", ""],
        [
            f"bulk on Ray, {bulk['workers']} workers",
            _spread(bulk["per_s"]),
            f"{statistics.median(bulk['cpu_ms']):.0f}, starts included",
            *_right(bulk["accuracy"]),
        ],
    ]
    swept = ", ".join(f"{concurrency}: {rate}" for concurrency, rate in alone["swept_per_s"].items())
    ratio, killed = statistics.median(record["ratio"]), record.get("killed")
    here, apart = record["environment"], record["differing"]
    lines = [
        f"{here['date'][:10]}, {here['processor']}, {here['cores']} cores, load average {here['load_before']} before; "
        f"ours {here['commit']}; {record['scenes']} scenes; `python -m benchmarks.bulk`",
        "",
        markdown(rows),
        f"Bulk over online: **{ratio:.2f}** ({' and '.join(f'{each:.2f}' for each in record['ratio'])}). Online by "
        f"callers at once: {swept}. Pictures with other boxes or labels: {apart['bulk and online']} of "
        f"{record['scenes']} between the two, {apart['online and online again']} between two online runs. A whole bulk "
        f"run with its starts: {_spread(bulk['whole_run_s'])} s.",
    ]
    if killed:
        once = "each id once" if killed["each_once"] else "**not each id once**"
        lines.append(
            f"Killed with SIGKILL twice and resumed: {killed['rows']} rows, {once}, {killed['with_an_error']} errors."
        )
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    """
    >>> _spread([3.0, 1.0, 2.04])
    '2.0 (1.0 to 3.0)'
    """
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _right(found: dict[str, float]) -> list[str]:
    return [
        f"{found['detect mAP@0.5']:.3f} ({found['detect mAP@0.5, sub-labels too']:.3f})",
        f"{found['detect number of boxes right']:.3f}",
    ]


async def run(options: argparse.Namespace) -> dict[str, Any]:
    about = environment()
    with TemporaryDirectory(prefix="bulk-") as folder:
        return {**await measured(options, Path(folder)), "environment": about}


def main() -> None:
    options = arguments()
    record = uvloop.run(run(options))
    print(table(record))
    print(json.dumps(record))
    if not options.no_save:
        date = record["environment"]["date"][:10]
        (ROOT / f"benchmarks/results/bulk-{date}.json").write_text(json.dumps(record, indent=1) + "\n")
        into_readme(README, "bulk", table(record))


if __name__ == "__main__":
    main()
