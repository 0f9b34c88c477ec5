"""Engines are killed and stopped under sixteen callers; `benchmarks/failover` is the long form, with others beside."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from benchmarks.failover.callers import Callers, Load, Tally
from benchmarks.failover.engines import EngineProcess
from benchmarks.overhead.mock import MODEL
from tests.conftest import running_gateway, until

TOKENS = 25
FLAGS = ("--interval-ms", "10", "--json-ms", "250", "--own-words")


class Site:
    """Engines that can be killed, and callers at the gateway before them."""

    def __init__(self, engines: list[EngineProcess], client: httpx2.AsyncClient, callers: Callers) -> None:
        self.engines, self.client, self.callers = engines, client, callers

    async def states(self) -> list[str]:
        answer = (await self.client.get("/readyz")).json()
        return [engine["state"] for engine in answer.get("engines") or answer["error"]["engines"]]

    def are(self, *states: str) -> "Callable[[], Any]":
        async def check() -> bool:
            return await self.states() == list(states)

        return check

    async def served(self, count: int) -> None:
        """Until so many more answers were whole."""
        goal = whole(self.callers.tally) + count
        await until(lambda: whole(self.callers.tally) >= goal, timeout_s=60)


def whole(tally: Tally) -> int:
    return sum(tally.of(kind, "whole") for kind in tally.ended)


@asynccontextmanager
async def site(folder: Path, count: int, **settings: Any) -> AsyncIterator[Site]:
    engines = [EngineProcess(folder, number, *FLAGS) for number in range(count)]
    await asyncio.gather(*(engine.start() for engine in engines))
    try:
        options = {"engine_slow_start_s": 0.01, **settings}
        async with (
            running_gateway([engine.url for engine in engines], **options) as url,
            httpx2.AsyncClient(base_url=url, timeout=30) as client,
        ):
            callers = Callers(url, Load(MODEL, tokens=TOKENS))
            await callers.start()
            yield Site(engines, client, callers)
    finally:
        for engine in engines:
            engine.kill()


def check(tally: Tally) -> None:
    """Nothing that could be saved was lost, and what was lost was said."""
    assert tally.of("json", "whole") == tally.count("json"), tally.failures
    assert tally.of("stream", "whole") == tally.count("stream"), tally.failures
    assert tally.of("last-word", "whole") + tally.of("last-word", "told") == tally.count("last-word"), tally.failures


@pytest.mark.parametrize("count", [2, 3])
async def test_a_killed_engine_costs_no_answer_that_another_can_give(tmp_path: Path, count: int) -> None:
    async with site(tmp_path, count) as here:
        for number in range(count):
            await here.served(16)
            here.engines[number].kill()
            await here.served(16)
            await here.engines[number].start()
            await until(here.are(*["ready"] * count), timeout_s=20)
        tally = await here.callers.stop()
    check(tally)
    assert tally.count("json") >= 16


async def test_an_engine_that_stands_still_is_left_within_ten_seconds_and_is_back_when_it_goes_on(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, 2, engine_poll_s=1) as here:  # as in production
        await here.served(16)
        here.engines[0].stand_still()
        await until(here.are("stuck", "ready"), timeout_s=10)
        await here.served(16)
        here.engines[0].go_on()
        await until(here.are("ready", "ready"), timeout_s=10)
        await here.served(16)
        tally = await here.callers.stop()
    check(tally)
