"""Who is let in, who waits, whose turn it is, and who is turned away with what."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from benchmarks.overhead.mock import Mock
from server.callers import admission as admission_module
from server.callers.admission import Admission, Visit
from server.callers.keys import ANYONE, Caller
from server.errors import GatewayError, Overloaded, RateLimited
from server.settings import Settings
from tests.conftest import ASK, Running, until

ALICE, BOB = Caller("alice"), Caller("bob")


def door(**changes: Any) -> Admission:
    return Admission(Settings(**{"max_in_flight": 8, **changes}))


class Guest:
    """A request that has come, and waits for its places if it must."""

    def __init__(self, admission: Admission, caller: Caller, weight: int = 1) -> None:
        self.visit: Visit = admission.arrive(caller, 0)
        self.name = caller.name
        self.waiting: asyncio.Task[float] | None = None
        self.weight = weight
        if not self.visit.enter(weight):
            self.waiting = asyncio.create_task(self.visit.wait(weight))

    @property
    def inside(self) -> bool:
        return self.visit.weight > 0

    async def failure(self) -> GatewayError:
        assert self.waiting is not None
        with pytest.raises(GatewayError) as caught:
            await self.waiting
        self.visit.leave()
        return caught.value

    async def leave(self) -> None:
        if self.waiting is not None:
            self.waiting.cancel()
            await asyncio.gather(self.waiting, return_exceptions=True)
        self.visit.leave()
        await settled()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def guests(admission: Admission, caller: Caller, count: int) -> list[Guest]:
    found = [Guest(admission, caller) for _ in range(count)]
    await settled()
    return found


async def served(admission: Admission, inside: list[Guest], waiting: list[Guest]) -> list[str]:
    """The names of those who wait in the order in which they get in, when those inside leave one by one."""
    order: list[str] = []
    while waiting:
        inside.sort(key=lambda guest: (guest.name != "alice", guest.name))
        await inside.pop(0).leave()
        entered = [guest for guest in waiting if guest.inside]
        assert len(entered) <= 1
        order += [guest.name for guest in entered]
        inside += entered
        waiting = [guest for guest in waiting if not guest.inside]
    for guest in inside:
        await guest.leave()
    return order


@contextmanager
def present_for(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(admission_module, "PRESENT_S", seconds)
        yield


# -- places ----------------------------------------------------------------------------------------------------------


async def test_a_caller_who_is_alone_has_every_place() -> None:
    admission = door()
    inside = await guests(admission, ANYONE, 8)
    assert all(guest.inside for guest in inside)
    assert not (await guests(admission, ANYONE, 1))[0].inside


async def test_those_who_wait_come_in_in_their_order() -> None:
    admission = door(max_in_flight=1)
    first, *rest = await guests(admission, ANYONE, 4)
    for guest in rest:
        await first.leave()
        assert [each.inside for each in rest] == [each is guest for each in rest]
        first = guest
        rest = rest[1:]


async def test_big_requests_take_more_places_and_are_not_kept_out_by_small_ones() -> None:
    admission = door()
    small = await guests(admission, ANYONE, 4)
    big = Guest(admission, ANYONE, 6)
    await settled()
    more = await guests(admission, ANYONE, 3)
    assert (admission.taken, big.inside, [guest.inside for guest in more]) == (4, False, [False] * 3)
    for guest in small[:2]:
        await guest.leave()
    assert (admission.taken, big.inside, [guest.inside for guest in more]) == (8, True, [False] * 3)
    await big.leave()
    assert all(guest.inside for guest in more)


async def test_a_request_that_is_bigger_than_the_house_has_it_alone() -> None:
    admission = door()
    one = await guests(admission, ANYONE, 1)
    big = Guest(admission, ANYONE, 1000)
    await one[0].leave()
    assert (big.inside, admission.taken) == (True, 8)
    await big.leave()
    assert (admission.taken, admission.in_flight, admission.queued) == (0, 0, 0)


async def test_one_who_leaves_the_queue_gives_up_nothing_but_his_turn() -> None:
    admission = door(max_in_flight=1)
    inside, second, third = await guests(admission, ANYONE, 3)
    await second.leave()
    assert admission.queued == 1
    await inside.leave()
    assert third.inside
    await third.leave()
    assert (admission.taken, admission.in_flight, admission.queued, admission.bytes) == (0, 0, 0, 0)


async def test_a_turn_that_comes_in_the_moment_of_leaving_goes_to_the_next() -> None:
    admission = door(max_in_flight=1)
    inside, second, third = await guests(admission, ANYONE, 3)
    inside.visit.leave()  # the second's turn comes
    assert second.waiting is not None
    second.waiting.cancel()  # before it could take it
    await asyncio.gather(second.waiting, return_exceptions=True)
    second.visit.leave()
    await settled()
    assert third.inside
    await third.leave()
    assert (admission.taken, admission.in_flight, admission.queued) == (0, 0, 0)


# -- whose turn ------------------------------------------------------------------------------------------------------


async def test_however_many_a_greedy_caller_sends_another_waits_for_the_next_place_alone() -> None:
    admission = door()
    inside = await guests(admission, ALICE, 8)
    greedy = await guests(admission, ALICE, 160)
    modest = await guests(admission, BOB, 4)
    order = await served(admission, inside, [*greedy, *modest])
    assert order[:4] == ["bob"] * 4
    assert len(order) == 164


async def test_places_are_shared_evenly_between_callers_who_all_want_more() -> None:
    admission = door()
    inside = await guests(admission, ALICE, 8)
    waiting = [*await guests(admission, ALICE, 20), *await guests(admission, BOB, 20)]
    for _ in range(8):
        left = next(guest for guest in inside if guest.name == "alice" and guest.inside)
        inside.remove(left)
        await left.leave()
        inside += [guest for guest in waiting if guest.inside]
        waiting = [guest for guest in waiting if not guest.inside]
        if sum(guest.name == "bob" for guest in inside) >= 4:
            break
    assert sum(guest.name == "alice" for guest in inside) == 4
    assert sum(guest.name == "bob" for guest in inside) == 4
    for guest in [*waiting, *inside]:
        await guest.leave()


async def test_a_larger_share_and_a_higher_priority_mean_more_places() -> None:
    for richer, places in ((Caller("rich", share=3), 6), (Caller("urgent", priority="high"), 6)):
        admission = door(max_in_flight=8)
        inside = await guests(admission, ALICE, 8)
        waiting = [*await guests(admission, ALICE, 20), *await guests(admission, richer, 20)]
        for _ in range(places):
            left = next(guest for guest in inside if guest.name == "alice")
            inside.remove(left)
            await left.leave()
            inside += [guest for guest in waiting if guest.inside]
            waiting = [guest for guest in waiting if not guest.inside]
        assert sum(guest.name == richer.name for guest in inside) == places
        for guest in [*waiting, *inside]:
            await guest.leave()


async def test_callers_of_low_priority_are_not_forgotten() -> None:
    admission = door(max_in_flight=2)
    inside = await guests(admission, Caller("alice", priority="high"), 2)
    waiting = [*await guests(admission, Caller("alice", priority="high"), 40)]
    waiting += await guests(admission, Caller("zoe", priority="low"), 1)
    order = await served(admission, inside, waiting)
    assert order.index("zoe") < 3


async def test_a_place_is_kept_for_a_caller_below_his_share_as_long_as_he_is_there() -> None:
    admission = door(max_in_flight=16)
    visitor = (await guests(admission, BOB, 1))[0]
    await visitor.leave()
    inside = [guest for guest in await guests(admission, ALICE, 20) if guest.inside]
    assert len(inside) == 14
    assert all(guest.inside for guest in await guests(admission, BOB, 2))


async def test_a_caller_who_has_gone_leaves_his_share_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    admission = door(max_in_flight=16)
    await (await guests(admission, BOB, 1))[0].leave()
    admission._swept_s = 0  # a second has passed
    with present_for(monkeypatch, -1):
        await guests(admission, ALICE, 1)
        assert sum(guest.inside for guest in await guests(admission, ALICE, 20)) == 15
    assert list(admission.present) == ["alice"]


async def test_a_key_that_is_changed_in_the_file_changes_its_callers_share() -> None:
    admission = door()
    await guests(admission, ALICE, 1)
    await guests(admission, Caller("alice", share=7), 1)
    assert (admission.present["alice"].share, admission.present["alice"].visits) == (28, 2)


# -- who is turned away ----------------------------------------------------------------------------------------------


async def test_when_the_queue_is_full_the_server_says_so() -> None:
    admission = door(max_in_flight=1, max_queue=1)
    inside = await guests(admission, ANYONE, 3)
    failure = await inside[2].failure()
    assert type(failure) is Overloaded
    assert re.match(r"1 requests are in flight and 1 wait; the limits are 1 places", failure.message)
    assert 1 <= int(failure.headers["retry-after"]) <= 60


async def test_in_a_full_queue_a_newcomer_takes_the_last_place_of_who_has_most_of_it() -> None:
    admission = door(max_queue=10)
    await guests(admission, ALICE, 8)
    greedy = await guests(admission, ALICE, 10)
    modest = (await guests(admission, BOB, 1))[0]
    failure = await greedy[-1].failure()
    assert type(failure) is RateLimited
    assert "'alice'" in failure.message
    assert (admission.queued, modest.inside) == (10, False)
    assert type(await (await guests(admission, ALICE, 1))[0].failure()) is RateLimited


async def test_a_wait_ends_at_its_deadline() -> None:
    admission = door(max_in_flight=1, queue_timeout_s=0.02)
    inside = await guests(admission, ANYONE, 2)
    failure = await inside[1].failure()
    assert type(failure) is Overloaded
    assert failure.message.startswith("waited 0.02 s for a place")
    assert admission.queued == 0


async def test_who_waited_behind_a_big_one_that_gave_up_comes_in() -> None:
    admission = door(queue_timeout_s=0.05)
    await guests(admission, ANYONE, 4)
    big = Guest(admission, ANYONE, 6)
    await asyncio.sleep(0.01)
    small = Guest(admission, ANYONE, 1)
    await settled()
    assert not small.inside
    assert type(await big.failure()) is Overloaded
    await settled()
    assert small.inside


async def test_a_key_may_have_so_many_requests_at_once_and_no_more() -> None:
    admission = door(max_concurrent=3)
    few = Caller("few", concurrent=2)
    inside = await guests(admission, few, 2)
    with pytest.raises(RateLimited, match="the key 'few' has 2 requests under way; it may have 2") as refused:
        admission.arrive(few, 0)
    assert refused.value.details == {"limit": 2, "value": 2}
    await inside[0].leave()
    admission.arrive(few, 0)
    await guests(admission, ALICE, 3)
    with pytest.raises(RateLimited):
        admission.arrive(ALICE, 0)


async def test_bodies_are_bounded_together_before_a_byte_of_them_is_read() -> None:
    admission = door(max_in_flight_bytes=800)
    first = admission.arrive(ALICE, 700)
    with pytest.raises(Overloaded, match="700 bytes, this one 200; the limit is 800"):
        admission.arrive(ALICE, 200)
    first.settle(100)
    second = admission.arrive(ALICE, 550)
    assert admission.bytes == 650
    bob = admission.arrive(BOB, 100)
    with pytest.raises(Overloaded):  # the last eighth is not for a caller who has more than half
        admission.arrive(ALICE, 50)
    admission.arrive(BOB, 50).leave()
    for visit in (first, second, bob):
        visit.leave()
    assert admission.bytes == 0


# -- over HTTP -------------------------------------------------------------------------------------------------------


async def test_a_request_beyond_the_places_waits_and_is_answered(running: Running, mock: Mock) -> None:
    mock.behave({"json_ms": 20})
    async with (
        running([await mock.listen()], max_in_flight=1) as url,
        httpx2.AsyncClient(base_url=url, timeout=20) as client,
    ):
        answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=ASK) for _ in range(5)))
        metrics = (await client.get("/metrics")).text
    assert [answer.status_code for answer in answers] == [200] * 5
    assert 'qvl_queue_seconds_count{priority="normal"}' in metrics


async def test_a_client_that_leaves_the_queue_never_reaches_the_engine(running: Running, mock: Mock) -> None:
    mock.behave({"fault": "stall"})
    async with running([await mock.listen()], max_in_flight=1) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=20) as client:
            first = asyncio.create_task(client.post("/v1/chat/completions", json=ASK))
            await until(lambda: len(mock.running) == 1)
            second = asyncio.create_task(client.post("/v1/chat/completions", json=ASK))
            await until(lambda: _waiting(client, 1))
            second.cancel()
            await until(lambda: _waiting(client, 0))
            first.cancel()
            await asyncio.gather(first, second, return_exceptions=True)
        await until(lambda: len(mock.aborts) == 1)
    assert mock.stats()["requests"] == 1


async def _waiting(client: httpx2.AsyncClient, count: int) -> bool:
    return f"qvl_requests_waiting {count}.0" in (await client.get("/metrics")).text


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/caption"])
async def test_a_full_server_says_when_to_come_again(running: Running, mock: Mock, path: str) -> None:
    mock.behave({"fault": "stall"})
    picture = "data:image/png;base64," + (
        "iVBORw0KGgoAAAANSUhEUgAAADgAAAA4AQMAAACSSKldAAAAA1BMVEUAgIBxQSaxAAAADklEQVR42mNgGAVDGQAAAcAAAb8Xq8EAAAAASUVORK5CYII="
    )
    asked = ASK if "chat" in path else {"image": picture}
    async with (
        running([await mock.listen()], max_in_flight=1, max_queue=0) as url,
        httpx2.AsyncClient(base_url=url, timeout=20) as client,
    ):
        first = asyncio.create_task(client.post(path, json=asked))
        await until(lambda: len(mock.running) == 1)
        answer = await client.post(path, json=asked)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "overloaded"
    assert int(answer.headers["retry-after"]) >= 1
