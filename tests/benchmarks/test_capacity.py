"""The capacity simulation against queues whose answer is known; benchmarks/capacity/check.py has a real gateway."""

import pytest

from benchmarks.capacity.costs import EngineRate, Kind
from benchmarks.capacity.simulate import Site, fewest, simulate

NOTHING = Kind("nothing", 0, 0, "")


def engine(places: int = 1, alone_s: float = 1, per_s: float = 1e9) -> EngineRate:
    return EngineRate("x", 1, per_s, alone_s, places, "")


def test_one_place_answers_one_after_the_other() -> None:
    site = Site(gateways=1, cores=1, places=100, engines=1, engine=engine())
    found = simulate(site, NOTHING, [0, 0.5, 1, 1.5])  # done at 1, 2, 3, 4
    assert (found.p50_s, found.p95_s) == (1.5, 2.5)
    assert found.answered_per_s == 1


def test_a_second_engine_takes_every_other_request() -> None:
    site = Site(gateways=1, cores=1, places=100, engines=2, engine=engine())
    assert simulate(site, NOTHING, [0, 0.5, 1, 1.5]).p95_s == 1


def test_a_gateway_decodes_as_many_at_once_as_it_has_cores() -> None:
    photo = Kind("photo", 0, 2, "")
    quick = engine(places=100, alone_s=0)
    two = Site(gateways=1, cores=2, places=100, engines=1, engine=quick)
    assert simulate(two, photo, [0, 0, 0, 0]).p95_s == pytest.approx(4)
    assert simulate(Site(2, 2, 100, 1, quick), photo, [0, 0, 0, 0]).p95_s == pytest.approx(2)


def test_places_of_the_gateway_bound_what_an_engine_is_given() -> None:
    site = Site(gateways=1, cores=1, places=2, engines=1, engine=engine(places=100))
    assert simulate(site, NOTHING, [0, 0, 0, 0]).p95_s == 2


def test_a_full_engine_answers_each_more_slowly_but_no_fewer_in_all() -> None:
    busy = engine(places=10, alone_s=1, per_s=2)
    found = simulate(Site(1, 1, 100, 1, busy), NOTHING, [0.0] * 10)
    assert found.p95_s == 5
    assert found.engine_busy == pytest.approx(1)


def test_the_fewest_engines_are_found() -> None:
    moments = [number * 0.5 for number in range(400)]  # two a second, each takes one: two engines at least
    site = fewest(NOTHING, engine(), moments, within_s=1.1)
    assert site is not None
    assert site.engines == 2
