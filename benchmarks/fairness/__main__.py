"""One key sends many times its share: what does another key's caller feel of it?

    python -m benchmarks.fairness                     three rounds, about two minutes
    python -m benchmarks.fairness --quick --no-save   one short round

A gateway of `--places` places before a mock engine that takes its time for each answer. *Modest* keeps half of the
places busy, its share of two keys. *Greedy* keeps twenty times as many requests open. Three ways, one after the other
in each round: modest alone; both, each with its key; both with one key, which is what a gateway does that has one line
for all. What counts is modest's whole latency, waiting included.
"""

import argparse
import asyncio
import json
import random
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvloop

from benchmarks.generated import into_readme
from benchmarks.overhead.load import percentile
from benchmarks.overhead.mock import MODEL, Mock
from benchmarks.overhead.report import conditions, plain
from benchmarks.overhead.run import commit, machine
from server.app import create_server
from server.callers.keys import hashed
from server.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
FACTOR = 20
ANSWER_MS = (400, 1200)
"""How long the engine takes: drawn evenly, so that places do not come free in bursts. Answers are not streamed, so that
the figures are those of waiting and not of a busy machine's chunks."""
TARGET = 1.25
WAYS = ("alone", "own keys", "one key")


@dataclass(slots=True)
class Felt:
    """What one caller's requests met."""

    latencies_s: list[float] = field(default_factory=list)
    refused: int = 0
    failed: int = 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__.split("\n")[0])
    parser.add_argument("--places", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-save", action="store_true")
    return parser.parse_args()


@asynccontextmanager
async def gateway(places: int) -> AsyncIterator[str]:
    """The URL of a gateway before a mock, both in this process."""
    mock = Mock()
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys.toml"
        names = ("modest", "greedy")
        keys.write_text("".join(f'[[key]]\nname = "{name}"\nhash = "{hashed(name)}"\n' for name in names))
        settings = Settings(
            port=0, keys_file=str(keys), max_in_flight=places, access_log=False, log_level="error", media_workers=1
        )
        server = create_server(settings, [await mock.listen()])
        serving = asyncio.create_task(server.serve())
        await server.listening.wait()
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving
            await mock.close()


async def calls(client: httpx2.AsyncClient, key: str, callers: int, felt: Felt, from_s: float, until_s: float) -> None:
    """`callers` who ask again as soon as they are answered; what comes between `from_s` and `until_s` is noted."""

    async def call(dice: random.Random) -> None:
        await asyncio.sleep(dice.random() * ANSWER_MS[1] / 1000)
        while (began_s := time.monotonic()) < until_s:
            body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
            body["mock"] = {"json_ms": dice.randint(*ANSWER_MS)}
            answer = await client.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
            if began_s < from_s:
                continue
            if answer.status_code == 200:
                felt.latencies_s.append(time.monotonic() - began_s)
            elif answer.status_code in (429, 503):
                felt.refused += 1
                await asyncio.sleep(float(answer.headers["retry-after"]))
            else:
                felt.failed += 1

    await asyncio.gather(*(call(random.Random(f"{key} {caller}")) for caller in range(callers)))


async def way(url: str, kind: str, places: int, seconds: float) -> dict[str, Any]:
    """One way's figures."""
    modest, greedy = Felt(), Felt()
    share = places // 2
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        from_s = time.monotonic() + 2.5  # until the queue is as long as it gets
        until_s = from_s + seconds
        work = [calls(client, "modest", share, modest, from_s, until_s)]
        if kind != "alone":
            name = "greedy" if kind == "own keys" else "modest"
            work.append(calls(client, name, FACTOR * share, greedy, from_s, until_s))
        await asyncio.gather(*work)
    return {
        "p50_s": percentile(modest.latencies_s, 0.5),
        "p95_s": percentile(modest.latencies_s, 0.95),
        "answers": len(modest.latencies_s),
        "refused": modest.refused,
        "failed": modest.failed + greedy.failed,
        "greedy_p95_s": percentile(greedy.latencies_s, 0.95),
        "greedy_answers": len(greedy.latencies_s),
        "greedy_refused": greedy.refused,
    }


async def measured(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    rounds: dict[str, list[dict[str, Any]]] = {kind: [] for kind in WAYS}
    async with gateway(options.places) as url:
        for number in range(options.rounds):
            for kind in WAYS:
                figures = await way(url, kind, options.places, options.seconds)
                rounds[kind].append(figures)
                print(f"round {number + 1} {kind}: {plain(figures)}", file=sys.stderr, flush=True)
                await asyncio.sleep(11)  # until the callers of one way count as gone for the next
    return rounds


def table(rounds: dict[str, list[dict[str, Any]]]) -> str:
    head = [
        "way",
        "p50 s",
        "p95 s",
        "p95 over alone",
        "answers",
        "refused",
        "greedy's p95 s",
        "its answers",
        "its refused",
    ]
    rows = [head, ["---"] * len(head)]
    for kind, found in rounds.items():
        middle = {name: statistics.median(each[name] for each in found) for name in found[0]}
        over = statistics.median(rise(rounds, kind))
        rows.append(
            [
                kind,
                f"{middle['p50_s']:.2f}",
                f"{middle['p95_s']:.2f}",
                f"{over:.2f}",
                f"{middle['answers']:.0f}",
                f"{middle['refused']:.0f}",
                "" if kind == "alone" else f"{middle['greedy_p95_s']:.2f}",
                "" if kind == "alone" else f"{middle['greedy_answers']:.0f}",
                "" if kind == "alone" else f"{middle['greedy_refused']:.0f}",
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def rise(rounds: dict[str, list[dict[str, Any]]], kind: str) -> list[float]:
    """Modest's p95 over that alone, in each round."""
    return [ours["p95_s"] / alone["p95_s"] for ours, alone in zip(rounds[kind], rounds["alone"], strict=True)]


def main() -> None:
    options = arguments()
    if options.quick:
        options.rounds, options.seconds = 1, 4
    before = machine()
    rounds = uvloop.run(measured(options))
    text = table(rounds)
    found = rise(rounds, "own keys")
    line = {
        "benchmark": "fairness",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(),
        "command": shlex.join(["python", "-m", "benchmarks.fairness", *sys.argv[1:]]),
        "machine": before,
        "versions": {"ours": commit()},
        "places": options.places,
        "factor": FACTOR,
        "rounds": rounds,
        "p95_over_alone": {kind: rise(rounds, kind) for kind in WAYS},
        "target": f"at most {TARGET}",
        "met": statistics.median(found) <= TARGET,
    }
    print(f"\n{text}\n")
    if not options.no_save:
        (ROOT / "benchmarks" / "results" / f"fairness-{line['date']}.json").write_text(json.dumps(plain(line)) + "\n")
        into_readme(ROOT / "benchmarks" / "README.md", "fairness", f"{conditions(line)}\n\n{text}")
    print(json.dumps(plain(line)))


if __name__ == "__main__":
    main()
