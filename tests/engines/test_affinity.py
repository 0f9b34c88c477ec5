"""A picture's questions go to the engine that has it, and each engine has its share."""

from benchmarks.affinity.asking import ask_all, bodies, shares, shown
from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import MODEL, Mock
from tests.conftest import Running


async def test_twelve_pictures_with_four_questions_each_stay_where_they_are_cached(running: Running) -> None:
    mocks = [Mock(behaviour=Behaviour(interval_ms=1)) for _ in range(2)]
    urls = [await mock.listen() for mock in mocks]
    async with running(urls) as url:
        await ask_all(url, bodies(MODEL, count=12), at_once=4, headers={})
    found = shares([list(shown([{"body": kept.body} for kept in mock.requests])) for mock in mocks])
    assert sum(found.requests) == 48
    assert found.repeats == 36
    assert found.cached >= 0.9 * found.repeats
    assert found.largest <= 0.6
    for mock in mocks:
        await mock.close()
