"""Clients that leave: how long until the engine knows.

    python -m benchmarks.overhead.disconnect [--only ours,nginx,vllm-router,litellm]

200 clients ask at once, half of them for a stream, and leave one after the other in a seeded order while the rest go
on. A client's time runs from its close() to the moment when the mock engine sees its own connection for that request
close. Prints a Markdown table, then one line of JSON, and keeps that in benchmarks/results/.
"""

import argparse
import asyncio
import json
import os
import random
import shlex
import sys
import time
import urllib.request
from typing import Any, cast

import uvloop

from benchmarks.generated import into_readme
from benchmarks.overhead import cpu, report
from benchmarks.overhead.columns import text_body
from benchmarks.overhead.load import Target, percentile
from benchmarks.overhead.mock import MODEL
from benchmarks.overhead.rivals import GATEWAYS, ROOT
from benchmarks.overhead.run import LOGS, Contender, commit, contenders, machine, ready

CLIENTS = 200
LIMIT_MS = 50
BETWEEN_S = 0.01
PATIENCE_S = 5
"""Longest wait for a request to reach the engine, or for the engine to see the last client leave."""


class Leaver(asyncio.Protocol):
    """A client that asks once and reads nothing of the answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def leave(self) -> int:
        """Close the connection; the moment, in nanoseconds of CLOCK_MONOTONIC."""
        at_ns = time.monotonic_ns()
        if self._transport is not None:
            self._transport.abort()
        return at_ns


def look(engine_url: str, path: str) -> Any:
    with urllib.request.urlopen(f"{engine_url}/mock/{path}", timeout=5) as answer:
        return json.load(answer)


def tell(engine_url: str, path: str, what: dict[str, Any]) -> None:
    urllib.request.urlopen(f"{engine_url}/mock/{path}", json.dumps(what).encode(), timeout=5).close()


def question(i: int) -> dict[str, Any]:
    """Even ones stream; `seed` is passed on by every gateway (LiteLLM drops `user`) and tells the clients apart."""
    return {**text_body(MODEL), "max_tokens": 30_000, "stream": i % 2 == 0, "seed": i + 1}


async def until(engine_url: str, name: str, value: int) -> bool:
    """Wait until the mock's count `name` is `value`; False if it is not within PATIENCE_S."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        stats = await asyncio.to_thread(look, engine_url, "stats")
        if stats[name] == value:
            return True
        await asyncio.sleep(0.02)
    return False


async def leave_all(target: Target, engine_url: str) -> dict[str, Any]:
    """All clients come, then leave; the figures of streams and of JSON requests."""
    tell(engine_url, "reset", {})
    tell(engine_url, "behaviour", {"json_ms": 600_000})
    loop = asyncio.get_running_loop()
    leavers = [Leaver(target.request(question(i))) for i in range(CLIENTS)]
    for leaver in leavers:
        await loop.create_connection(lambda leaver=leaver: leaver, target.host, target.port)  # type: ignore[misc]
    all_came = await until(engine_url, "running", CLIENTS)
    order = list(range(CLIENTS))
    random.Random(7).shuffle(order)
    left_ns = {}
    for i in order:
        left_ns[str(i + 1)] = leavers[i].leave()
        await asyncio.sleep(BETWEEN_S)
    await until(engine_url, "running", 0)
    aborts = await asyncio.to_thread(look, engine_url, "aborts")
    seen = {abort["tag"]: (abort["at_ns"] - left_ns[abort["tag"]]) / 1e6 for abort in aborts if abort["tag"] in left_ns}
    return {
        "all_came": all_came,
        "stream": figures([seen.get(str(i + 1)) for i in range(0, CLIENTS, 2)]),
        "json": figures([seen.get(str(i + 1)) for i in range(1, CLIENTS, 2)]),
    }


def figures(times_ms: list[float | None]) -> dict[str, float]:
    """Of the clients that the engine saw leave: percentiles; of all: how many within LIMIT_MS, how many never.

    >>> figures([1.0, 60.0, None])
    {'clients': 3, 'within_limit': 1, 'never': 1, 'p50_ms': 1.0, 'p99_ms': 60.0, 'max_ms': 60.0}
    """
    seen = [value for value in times_ms if value is not None]
    return {
        "clients": len(times_ms),
        "within_limit": sum(value <= LIMIT_MS for value in seen),
        "never": len(times_ms) - len(seen),
        "p50_ms": percentile(seen, 0.5),
        "p99_ms": percentile(seen, 0.99),
        "max_ms": max(seen, default=float("nan")),
    }


def table(result: dict[str, dict[str, Any]]) -> str:
    rows = [["gateway", "kind", f"within {LIMIT_MS} ms", "never", "p50 ms", "p99 ms", "max ms"], ["---"] * 7]
    for gateway, kinds in result.items():
        for kind in ("stream", "json"):
            one = kinds[kind]
            within = f"{one['within_limit']} of {one['clients']}"
            times = [f"{one[name]:.1f}" for name in ("p50_ms", "p99_ms", "max_ms")]
            rows.append([gateway, kind, within, str(one["never"]), *times])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


async def measured(found: list[Contender], realtime: bool) -> dict[str, dict[str, Any]]:
    direct, *gateways = found
    engine_url = f"http://{direct.target.host}:{direct.target.port}"
    result = {}
    for gateway in gateways:
        with cpu.realtime({os.getpid(), direct.running.pid, gateway.running.pid} if realtime else ()):
            result[gateway.name] = await leave_all(gateway.target, engine_url)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead.disconnect", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--only", default=",".join(GATEWAYS), help="gateways to run, by comma")
    parser.add_argument("--gateway-core", type=int, default=1)
    parser.add_argument("--load-core", type=int, default=0)
    parser.add_argument("--realtime", action="store_true", help="preempt all else meanwhile; needs root")
    parser.add_argument("--no-save", action="store_true", help="do not write benchmarks/results/ and the README")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.load_core})
    before = machine()
    with contenders(options, LOGS) as started:
        found = uvloop.run(ready(started))
        result = uvloop.run(measured(found, options.realtime))
    line = {
        "benchmark": "disconnect",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(),
        "command": shlex.join(["python", "-m", "benchmarks.overhead.disconnect", *sys.argv[1:]]),
        "machine": before,
        "versions": {contender.name: contender.version for contender in found},
        "figures": result,
    }
    text = json.dumps(report.plain(line))
    print(f"\n{table(result)}\n\n{text}")
    if not options.no_save:
        (ROOT / "benchmarks" / "results" / f"disconnect-{line['date']}.json").write_text(text + "\n")
        filled = f"{report.conditions(line)}\n\n{table(result)}"
        into_readme(ROOT / "benchmarks" / "README.md", "disconnect", filled)


if __name__ == "__main__":
    main()
