"""See the package."""

import argparse
import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import uvloop

from benchmarks.capacity.check import CASES, compare
from benchmarks.capacity.costs import ENGINES, KINDS, PHOTO, EngineRate
from benchmarks.capacity.simulate import GATEWAY_LOAD, fewest
from benchmarks.generated import into_readme
from benchmarks.load.arrivals import poisson

PAGE = Path(__file__).resolve().parents[2] / "deploy/CAPACITY.md"
RESULTS = Path(__file__).resolve().parents[1] / "results"
DAY_S = 86400
PEAK = 3
"""The busiest hour of a day over the day's mean."""
PATIENCE = 3
"""95 of 100 are to be answered within so many times what a request takes alone."""
VOLUMES = (10_000, 100_000, 1_000_000)


def gateway_rows() -> Iterator[str]:
    """What one gateway with four cores for decoding carries, at 70 %."""
    yield "| kind of request | event loop, ms | decoding, ms | a second, one gateway of 1 + 4 cores | from |"
    yield "| --- | --- | --- | --- | --- |"
    for kind in KINDS:
        rate = GATEWAY_LOAD / max(kind.gateway_cpu_s, kind.decode_cpu_s / 4)
        loop, cores = f"{kind.gateway_cpu_s * 1000:.2f}", f"{kind.decode_cpu_s * 1000:.0f}"
        yield f"| {kind.name} | {loop} | {cores} | {rate:.3g} | {kind.source} |"


def site_rows() -> Iterator[str]:
    """The fewest engines for a day's photos."""
    yield "| engine | 95 of 100 within | " + " | ".join(f"{volume:,} a day" for volume in VOLUMES) + " | from |"
    yield "| --- | --- |" + " --- |" * len(VOLUMES) + " --- |"
    for engine in ENGINES:
        cells = " | ".join(_site(engine, volume) for volume in VOLUMES)
        yield f"| {engine.name} | {PATIENCE * engine.alone_s:.1f} s | {cells} | {engine.source} |"


def _site(engine: EngineRate, volume: int) -> str:
    rate = volume / DAY_S * PEAK
    moments = poisson(rate, max(300.0, 600 / rate), seed=3)
    site = fewest(PHOTO, engine, moments, PATIENCE * engine.alone_s)
    assert site is not None
    return f"{site.engines * engine.gpus} GPUs, {site.gateways} gateway{'s' if site.gateways > 1 else ''}"


async def check_rows(record: bool) -> list[str]:
    """Simulated beside measured."""
    rows = ["| case | simulated p50, p95 | measured p50, p95 | largest difference |", "| --- | --- | --- | --- |"]
    found = []
    for case in CASES:
        result = await compare(case)
        load = case.rate * case.answer_s / case.places
        cells = [
            f"{case.name}: {case.places} places of {case.answer_s:g} s, {case.rate:g} a second ({load:.0%})",
            ", ".join(f"{value:.2f}" for value in result.simulated_s) + " s",
            ", ".join(f"{value:.2f}" for value in result.measured_s) + " s",
            f"{result.worst:.0%}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
        found.append({"case": case.name, "simulated_s": result.simulated_s, "measured_s": result.measured_s})
    if record:
        date = datetime.datetime.now(datetime.UTC).date().isoformat()
        command = "python -m benchmarks.capacity --check"
        line = {"benchmark": "capacity", "date": date, "command": command, "cases": found}
        (RESULTS / f"capacity-{date}.json").write_text(json.dumps(line) + "\n")
    return rows


def put(name: str, rows: list[str]) -> None:
    """Replace a table of the page."""
    into_readme(PAGE, name, "\n".join(rows))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity")
    parser.add_argument("--check", action="store_true", help="simulate and run the small cases")
    parser.add_argument("--no-save", action="store_true", help="print alone")
    options = parser.parse_args()
    if options.check:
        tables = {"check": uvloop.run(check_rows(record=not options.no_save))}
    else:
        tables = {"gateways": list(gateway_rows()), "sites": list(site_rows())}
    for name, rows in tables.items():
        print("\n".join(rows), end="\n\n")
        if not options.no_save:
            put(name, rows)


if __name__ == "__main__":
    main()
