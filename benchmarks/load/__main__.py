"""python -m benchmarks.load --url http://127.0.0.1:8000 --workload photo --find --slo ttft=2000,tpot=100

Measures any OpenAI-compatible server and writes requests-N.jsonl, summary.json, report.md, plots and page.html. The
last line on stdout is the summary as JSON. See README.md here for what is measured and how.
"""

import argparse
import asyncio
import json
import os
import random
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.load import report, server_side
from benchmarks.load.environment import environment
from benchmarks.load.hosted import Hosted
from benchmarks.load.level import read_level
from benchmarks.load.measuring import Measuring, Target, drained, warm
from benchmarks.load.plots import draw
from benchmarks.load.search import highest_rate
from benchmarks.load.wire import Client
from benchmarks.load.workloads import MIXED, WORKLOADS, Shape, read_mix, sessions

SEEDS = 2**31


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    server = found.add_argument_group("the server")
    server.add_argument("--url", required=True, help="base URL, with or without /v1")
    server.add_argument("--model", default="qwen2.5-vl")
    server.add_argument("--api-key-variable", default="OPENAI_API_KEY", help="environment variable that holds the key")
    server.add_argument("--engine-metrics", action="append", default=[], help="base URL of an engine behind it; repeat")
    server.add_argument("--label", default="", help="what to call it in tables")
    server.add_argument("--gpus", type=int, default=0, help="cards that it uses; 0: none, nothing is divided")
    server.add_argument("--price-per-hour", type=float, help="of the whole machine; give its date too")
    server.add_argument("--price-date", help="day of that price, YYYY-MM-DD")
    work = found.add_argument_group("what is sent")
    work.add_argument("--workload", default="photo", choices=[*WORKLOADS, "mixed"])
    mixed = ",".join(f"{name}={share}" for name, share in MIXED)
    work.add_argument("--mix", help=f"shares of the workload mixed (default {mixed})")
    work.add_argument("--picture", default="1280x960", help="size of made pictures (default %(default)s)")
    work.add_argument("--pictures", type=int, default=1, help="in a request")
    work.add_argument("--repeats", type=float, default=0.0, help="share of requests whose pictures were sent before")
    work.add_argument("--folder", type=Path, help="pictures (or clips) of your own instead")
    work.add_argument("--host-at", metavar="HOST:PORT", help="pictures and clips lie there, for the server to fetch")
    work.add_argument("--max-tokens", type=int, default=64)
    work.add_argument("--exact-tokens", action="store_true", help="exactly so many (vLLM): comparable, no real answers")
    work.add_argument("--turns", type=int, default=3, help="of a conversation or an agent")
    work.add_argument("--clip-s", type=float, default=8)
    work.add_argument("--no-stream", action="store_true")
    work.add_argument("--seed", type=int, help="for the same inputs again (default: other ones each time)")
    how = found.add_argument_group("how much")
    how.add_argument("--rate", type=float, action="append", default=[], help="open loop, requests a second; repeat")
    how.add_argument("--concurrency", type=int, action="append", default=[], help="closed loop; repeat")
    how.add_argument("--find", action="store_true", help="look for the highest rate that keeps --slo")
    how.add_argument("--start-rate", type=float, default=0.5, help="where --find begins")
    how.add_argument("--slo", default="", help="for example ttft=2000,tpot=100 (ms; of ttft, tpot, itl, e2e)")
    how.add_argument("--seconds", type=float, default=30, help="that count, of each point")
    how.add_argument("--warmup-s", type=float, default=5, help="before them, of each point")
    how.add_argument("--timeout-s", type=float, default=300, help="of one request")
    out = found.add_argument_group("what is written")
    out.add_argument("--out", type=Path, default=Path(".cache/load"))
    out.add_argument("--title", default="Load")
    return found


def host_at(where: str | None) -> AbstractContextManager[Hosted | None]:
    """The web server that is asked for; none without one. Raises ValueError for what is no host and port."""
    if where is None:
        return nullcontext()
    host, _, port = where.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"--host-at is {where!r}; write HOST:PORT")
    return Hosted(host, int(port))


async def measure(options: argparse.Namespace, command: str, hosted: Hosted | None = None) -> dict[str, Any]:
    """Everything; the summary. Raises ValueError for what cannot be asked, SystemExit where the server refuses."""
    width, _, height = options.picture.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ValueError(f"--picture is {options.picture!r}; write WIDTHxHEIGHT")
    shape = Shape(
        seed=random.SystemRandom().randrange(SEEDS) if options.seed is None else options.seed,
        model=options.model,
        picture_wh=(int(width), int(height)),
        pictures=options.pictures,
        repeats=options.repeats,
        max_tokens=options.max_tokens,
        exact_tokens=options.exact_tokens,
        turns=options.turns,
        clip_s=options.clip_s,
        stream=not options.no_stream,
        folder=options.folder,
        mix=read_mix(options.mix) if options.mix else MIXED,
        hosted=hosted,
    )
    if options.price_per_hour is not None and not options.price_date:
        raise ValueError("--price-per-hour needs --price-date: a price without a date says nothing")
    key = os.environ.get(options.api_key_variable, "")
    client = Client(options.url, api_key=key, timeout_s=options.timeout_s)
    metrics = [client, *(Client(url) for url in options.engine_metrics)]
    target = Target(client, metrics, options.label, options.gpus, options.price_per_hour)
    options.out.mkdir(parents=True, exist_ok=True)
    before = environment()
    if said := await warm(client, sessions(options.workload, shape, 1)):
        raise SystemExit(f"the server does not answer: {said}")
    level = read_level(options.slo)
    measuring = Measuring(
        target,
        options.workload,
        shape,
        seconds=options.seconds,
        warmup_s=options.warmup_s,
        level=level,
        folder=options.out,
    )
    highest = await _all_points(measuring, options, target)
    about = await server_side.about(*metrics)
    header = {
        "title": options.title,
        "conditions": conditions(before, options, about, shape.seed),
        "command": command,
        "highest": said_highest(options, highest, level.words),
    }
    found = {
        "about": header,
        "environment": before,
        "server": about,
        "workload": {
            name: str(value) if isinstance(value, Path | Hosted) else value for name, value in vars(shape).items()
        },
        "price": {"per_hour": options.price_per_hour, "date": options.price_date},
        "highest_rate": highest,
        "points": measuring.series.points,
    }
    write(options.out, found, measuring)
    for each in metrics:
        each.close()
    return found


async def _all_points(measuring: Measuring, options: argparse.Namespace, target: Target) -> float | None:
    """Every point asked for; the highest rate where it was looked for."""
    for rate in options.rate:
        await measuring.at_rate(rate)
        await drained(target)
    for concurrency in options.concurrency:
        await measuring.at_concurrency(concurrency)
        await drained(target)
    if not options.find and (options.rate or options.concurrency):
        return None

    async def keeps(rate: float) -> bool:
        point = await measuring.at_rate(rate)
        await drained(target)
        return bool(point["level_met"] and not point["saturated"])

    return await highest_rate(keeps, options.start_rate)


def said_highest(options: argparse.Namespace, highest: float | None, level: str) -> str:
    if not options.find and (options.rate or options.concurrency):
        return ""
    if highest is None:
        return f"No rate was found at which the level is kept ({level})."
    return f"Highest rate that keeps the level: {highest:.3g} requests a second ({level})."


def conditions(found: dict[str, Any], options: argparse.Namespace, about: dict[str, Any], seed: int) -> str:
    """One line: when, where, what."""
    cards = ", ".join(f"{gpu['name']} (driver {gpu['driver_version']}, {gpu['clocks.sm']})" for gpu in found["gpus"])
    told = [each["version"]["version"] for each in (about, *about.get("engines", [])) if each.get("version")]
    server = " ".join(told) or about.get("server") or "a server that tells no version"
    repeats = f"{options.repeats:.0%} repeated" if options.repeats else "none repeated"
    pictures = "" if options.workload == "text" else f", pictures of {options.picture}, {repeats}"
    where = f"{found['processor']}, {found['cores']} cores, {cards or 'no GPU'}, load {found['load_before']} before"
    return (
        f"{found['date'][:10]}, {where}, "
        f"commit {found['commit']}{' with changes' if found['changed'] else ''}; {options.label or options.url}: "
        f"{options.model}, {server}; workload {options.workload}{pictures}, answers of {options.max_tokens} tokens, "
        f"seed {seed}; "
        f"{options.seconds:g} s a point after {options.warmup_s:g} s{_price(options)}."
    )


def _price(options: argparse.Namespace) -> str:
    if options.price_per_hour is None:
        return ""
    return f"; cost at {options.price_per_hour:g} an hour, the price of {options.price_date}"


def write(folder: Path, found: dict[str, Any], measuring: Measuring) -> None:
    """summary.json, plots, report.md and page.html."""
    points, header = found["points"], found["about"]
    (folder / "summary.json").write_text(json.dumps(found, indent=1) + "\n")
    plots = draw(folder, points, measuring.series.records)
    (folder / "report.md").write_text(report.markdown(points, header))
    (folder / "page.html").write_text(report.page(points, header, plots))


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parser().parse_args(given)
    try:
        with host_at(options.host_at) as hosted:
            found = uvloop.run(measure(options, shlex.join(["python", "-m", "benchmarks.load", *given]), hosted))
    except ValueError as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    except asyncio.CancelledError:
        return 130
    sys.stderr.write(report.markdown(found["points"], found["about"]))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
