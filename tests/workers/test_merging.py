"""What several processes tell adds up: counters and histograms by adding, gauges by their meaning, and no more."""

from typing import Any

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from server.callers.admission import Admission
from server.seeing import metrics
from server.seeing.metrics import Counter, Gauge, Histogram
from server.seeing.observer import ErrorSeen, Pulse
from server.seeing.usage import Amount, Ledger
from server.settings import Settings
from server.workers.merging import GAUGES, Family, counted, engines_of, exposition, families_of, merged
from server.workers.parts import Part, left_by, parent_part, stuck, view_of


class Process:
    """What one process counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("qvl_requests", "Requests.", ["path", "status"], self.registry)
        self.seconds = Histogram("qvl_seconds", "Times.", "path", (0.1, 1), self.registry)
        self.ready = Gauge("qvl_engine_ready", "Ready.", ["engine"], self.registry)
        self.load = Gauge("qvl_engine_requests_in_flight", "Load.", ["engine"], self.registry)
        self.state = Gauge("qvl_engine_state", "State.", ["engine", "state"], self.registry)

    def sees(self, engine: str, state: str, load: int) -> None:
        self.ready.read = lambda: iter([((engine,), state == "ready")])
        self.load.read = lambda: iter([((engine,), load)])
        self.state.read = lambda: iter([((engine, state), 1)])

    def told(self) -> list[Family]:
        """As it arrives: through JSON."""
        told: list[Family] = orjson.loads(orjson.dumps(families_of(self.registry)))
        return told


def samples(families: list[Family]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What a scrape of these gives."""
    parsed = text_string_to_metric_families(exposition(families).decode())
    return {(each.name, frozenset(each.labels.items())): each.value for family in parsed for each in family.samples}


def at(families: list[Family], name: str, **labels: str) -> float | None:
    return samples(families).get((name, frozenset(labels.items())))


def test_counters_are_added_up_by_their_labels() -> None:
    one, other = Process(), Process()
    one.requests.add(("/a", "200"), 3)
    other.requests.add(("/a", "200"), 4)
    other.requests.add(("/a", "500"))
    together = merged([one.told(), other.told()])
    assert at(together, "qvl_requests_total", path="/a", status="200") == 7
    assert at(together, "qvl_requests_total", path="/a", status="500") == 1


def test_histograms_are_added_up_bucket_by_bucket() -> None:
    one, other = Process(), Process()
    for process, value in ((one, 0.05), (one, 0.5), (other, 0.5), (other, 7)):
        process.seconds.observe("/a", value)
    other.seconds.observe("/b", 1)
    together = merged([one.told(), other.told()])
    buckets = [at(together, "qvl_seconds_bucket", path="/a", le=bound) for bound in ("0.1", "1", "+Inf")]
    assert buckets == [1, 3, 4]
    assert at(together, "qvl_seconds_count", path="/a") == 4
    assert at(together, "qvl_seconds_sum", path="/a") == 8.05
    assert at(together, "qvl_seconds_count", path="/b") == 1


def test_one_process_merged_is_that_process() -> None:
    one = Process()
    one.requests.add(("/a", "200"), 3)
    one.seconds.observe("/a", 0.5)
    one.sees("http://a", "ready", 2)
    assert exposition(merged([one.told()])) == metrics.generate_latest(one.registry)


def test_an_engine_is_as_the_worker_sees_it_that_sees_it_worst() -> None:
    one, other = Process(), Process()
    one.sees("http://a", "ready", 2)
    other.sees("http://a", "stuck", 3)
    for parts in ([one, other], [other, one]):
        together = merged([process.told() for process in parts])
        assert at(together, "qvl_engine_ready", engine="http://a") == 0
        assert at(together, "qvl_engine_requests_in_flight", engine="http://a") == 5
        assert at(together, "qvl_engine_state", engine="http://a", state="stuck") == 1
        assert at(together, "qvl_engine_state", engine="http://a", state="ready") is None


def test_of_a_process_that_is_gone_the_counts_stay_and_the_gauges_go() -> None:
    one, other = Process(), Process()
    one.requests.add(("/a", "200"), 3)
    one.sees("http://a", "down", 9)
    other.requests.add(("/a", "200"), 1)
    other.sees("http://a", "ready", 1)
    together = merged([counted(one.told()), other.told()])
    assert at(together, "qvl_requests_total", path="/a", status="200") == 4
    assert at(together, "qvl_engine_ready", engine="http://a") == 1
    assert at(together, "qvl_engine_requests_in_flight", engine="http://a") == 1


def test_every_gauge_has_a_meaning_over_several_processes() -> None:
    assert {family[0] for family in families_of(metrics.REGISTRY) if family[2] == "gauge"} == GAUGES.keys()


def test_a_card_of_an_engine_is_the_worst_one_with_the_load_of_all() -> None:
    card = {"engine": "http://a", "ready": True, "state": "warming", "reason": None, "in_flight": 1, "models": ["m"]}
    worse = {**card, "ready": False, "state": "down", "reason": "it is gone", "models": []}
    other = {**card, "engine": "http://b"}
    expected = [{**worse, "in_flight": 2, "models": ["m"]}, other]
    assert engines_of([[card, other], [worse]]) == expected


# -- parts -----------------------------------------------------------------------------------------------------------


def worker(requests: int, error: str, stuck_s: float | None = None) -> Part:
    """A worker's part, as it arrives."""
    ledger, pulse = Ledger(), Pulse()
    ledger.take_in({"since_s": 100.0 + requests, "gone": [], "callers": []})
    written = {"since_s": 100.0, "callers": [["alice", 20_000, "/a", "m", [requests, 0, 5, 2, 0, 0.5]]], "gone": []}
    ledger.take_in(written)
    pulse.add(25, error=True, tokens=requests)
    engine = {"engine": "unix:/e", "ready": True, "state": "ready", "reason": "", "in_flight": 1, "models": ["m"]}
    part = {
        "metrics": [],
        "usage": ledger.written(),
        "pulse": pulse.written(),
        "errors": [ErrorSeen(error, f"id-{requests}", "alice", "/a", 500, "internal_error")],
        "engines": [{**engine, "stuck_s": stuck_s}],
    }
    return through_json(part)


def through_json(part: Part) -> Part:
    part = {**part, "errors": [list(error) for error in part.get("errors", [])]}
    found: dict[str, Any] = orjson.loads(orjson.dumps(part))
    return found


def test_a_view_is_of_all_workers_and_of_those_that_are_gone() -> None:
    gone = left_by([worker(4, "2026-01-03"), worker(1, "2026-01-01")])
    parent = through_json(parent_part(Admission(Settings(max_in_flight=7)), started_s=0))
    view = view_of([parent, through_json(gone), worker(2, "2026-01-02")])
    assert view.ledger.total("alice") == Amount(7, 0, 15, 6, 0, 1.5)
    assert view.ledger.since_s == 100
    assert view.pulse.slots(25)[-1] == (3, 3, 7)
    assert [error.request_id for error in view.errors] == ["id-1", "id-2", "id-4"]
    assert [card["in_flight"] for card in view.engines] == [1]
    assert "stuck_s" not in view.engines[0]
    assert view.places["places"]["all"] == 7


def test_an_engine_that_one_worker_finds_stuck_is_stuck() -> None:
    parts = [worker(1, "a"), worker(2, "b", stuck_s=7), worker(3, "c", stuck_s=3)]
    assert stuck(parts, "unix:/e") == (7, "")
    assert stuck(parts, "unix:/other") == (0, "")
