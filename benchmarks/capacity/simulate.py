"""Gateways and engines as queues, in simpy: who waits how long when so much comes in.

A gateway is an event loop (one core), worker processes that decode (more cores), and places (`max_in_flight`). An
engine is a set of places, each answering in a time that grows with how many are taken: `alone_s` for the first, and so
that all of them together give `per_s`. What is not in it: the network, pictures of different sizes, caches that hit,
clients that leave.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import simpy

from benchmarks.capacity.costs import EngineRate, Kind

GATEWAY_LOAD = 0.7
"""How full a gateway's processors may be."""
Steps = Generator[Any, Any, None]


@dataclass(frozen=True)
class Site:
    """What is built."""

    gateways: int
    cores: int
    """Of one gateway, for decoding; its event loop has another."""
    places: int
    """`max_in_flight` of one gateway."""
    engines: int
    engine: EngineRate


@dataclass(frozen=True)
class Outcome:
    """What came of it, in seconds from a request's arrival to its answer."""

    p50_s: float
    p95_s: float
    answered_per_s: float
    engine_busy: float
    """Share of the engines' best rate that was used."""


def service_s(engine: EngineRate, running: int) -> float:
    """How long a request takes that enters when so many run, itself included.

    >>> engine = EngineRate("x", 1, per_s=4, alone_s=1, places=64, source="")
    >>> service_s(engine, 1), service_s(engine, 64)
    (1, 16.0)
    """
    return max(engine.alone_s, running / engine.per_s)


class World:
    """One run."""

    def __init__(self, site: Site, kind: Kind) -> None:
        self.env = simpy.Environment()
        self._site = site
        self._kind = kind
        self._loops = [simpy.Resource(self.env, 1) for _ in range(site.gateways)]
        self._cores = [simpy.Resource(self.env, site.cores) for _ in range(site.gateways)]
        self._doors = [simpy.Resource(self.env, site.places) for _ in range(site.gateways)]
        self._engines = [simpy.Resource(self.env, site.engine.places) for _ in range(site.engines)]
        self.took_s: list[float] = []

    def arrive(self, moments: list[float]) -> Steps:
        """Requests come at these moments."""
        for number, moment in enumerate(moments):
            yield self.env.timeout(moment - self.env.now)
            self.env.process(self._request(number % self._site.gateways))

    def _request(self, gateway: int) -> Steps:
        arrived = self.env.now
        with self._doors[gateway].request() as door:
            yield door
            for resource, cpu_s in (
                (self._loops[gateway], self._kind.gateway_cpu_s),
                (self._cores[gateway], self._kind.decode_cpu_s),
            ):
                if cpu_s:
                    with resource.request() as mine:
                        yield mine
                        yield self.env.timeout(cpu_s)
            engine = min(self._engines, key=lambda each: each.count + len(each.queue))
            with engine.request() as place:
                yield place
                yield self.env.timeout(service_s(self._site.engine, engine.count))
        self.took_s.append(self.env.now - arrived)


def simulate(site: Site, kind: Kind, moments: list[float]) -> Outcome:
    """Let requests come at these moments, and wait for the last one."""
    world = World(site, kind)
    world.env.process(world.arrive(moments))
    world.env.run()
    ordered = sorted(world.took_s)
    span_s = max(world.env.now, 1e-9)
    best = site.engines * site.engine.per_s
    rate = len(ordered) / span_s
    return Outcome(quantile(ordered, 0.5), quantile(ordered, 0.95), rate, rate / best)


def quantile(ordered: list[float], share: float) -> float:
    """The value that `share` of them do not exceed.

    >>> quantile([1, 2, 3, 4], 0.5), quantile([1, 2, 3, 4], 0.95)
    (2, 4)
    """
    return ordered[min(len(ordered) - 1, max(0, int(share * len(ordered) + 0.999999) - 1))]


def fewest(kind: Kind, engine: EngineRate, moments: list[float], within_s: float, most: int = 1024) -> Site | None:
    """The fewest engines that answer 95 of 100 within a time, behind gateways at 70 %; None if none do."""
    rate = len(moments) / moments[-1]
    cores = 4
    gateways = max(1, math.ceil(rate * max(kind.gateway_cpu_s, kind.decode_cpu_s / cores) / GATEWAY_LOAD))
    engines = max(1, math.floor(rate / engine.per_s))
    while engines <= most:
        site = Site(gateways, cores=cores, places=1024, engines=engines, engine=engine)
        if simulate(site, kind, moments).p95_s <= within_s:
            return site
        engines += max(1, engines // 16)
    return None
