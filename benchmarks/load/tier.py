"""The standard suite of a machine: what this server delivers on it, and the bare engine beside it in the same run.

    benchmarks/run-tier [--quick] [--model M | --dummy SIZE] [-- flags of python -m server]

Finds the machine's tier, starts the server with the launch profile's model, measures, adds one JSON file to
benchmarks/results/ and writes benchmarks/REPORT.md anew. `--quick` takes three minutes, for CI and for looking.
"""

import argparse
import asyncio
import itertools
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.load import report, tier_report
from benchmarks.load.dummy import ARGUMENTS, dummy_folder
from benchmarks.load.environment import environment, gpus
from benchmarks.load.level import Level
from benchmarks.load.machine import ROOT, Started, started
from benchmarks.load.measuring import Measuring, Series, Target, drained, warm
from benchmarks.load.plots import draw
from benchmarks.load.record import Record
from benchmarks.load.search import highest_rate
from benchmarks.load.tier_compare import WAYS
from benchmarks.load.wire import Client
from benchmarks.load.workloads import Shape, sessions
from server.engines.hardware import detect_gpus
from server.errors import InvalidValue
from server.sizing.gpus import find_gpu, tiers

LEVEL = Level(ttft=2000, tpot=100)
OWN_SEEDS = 1_000_000_007
FOLDER = ROOT / ".cache" / "tier"


@dataclass(frozen=True)
class Suite:
    """What is measured."""

    concurrencies: tuple[int, ...]
    workloads: tuple[str, ...]
    rounds: int
    seconds: float
    warmup_s: float
    picture_wh: tuple[int, int]
    max_tokens: int
    finds_rate: bool


STANDARD = Suite((1, 4, 16, 64), ("text", "photo", "document", "mixed"), 3, 60, 10, (1280, 960), 128, finds_rate=True)
QUICK = Suite((1, 4), ("text", "photo"), 3, 5, 1, (640, 480), 16, finds_rate=False)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--model", help="instead of the launch profile's")
    parser.add_argument(
        "--dummy", metavar="SIZE", help="3B, 7B-AWQ ...: true shapes, random weights; nothing is fetched"
    )
    parser.add_argument("--no-save", action="store_true")
    parser.add_argument("server", nargs="*", help="flags of python -m server, after --")
    options = parser.parse_args(arguments)
    suite = QUICK if options.quick else STANDARD
    if options.dummy and (options.model or "--engine-args" in options.server):
        parser.error("--dummy is a model with engine arguments of its own")
    FOLDER.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is taken down too
    before = environment()
    with started([*_model_flags(options.model, options.dummy), *options.server], FOLDER / "server.log") as server:
        engine_flags = server.engine_flags()
        found = uvloop.run(measured(server, suite))
    about = {"tier": tier_name(), "quick": options.quick, "weights": "dummy" if options.dummy else "own"}
    about |= {"flags": options.server, "engine_flags": engine_flags, "suite": asdict(suite)}
    result = {"benchmark": "tier", **about, "environment": before, **found}
    if not options.no_save:
        results_file(result, ROOT / "benchmarks" / "results").write_text(json.dumps(result) + "\n")
        tier_report.write()
    sys.stderr.write(tier_report.section(result))
    print(json.dumps(result))
    return 0


def _model_flags(model: str | None, dummy: str | None) -> list[str]:
    if dummy:
        return ["--model", str(dummy_folder(dummy)), "--engine-args", ARGUMENTS]
    return ["--model", model] if model else []


def results_file(result: Mapping[str, Any], folder: Path) -> Path:
    """A new file: one for each tier, model and run, so that a second model, or a second run, does not take its place.

    >>> about = {"tier": "80 GB", "model": "Qwen/Qwen2.5-VL-7B-Instruct", "quick": True}
    >>> results_file({**about, "environment": {"date": "2026-11-23T16:21:21Z"}}, Path("/nowhere")).name
    'tier-80-gb-qwen2.5-vl-7b-instruct-quick-2026-11-23.json'
    """
    model = result["model"].rpartition("/")[2]
    kind, day = ["quick"] if result["quick"] else [], result["environment"]["date"][:10]
    named = "-".join(["tier", *result["tier"].split(), model, *kind, day]).lower()
    names = (f"{named}.json", *(f"{named}-{number}.json" for number in range(2, 1000)))
    return next(folder / name for name in names if not (folder / name).exists())


def tier_name() -> str:
    """Of this machine: the largest tier that its cards reach, `CPU` without any.

    >>> tier_name() in {"CPU", *(tier.name for tier in tiers())}
    True
    """
    cards = detect_gpus()
    if not cards:
        return "CPU"
    try:
        own = find_gpu(cards[0].name)
    except InvalidValue:
        own = find_gpu(f"{cards[0].memory_gib * 1.073:.0f} GB")
    reached = [tier for tier in tiers() if tier.gpus <= cards[0].count and tier.gpu.usable_gib <= own.usable_gib + 0.5]
    return reached[-1].name if reached else tiers()[0].name


async def measured(server: Started, suite: Suite) -> dict[str, Any]:
    """Every point, ours and the bare engine by turns, so that what else the machine does meets both."""
    clients = dict(zip(WAYS, (Client(server.url), Client(server.engine_url)), strict=True))
    model = (await _models(clients["ours"]))[0]
    shape = Shape(model=model, picture_wh=suite.picture_wh, max_tokens=suite.max_tokens, exact_tokens=True)
    sets = {
        (workload, way): _measuring(way, clients, workload, shape, suite)
        for workload in suite.workloads
        for way in clients
    }
    for workload, way in sets:
        if said := await warm(clients[way], sessions(workload, shape, 1)):
            raise RuntimeError(f"the server does not answer: {said}")
    found: dict[str, Any] = {"model": model, "points": await _points(server, sets, suite)}
    if suite.finds_rate:
        found["highest_rate"] = await _highest(clients, replace(shape, seed=1), suite)
    _draw(sets, model)
    for client in clients.values():
        client.close()
    return found


async def _points(server: Started, sets: dict[tuple[str, str], Measuring], suite: Suite) -> list[dict[str, Any]]:
    """Every round turns the order of the ways around, so that a drift of the machine meets both."""
    order = [
        (number, workload, concurrency, way)
        for number, workload, concurrency in itertools.product(
            range(suite.rounds), suite.workloads, suite.concurrencies
        )
        for way in (WAYS if number % 2 == 0 else WAYS[::-1])
    ]
    return [
        {"round": number, **await _point(server, sets[workload, way], way, concurrency)}
        for number, workload, concurrency, way in order
    ]


def _draw(sets: dict[tuple[str, str], Measuring], model: str) -> None:
    """A page for each workload, of the round whose throughput is the middle one."""
    for workload in dict.fromkeys(workload for workload, _ in sets):
        folder = FOLDER / workload
        folder.mkdir(exist_ok=True)
        kept = [each for (own, _), measuring in sets.items() if own == workload for each in middle(measuring.series)]
        points, records = [point for point, _ in kept], [own for _, own in kept]
        header = {
            "title": f"Standard suite: {workload}",
            "conditions": model,
            "command": "benchmarks/run-tier",
            "highest": "",
        }
        (folder / "page.html").write_text(report.page(points, header, draw(folder, points, records)))


def middle(series: Series) -> list[tuple[dict[str, Any], list[Record]]]:
    """Of each concurrency the round with the middle throughput."""
    rounds: dict[int, list[tuple[dict[str, Any], list[Record]]]] = {}
    for point, records in zip(series.points, series.records, strict=True):
        rounds.setdefault(point["max_concurrency"], []).append((point, records))
    ordered = (sorted(own, key=lambda each: each[0]["request_throughput"]) for own in rounds.values())
    return [own[len(own) // 2] for own in ordered]


def _measuring(way: str, clients: dict[str, Client], workload: str, shape: Shape, suite: Suite) -> Measuring:
    """Each way with inputs of its own: both end in the same engine, whose caches would know them."""
    folder = FOLDER / f"{workload}-{way.replace(' ', '-')}"
    folder.mkdir(parents=True, exist_ok=True)
    metrics = [clients["bare engine"]] if way == "bare engine" else list(clients.values())
    target = Target(clients[way], metrics, way, len(gpus()))
    shape = replace(shape, seed=shape.seed + OWN_SEEDS * WAYS.index(way))
    return Measuring(
        target, workload, shape, seconds=suite.seconds, warmup_s=suite.warmup_s, level=LEVEL, folder=folder
    )


async def _point(server: Started, measuring: Measuring, name: str, concurrency: int) -> dict[str, Any]:
    """One concurrency, with the processor time that gateway and engine spent on each request."""
    before = server.spent_s()
    point = await measuring.at_concurrency(concurrency)
    after = server.spent_s()
    answered = max(1, sum(record.ok for record in measuring.series.records[-1]))
    spent = {part: round((after[part] - before[part]) / answered, 5) for part in after}
    await drained(measuring.target)
    return {"way": name, "concurrency": concurrency, "cpu_s_per_request": spent, **point}


async def _highest(clients: dict[str, Client], shape: Shape, suite: Suite) -> dict[str, float | None]:
    """The highest rate of photos that keeps the level, of each way."""
    found: dict[str, float | None] = {}
    for way in clients:
        measuring = _measuring(way, clients, "photo", shape, suite)

        async def keeps(rate: float, measuring: Measuring = measuring) -> bool:
            point = await measuring.at_rate(rate)
            return bool(point["level_met"] and not point["saturated"])

        found[way] = await highest_rate(keeps, 1.0)
    return found


async def _models(client: Client) -> list[str]:
    exchange = await client.get("/v1/models")
    return [model["id"] for model in json.loads(exchange.body)["data"]]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, InvalidValue, asyncio.CancelledError) as exc:
        sys.exit(str(exc))
