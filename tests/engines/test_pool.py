"""Which engine is asked, and which one after it."""

import asyncio
from typing import Any

import pytest

from benchmarks.overhead.behaviour import Behaviour
from server.engines.discovery import addresses
from server.engines.pool import Errand, Pool
from server.engines.work import PLAIN, Work
from server.errors import EngineFailed, EngineUnavailable, Overloaded
from server.settings import Settings
from tests.conftest import until
from tests.engines.conftest import Pooled

STALLED = Behaviour(fault="stall")


def photo(name: str, tokens: int = 1222) -> Work:
    return Work({name: tokens})


async def test_work_goes_where_the_least_is_in_flight_weighed_by_visual_tokens(pooled: Pooled) -> None:
    async with pooled(2) as few:
        for mock in few.mocks:
            mock.behaviour = STALLED
        waiting = [asyncio.create_task(few.ask(photo("large", 4000)))]
        await until(lambda: sum(few.counts()) == 1)
        for _ in range(3):
            waiting.append(asyncio.create_task(few.ask()))
            await until(lambda: sum(few.counts()) == len(waiting))
        assert sorted(few.counts()) == [1, 3]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert [(member.in_flight, member.load) for member in few.pool.engines] == [(0, 0), (0, 0)]


async def test_what_other_gateways_ask_of_an_engine_counts_too(pooled: Pooled) -> None:
    async with pooled(2) as few, pooled(0) as strangers:
        for mock in few.mocks:
            mock.behaviour = STALLED
        await strangers.pool.start(few.urls[:1])
        waiting = [asyncio.create_task(strangers.ask()) for _ in range(10)]
        await until(lambda: few.pool.engines[0].engine.others == 10)
        for number in range(1, 9):
            waiting.append(asyncio.create_task(few.ask()))
            await until(lambda: few.counts() == [10, number])  # noqa: B023
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_gateways_that_share_engines_do_not_all_run_to_the_idlest(pooled: Pooled) -> None:
    async with pooled(3) as few:
        idlest, busier, busiest = few.pool.engines
        busier.load = 500
        busiest.engine.others = 3  # of other gateways, as of the last look: by now they may be elsewhere
        errand = Errand("POST", "/", b"", b"", None, PLAIN)
        chosen = [few.pool._choose(errand, []) for _ in range(300)]
        assert chosen.count(idlest) > chosen.count(busier) > 50
        assert busiest not in chosen


async def test_engines_with_nothing_to_do_take_turns(pooled: Pooled) -> None:
    async with pooled(3) as few:
        for _ in range(9):
            await few.asked()
        assert few.counts() == [3, 3, 3]


async def test_the_same_picture_goes_to_the_same_engine_and_each_has_its_share(pooled: Pooled) -> None:
    async with pooled(3) as few:
        for _ in range(4):
            for name in range(30):
                before = few.counts()
                await few.asked(photo(f"picture {name}"))
                place = next(at for at, count in enumerate(few.counts()) if count != before[at])
                assert few.pool.engines[place].held.of({f"picture {name}": 1}) == 1
        assert all(count % 4 == 0 for count in few.counts())
        assert all(32 <= count <= 48 for count in few.counts())


async def test_gateways_send_a_picture_to_the_same_engine_without_talking(pooled: Pooled) -> None:
    async with pooled(2) as few:
        other = Pool(Settings())
        await other.start(list(reversed(few.urls)))
        first: dict[str, str] = {}
        for pool in (few.pool, other):
            for name in (f"picture {number}" for number in range(4)):
                member = pool._choose(Errand("POST", "/", b"", b"", None, photo(name)), [])
                assert member is not None
                assert first.setdefault(name, member.url) == member.url
                for each in pool.engines:
                    each.held.tokens = 0  # as far apart as it gets: by now the two hold different amounts
        await other.close()


async def test_a_picture_that_everybody_asks_about_is_shown_to_a_second_engine(pooled: Pooled) -> None:
    async with pooled(2) as few:
        for mock in few.mocks:
            mock.behaviour = STALLED
        waiting = [asyncio.create_task(few.ask(photo("the news"))) for _ in range(40)]
        await until(lambda: sum(few.counts()) == 40)
        assert min(few.counts()) >= 10
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_no_engine_gets_more_than_its_limit(pooled: Pooled) -> None:
    async with pooled(2, engine_connections=1) as few:
        for mock in few.mocks:
            mock.behaviour = STALLED
        waiting = [asyncio.create_task(few.ask()) for _ in range(2)]
        await until(lambda: few.counts() == [1, 1])
        with pytest.raises(Overloaded, match="engine_connections"):
            await few.ask()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(Behaviour(fault="refuse"), id="closes-at-once"),
        pytest.param(Behaviour(fault="die"), id="dies-in-its-answer"),
        pytest.param(Behaviour(fault="status", status=500), id="500"),
        pytest.param(Behaviour(fault="status", status=503), id="full"),
    ],
)
async def test_before_the_first_byte_another_engine_is_asked(pooled: Pooled, behaviour: Behaviour) -> None:
    async with pooled(2) as few:
        few.mocks[0].behaviour = behaviour
        assert [await few.asked() for _ in range(6)] == [200] * 6
        assert few.counts()[0] >= 1
        assert few.counts()[1] == 6


async def test_a_request_that_lost_its_engine_waits_for_one_that_comes_back(pooled: Pooled) -> None:
    async with pooled(1) as few:
        away = asyncio.create_task(few.mocks[0].refuse(for_s=0.3))
        await until(lambda: few.mocks[0]._server is None)
        assert few.pool.ready  # nobody has noticed yet
        assert await few.asked() == 200
        await away


async def test_a_request_that_finds_no_engine_is_told_so_at_once(pooled: Pooled) -> None:
    async with pooled(1, engine_wait_s=60) as few:
        await few.mocks[0].close()
        await until(lambda: not few.pool.ready)
        with pytest.raises(EngineUnavailable):
            await asyncio.wait_for(few.ask(), 1)


@pytest.mark.parametrize("fields", [{"model": "no such"}, {"mock": {"fault": "no such"}}], ids=["404", "400"])
async def test_a_callers_mistake_is_asked_once(pooled: Pooled, fields: dict[str, Any]) -> None:
    async with pooled(2) as few:
        assert await few.asked(**fields) in {400, 404}
        assert sum(few.counts()) <= 1  # the mock counts what it answers
        assert sum(len(mock.requests) for mock in few.mocks) == 1
        assert few.states() == ["ready", "ready"]


async def test_a_request_that_two_engines_broke_off_at_is_not_given_to_a_third(pooled: Pooled) -> None:
    async with pooled(3) as few:
        for mock in few.mocks:
            mock.behaviour = Behaviour(fault="die")
        with pytest.raises(EngineFailed):
            await few.ask()
        assert sorted(few.counts()) == [0, 1, 1]


async def test_an_engine_that_keeps_failing_is_left_alone_and_tried_again_later(pooled: Pooled) -> None:
    async with pooled(2) as few:
        few.mocks[0].behaviour = Behaviour(fault="status", status=500)
        assert [await few.asked() for _ in range(40)] == [200] * 40
        assert few.counts()[0] <= 5
        assert few.states()[0] == "tripped"
        few.mocks[0].behaviour = Behaviour()

        async def back() -> bool:
            await few.asked()
            return few.states()[0] == "ready"

        await until(back)


async def test_a_pool_whose_every_engine_fails_asks_all_the_same(pooled: Pooled) -> None:
    async with pooled(1) as few:
        few.mocks[0].behaviour = Behaviour(fault="status", status=500)
        assert [await few.asked() for _ in range(8)] == [500] * 8
        few.mocks[0].behaviour = Behaviour()
        assert await few.asked() == 200


async def test_what_waits_for_an_engine_that_makes_no_steps_is_asked_of_another(pooled: Pooled) -> None:
    async with pooled(2, engine_stall_s=0.3) as few:
        few.mocks[0].behaviour = STALLED
        async with asyncio.timeout(5):
            assert [await few.asked() for _ in range(2)] == [200, 200]
        assert few.states()[0] == "stuck"
        assert "made no step" in few.pool.engines[0].reason
        assert [await few.asked() for _ in range(4)] == [200] * 4
        assert few.counts()[1] == 6


async def test_a_stuck_engine_is_back_when_it_answers_a_question_again(pooled: Pooled) -> None:
    async with pooled(2, engine_stall_s=0.2, engine_probe_timeout_s=0.2) as few:
        few.mocks[0].behaviour = STALLED
        await few.asked()
        await few.asked()
        await until(lambda: few.states()[0] == "stuck")
        few.mocks[0].reset()
        few.mocks[0].behaviour = Behaviour()
        await until(lambda: few.pool.engines[0].ready)


async def test_what_waits_for_the_only_engine_goes_on_waiting(pooled: Pooled) -> None:
    async with pooled(1, engine_stall_s=0.1) as few:
        few.mocks[0].behaviour = STALLED
        waiting = asyncio.create_task(few.ask())
        await until(lambda: few.states() == ["stuck"])
        assert not waiting.done()
        with pytest.raises(EngineUnavailable, match="made no step"):
            await few.ask()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_requests_move_as_soon_as_there_is_an_engine_to_move_to(pooled: Pooled) -> None:
    async with pooled(2, engine_stall_s=0.1) as few:
        few.pool.drain(few.urls[1])
        few.mocks[0].behaviour = STALLED
        waiting = asyncio.create_task(few.asked())
        await until(lambda: few.states() == ["stuck", "drained"])
        few.pool.drain(few.urls[1], False)
        assert await asyncio.wait_for(waiting, 2) == 200


async def test_an_engine_that_comes_back_gets_less_than_its_share_at_first(pooled: Pooled) -> None:
    async with pooled(2, engine_slow_start_s=1000) as few:
        away = asyncio.create_task(few.mocks[0].refuse(for_s=0.3))
        await until(lambda: few.states() == ["down", "ready"])
        await away
        await until(lambda: few.states() == ["warming", "ready"])
        for mock in few.mocks:
            mock.reset()
            mock.behaviour = STALLED
        waiting = [asyncio.create_task(few.ask()) for _ in range(22)]
        await until(lambda: sum(few.counts()) == 22)
        assert few.counts() == [2, 20]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_drained_engine_finishes_what_it_has_and_gets_nothing_new(pooled: Pooled) -> None:
    async with pooled(2) as few:
        few.mocks[0].behaviour = Behaviour(json_ms=200)
        waiting = asyncio.create_task(few.asked())
        await until(lambda: few.counts() == [1, 0])
        assert few.pool.drain(few.urls[0])
        assert [await few.asked() for _ in range(3)] == [200] * 3
        assert few.counts() == [1, 3]
        assert await waiting == 200
        few.pool.drain(few.urls[0], False)
        await few.asked()
        assert few.counts() == [2, 3]


async def test_engines_join_and_leave_with_their_names(pooled: Pooled) -> None:
    async with pooled(3) as few:
        named = {few.urls[0]}

        async def resolve(name: str) -> frozenset[str]:
            assert name == "engines:8100"
            if not named:
                raise OSError("the DNS server is away")
            return frozenset(named)

        settings = Settings(
            engine_dns=["engines:8100"], engine_dns_s=0.02, engine_poll_s=0.05, engine_slow_start_s=0.01
        )
        pool = Pool(settings, resolve)
        await pool.start([])
        few.pool, own = pool, few.pool
        await few.asked()
        named |= {few.urls[1]}
        await until(lambda: few.states() == ["ready", "ready"])
        few.mocks[0].behaviour = Behaviour(json_ms=100)
        waiting = [asyncio.create_task(few.asked()) for _ in range(2)]
        await until(lambda: pool.engines[0].in_flight == 1)
        named.discard(few.urls[0])
        await until(lambda: pool.engines[0].state == "leaving")
        assert [await few.asked() for _ in range(3)] == [200] * 3
        assert await asyncio.gather(*waiting) == [200, 200]
        await until(lambda: [member.url for member in pool.engines] == [few.urls[1]])
        named.clear()
        await asyncio.sleep(0.05)  # two lookups that fail
        assert await few.asked() == 200
        await pool.close()
        few.pool = own


async def test_a_name_is_every_address_behind_it() -> None:
    assert "http://127.0.0.1:8100" in await addresses("localhost:8100")


async def test_the_only_engine_is_asked_while_it_fails_and_is_sound_again_with_its_first_answer(pooled: Pooled) -> None:
    async with pooled(1) as few:
        few.mocks[0].behaviour = Behaviour(fault="status", status=500)
        for _ in range(8):
            assert await few.asked() == 500
        assert few.states() == ["tripped"]
        few.mocks[0].behaviour = Behaviour()
        assert await few.asked() == 200
        assert few.states() == ["ready"]
