"""The small cases: a real gateway before mock engines, and the simulation of the same arrivals.

The mock answers after a fixed time and the gateway lets in so many at once: a queue whose waiting is not in the hands
of the machine, and so long that a busy one changes it little.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2

from benchmarks.capacity.costs import EngineRate, Kind
from benchmarks.capacity.simulate import Site, quantile, simulate
from benchmarks.load.arrivals import poisson
from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import MODEL, Mock

ASK = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}


@dataclass(frozen=True)
class Case:
    """So many places, each taken for so long, and so many requests a second."""

    name: str
    places: int
    answer_s: float
    rate: float
    seconds: float


CASES = (
    Case("half full", places=8, answer_s=2, rate=2, seconds=60),
    Case("three quarters full", places=8, answer_s=2, rate=3, seconds=60),
    Case("nine tenths full", places=8, answer_s=2, rate=3.6, seconds=60),
    Case("a burst of twice what it holds", places=8, answer_s=2, rate=8, seconds=15),
)


@dataclass(frozen=True)
class Compared:
    """Seconds from arrival to answer: median and 95 of 100."""

    case: Case
    simulated_s: tuple[float, float]
    measured_s: tuple[float, float]

    @property
    def worst(self) -> float:
        """The larger difference, as a share of what was measured."""
        pairs = zip(self.simulated_s, self.measured_s, strict=True)
        return max(abs(simulated - measured) / measured for simulated, measured in pairs)


def simulated(case: Case, moments: list[float]) -> tuple[float, float]:
    """By simpy: no CPU, one engine as wide as can be."""
    engine = EngineRate("mock", 1, per_s=1e9, alone_s=case.answer_s, places=10**6, source="")
    site = Site(gateways=1, cores=1, places=case.places, engines=1, engine=engine)
    found = simulate(site, Kind("chat", 0, 0, ""), moments)
    return found.p50_s, found.p95_s


async def measured(case: Case, moments: list[float]) -> tuple[float, float]:
    """By a gateway in a process of its own."""
    mock = Mock(behaviour=Behaviour(json_ms=case.answer_s * 1000))
    engine_url = await mock.listen()
    took_s: list[float] = []
    try:
        async with gateway(engine_url, case.places) as url, httpx2.AsyncClient(base_url=url, timeout=120) as client:
            await client.post("/v1/chat/completions", json=ASK)
            began = time.perf_counter()

            async def ask(moment: float) -> None:
                await asyncio.sleep(began + moment - time.perf_counter())
                answer = await client.post("/v1/chat/completions", json=ASK)
                assert answer.status_code == 200, answer.text
                took_s.append(time.perf_counter() - began - moment)

            await asyncio.gather(*(ask(moment) for moment in moments))
    finally:
        await mock.close()
    ordered = sorted(took_s)
    return quantile(ordered, 0.5), quantile(ordered, 0.95)


@asynccontextmanager
async def gateway(engine_url: str, places: int) -> AsyncIterator[str]:
    """`python -m server` with so many places and a queue that turns nobody away."""
    port = 18734
    settings = {
        "engine-url": engine_url,
        "port": port,
        "max-in-flight": places,
        "max-queue": 10000,
        "queue-timeout-s": 100,
        "media-workers": 1,
        "batch-store": "off",
        "log-level": "warning",
    }
    words = [f"--{name}={value}" for name, value in settings.items()]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "server", *words, "--no-access-log")
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(60), httpx2.AsyncClient() as client:
            while True:
                await asyncio.sleep(0.1)
                try:
                    if (await client.get(f"{url}/readyz")).status_code == 200:
                        break
                except httpx2.TransportError:
                    assert process.returncode is None, "the gateway ended"
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def compare(case: Case) -> Compared:
    """One case, both ways."""
    moments = poisson(case.rate, case.seconds, seed=7)
    return Compared(case, simulated(case, moments), await measured(case, moments))
