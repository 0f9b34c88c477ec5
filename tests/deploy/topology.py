"""docker-compose.yml's profile `multi` as plain processes: two gateways behind HAProxy and nginx, three engines, Redis.

    python -m tests.deploy.topology [--seconds 300] [--callers 16] [--engine-url URL]...

Under load an engine is killed and comes back, a gateway is rolled, Redis is restarted. Prints what became of the
requests as one line of JSON. Without --engine-url the engines are mocks.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.overhead.mock import MODEL
from server.callers.keys import hashed, new_key
from tests.conftest import until
from tests.deploy.balancing import BALANCERS, edited, program_of

LIMIT = 300
"""Requests a minute of the limited key."""
NEEDED = ("haproxy", "nginx", "redis-server")
Process = asyncio.subprocess.Process


def missing() -> list[str]:
    """Programs that are not installed."""
    return [name for name in NEEDED if not shutil.which(name)]


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


class Program:
    """One process that is started, killed and started again."""

    def __init__(self, *words: object) -> None:
        self._words = [str(word) for word in words]
        self._process: Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._words, stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
        )

    async def stop(self, kill: bool = False) -> None:
        """SIGTERM and wait, or SIGKILL."""
        if self._process is not None and self._process.returncode is None:
            (self._process.kill if kill else self._process.terminate)()
            await self._process.wait()


class Tally:
    """What became of requests."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    def note(self, kind: str, said: str) -> None:
        self.answers[kind] += 1
        if said:
            self.failures[f"{kind}: {said}"] += 1


class Topology:
    """All of it, started."""

    def __init__(self, folder: Path, engines: Sequence[str]) -> None:
        self.keys = {"free": new_key(), "limited": new_key()}
        rows = [f'[[key]]\nname = "free"\nhash = "{hashed(self.keys["free"])}"\n']
        rows += [f'[[key]]\nname = "limited"\nhash = "{hashed(self.keys["limited"])}"\nrequests_per_minute = {LIMIT}\n']
        (folder / "keys.toml").write_text("".join(rows))
        redis, a, b, *fronts, one, two, three = free_ports(3 + len(BALANCERS) + 3)
        self.redis = Program("redis-server", "--port", redis, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        mock = ("-m", "benchmarks.overhead.mock", "--port")
        self.engines = [] if engines else [Program(sys.executable, *mock, port) for port in (one, two, three)]
        urls = engines or [f"http://127.0.0.1:{port}" for port in (one, two, three)]
        shared = [f"--engine-url={url}" for url in urls] + [f"--keys-file={folder}/keys.toml"]
        shared += [f"--redis-url=redis://127.0.0.1:{redis}/0", "--media-workers=1", "--batch-store=off"]
        self.gateways = [Program(sys.executable, "-m", "server", f"--port={port}", *shared) for port in (a, b)]
        self.gateway_urls = [f"http://127.0.0.1:{port}" for port in (a, b)]
        self.fronts: dict[str, str] = {}
        self._balancers = []
        for (name, balancer), port in zip(BALANCERS.items(), fronts, strict=True):
            if name == "envoy":
                continue
            (folder / name).mkdir()
            file = folder / name / balancer.file
            text = edited((Path("deploy/balancers") / balancer.file).read_text(), port, self.gateway_urls)
            file.write_text(balancer.also(text, folder / name))
            self._balancers.append(Program(program_of(balancer), *balancer.words, file))
            self.fronts[name] = f"http://127.0.0.1:{port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything up and ready."""
        async with AsyncExitStack() as stack:
            for program in (self.redis, *self.engines, *self.gateways):
                await program.start()
                stack.push_async_callback(program.stop)
            for url in self.gateway_urls:
                await self.ready(url)
            for program in self._balancers:
                await program.start()
                stack.push_async_callback(program.stop)
            for url in self.fronts.values():
                await self.ready(url)
            yield

    async def ready(self, url: str) -> None:
        """Wait until it takes requests."""

        async def is_ready() -> bool:
            await asyncio.sleep(0.1)
            async with httpx2.AsyncClient() as client:
                with contextlib.suppress(httpx2.TransportError):
                    return (await client.get(f"{url}/readyz")).status_code == 200
            return False

        await until(is_ready, timeout_s=90)

    async def count_granted(self, offered: int) -> int:
        """How many requests of the limited key are answered, through both fronts at once."""
        headers = {"authorization": f"Bearer {self.keys['limited']}"}
        fronts = list(self.fronts.values())
        async with httpx2.AsyncClient(headers=headers, timeout=60) as client:
            room = asyncio.Semaphore(8)

            async def ask(number: int) -> int:
                async with room:
                    answer = await client.post(f"{fronts[number % len(fronts)]}/v1/chat/completions", json=question())
                    return answer.status_code

            statuses = Counter(await asyncio.gather(*(ask(number) for number in range(offered))))
        assert set(statuses) <= {200, 429}, statuses
        return statuses[200]

    async def trouble(self, seconds: float) -> None:
        """A quarter of the time each: nothing, an engine killed, a gateway rolled, Redis restarted."""
        await asyncio.sleep(seconds / 4)
        if self.engines:
            await self.engines[0].stop(kill=True)
            await asyncio.sleep(min(5, seconds / 8))
            await self.engines[0].start()
        await asyncio.sleep(seconds / 4)
        await self.gateways[0].stop()
        await self.gateways[0].start()
        await self.ready(self.gateway_urls[0])
        await asyncio.sleep(seconds / 8)
        await self.redis.stop()
        await asyncio.sleep(1)
        await self.redis.start()


def question(stream: bool = False) -> dict[str, Any]:
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 8,
        "mock": {"json_ms": 50, "interval_ms": 10},
        "stream": stream,
    }


async def caller(url: str, key: str, until_s: float, stream: bool, tally: Tally) -> None:
    """Ask again and again."""
    headers = {"authorization": f"Bearer {key}"}
    kind = "streams" if stream else "whole"
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        while time.monotonic() < until_s:
            try:
                answer = await client.post("/v1/chat/completions", json=question(stream))
            except httpx2.TransportError as exc:
                tally.note(kind, type(exc).__name__)
                continue
            whole = not stream or answer.text.rstrip().endswith("[DONE]")
            said = (
                "" if answer.status_code == 200 and whole and '"error"' not in answer.text else f"{answer.status_code}"
            )
            tally.note(kind, said)


async def run(seconds: float, callers: int, engines: Sequence[str] = ()) -> dict[str, Any]:
    """What became of all requests."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        topology = Topology(Path(folder), engines)
        async with topology.running():
            granted = await topology.count_granted(LIMIT * 2)
            until_s = time.monotonic() + seconds
            fronts = list(topology.fronts.values())
            asking = [
                caller(fronts[number % len(fronts)], topology.keys["free"], until_s, number % 4 == 3, tally)
                for number in range(callers)
            ]
            await asyncio.gather(topology.trouble(seconds), *asking)
    return {
        "seconds": seconds,
        "callers": callers,
        "limit": LIMIT,
        "granted_of_limit": granted,
        "answers": dict(tally.answers),
        "failures": dict(tally.failures),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--engine-url", action="append", default=[])
    options = parser.parse_args()
    if missing():
        sys.exit(f"not installed: {', '.join(missing())}")
    found = asyncio.run(run(options.seconds, options.callers, options.engine_url))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
