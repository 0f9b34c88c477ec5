"""What a worker and its parent say to each other arrives, failures too, and a worker that is gone holds nothing."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from server.callers.keys import Caller
from server.callers.limits import Limiter
from server.errors import InternalError, InvalidValue, Overloaded, RateLimited
from server.settings import Settings
from server.workers.desk import Desk, Office
from server.workers.line import Line, LineEnded
from server.workers.shared import SharedCounters, SharedVisit
from tests.conftest import until

ALICE = ("alice", "normal", 1.0, None)


@asynccontextmanager
async def lines(handlers: dict[str, Any], on_end: Any = lambda: None) -> AsyncIterator[tuple[Line, Line]]:
    """(A line, its other end, which has `handlers`)."""
    ours, theirs = socket.socketpair()
    asking, answering = Line({}), Line(handlers, on_end)
    await asking.open(ours)
    await answering.open(theirs)
    try:
        yield asking, answering
    finally:
        asking.close()
        answering.close()
        await until(lambda: asking.ended and answering.ended)


async def test_what_is_asked_is_answered_in_any_order() -> None:
    gates = {1: asyncio.Event(), 2: asyncio.Event()}

    async def late(number: int) -> list[int]:
        await gates[number].wait()
        return [number] * 100_000  # more than a socket's buffer

    async with lines({"late": late, "now": lambda text: text.upper()}) as (line, _):
        first, second = (asyncio.create_task(line.call("late", number)) for number in (1, 2))
        assert await line.call("now", "zeile\n") == "ZEILE\n"
        gates[2].set()
        assert (await second)[0] == 2
        gates[1].set()
        assert len(await first) == 100_000


async def test_a_failure_is_raised_where_it_was_asked_for() -> None:
    def refuse() -> None:
        raise Overloaded("full", headers={"retry-after": "3"}, details={"limit": 2})

    async def refuse_later() -> None:
        raise InvalidValue("no", param="n", code="unknown_parameter")

    async with lines({"refuse": refuse, "later": refuse_later}) as (line, _):
        with pytest.raises(Overloaded) as full:
            await line.call("refuse")
        assert full.value.headers == {"retry-after": "3"}
        assert full.value.details == {"limit": 2}
        with pytest.raises(InvalidValue) as no:
            await line.call("later")
        assert (no.value.param, no.value.code) == ("n", "unknown_parameter")


@pytest.mark.parametrize("mistake", [lambda: 1 / 0, object], ids=["raises", "is no JSON"])
async def test_a_mistake_does_not_end_the_line(mistake: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with lines({"mistake": mistake, "now": lambda: 1}) as (line, _):
        with pytest.raises(InternalError):
            await line.call("mistake")
        line.tell("mistake")
        line.tell("unknown")
        assert await line.call("now") == 1
    assert "could not be answered" in caplog.text


async def test_who_waits_for_one_that_is_gone_is_told() -> None:
    async with lines({"never": lambda: asyncio.Event().wait()}) as (line, other):
        waiting = asyncio.create_task(line.call("never"))
        await asyncio.sleep(0)
        other.close()
        with pytest.raises(LineEnded):
            await waiting
        with pytest.raises(LineEnded):
            await line.call("never")
        line.tell("never")


# -- the desk --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def at_desk(office: Office) -> AsyncIterator[Line]:
    """A worker's line to a desk of its own."""
    desk = Desk(office)
    async with lines(desk.handlers(), desk.close) as (line, other):
        desk.line = other
        yield line


async def test_places_are_those_of_all_desks_and_turns_go_by_who_came_first() -> None:
    office = Office(Settings(max_in_flight=1, max_queue=2))
    async with at_desk(office) as one, at_desk(office) as other:
        visits = []
        for line in (one, other, one):
            await line.call("arrive", len(visits), ALICE, 10)
            visits.append(SharedVisit(line, len(visits), Caller("alice"), 10))
        assert await visits[0].wait(1) == 0
        second = asyncio.create_task(visits[1].wait(1))
        await until(lambda: office.admission.queued == 1)
        third = asyncio.create_task(visits[2].wait(1))
        await until(lambda: office.admission.queued == 2)
        visits[0].leave()
        await second
        assert not third.done()
        visits[1].leave()
        await third
        visits[2].settle(500)
        await until(lambda: office.admission.bytes == 500)


async def test_what_a_worker_held_is_free_when_it_is_gone() -> None:
    office = Office(Settings(max_in_flight=1))
    async with at_desk(office) as staying:
        async with at_desk(office) as dying:
            for number in (1, 2):
                await dying.call("arrive", number, ALICE, 10)
            await dying.call("wait", 1, 1)
            waiting = asyncio.create_task(dying.call("wait", 2, 1))
            await until(lambda: office.admission.queued == 1)
            dying.close()
            with pytest.raises(LineEnded):
                await waiting
        await staying.call("arrive", 1, ALICE, 10)
        assert await staying.call("wait", 1, 1) < 30
        assert (office.admission.in_flight, office.admission.bytes, office.admission.queued) == (1, 10, 0)


async def test_a_key_has_its_requests_at_once_over_all_desks() -> None:
    office = Office(Settings())
    bob = ("bob", "high", 1.0, 2)
    async with at_desk(office) as one, at_desk(office) as other:
        await one.call("arrive", 1, bob, 10)
        await other.call("arrive", 1, bob, 10)
        with pytest.raises(RateLimited):
            await one.call("arrive", 2, bob, 10)
        one.tell("leave", 2)  # as its worker does: nothing to give back
        other.tell("leave", 1)
        await until(lambda: office.admission.present["bob"].visits == 1)
        await one.call("arrive", 3, bob, 10)


async def test_limits_a_minute_are_counted_in_one_place() -> None:
    office = Office(Settings())
    carol = Caller("carol", requests_per_minute=3)
    async with at_desk(office) as one, at_desk(office) as other:
        limiters = [Limiter(Settings(), own=SharedCounters(line)) for line in (one, other)]
        left = [(await limiters[number % 2].arrive(carol)).requests for number in range(3)]
        assert [each.remaining for each in left if each] == [2, 1, 0]
        with pytest.raises(RateLimited, match="may use 3 requests a minute"):
            await limiters[1].arrive(carol)


async def test_a_claim_of_a_worker_that_is_gone_goes_to_who_asks_next() -> None:
    office = Office(Settings())
    async with at_desk(office) as staying:
        async with at_desk(office) as dying:
            assert await dying.call("claim", "alice", "k", "f") is None
            assert await dying.call("claim", "alice", "k", "f") is None  # its own
        assert await staying.call("claim", "alice", "k", "f") is None
