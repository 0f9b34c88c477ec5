"""Puts together what several processes tell: metrics as families of samples, engines as cards.

Counters and histograms are added up. A gauge is what `GAUGES` says; of engines, whom each worker judges by itself, the
worst that any worker sees is told, so that one word, one reason and one figure belong together.
"""

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

from server.engines.member import STATES

Family = tuple[str, str, str, list[tuple[str, dict[str, str], float]]]
"""(name, help, type, samples); a sample is (name, labels, value)."""
Rule = Callable[[Iterable[float]], float]
STATE = "qvl_engine_state"
GAUGES: dict[str, Rule] = {
    "qvl_requests_in_flight": sum,  # of the parent, who alone has these five
    "qvl_requests_waiting": sum,
    "qvl_places": sum,
    "qvl_request_body_bytes": sum,
    "qvl_workers": sum,
    "qvl_engine_ready": min,  # 1 when it takes requests from every worker
    "qvl_engine_requests_in_flight": sum,
    STATE: max,  # of the worst state alone
}
"""What a gauge of the server is, of those of its processes."""


def families_of(registry: Collector) -> list[Family]:
    """All that a process counts."""
    return [
        (
            each.name,
            each.documentation,
            each.type,
            [(sample.name, sample.labels, sample.value) for sample in each.samples],
        )
        for each in registry.collect()
    ]


def merged(parts: Iterable[Iterable[Family]]) -> list[Family]:
    """One of each family.

    >>> one = ("qvl_things", "Things.", "counter", [("qvl_things_total", {"kind": "a"}, 2.0)])
    >>> merged([[one], [one]])[0][3]
    [('qvl_things_total', {'kind': 'a'}, 4.0)]
    """
    described: dict[str, tuple[str, str]] = {}
    found: dict[str, dict[tuple[Any, ...], list[float]]] = {}
    for part in parts:
        for name, help_text, kind, samples in part:
            described[name] = (help_text, kind)
            values = found.setdefault(name, {})
            for sample, labels, value in samples:
                values.setdefault((sample, *labels.items()), []).append(value)
    families = []
    for name, (help_text, kind) in described.items():
        rule = GAUGES[name] if kind == "gauge" else sum
        together = [(sample, dict(labels), rule(values)) for (sample, *labels), values in found[name].items()]
        families.append((name, help_text, kind, _worst(together) if name == STATE else together))
    return families


def counted(families: Iterable[Family]) -> list[Family]:
    """What stays of a process that is gone: no gauges."""
    return [family for family in families if family[2] != "gauge"]


def exposition(families: Iterable[Family]) -> bytes:
    """The families in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Told(families))
    return generate_latest(registry)


def engines_of(parts: Iterable[Iterable[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One card for each engine.

    >>> ready = {"engine": "http://a", "ready": True, "state": "ready", "in_flight": 2, "models": ["m"]}
    >>> engines_of([[ready], [{**ready, "state": "down", "in_flight": 1, "ready": False}]])
    [{'engine': 'http://a', 'ready': False, 'state': 'down', 'in_flight': 3, 'models': ['m']}]
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for part in parts:
        for card in part:
            found.setdefault(card["engine"], []).append(card)
    return [
        {
            **max(cards, key=lambda card: STATES.index(card["state"])),
            "in_flight": sum(card["in_flight"] for card in cards),
            "models": sorted({model for card in cards for model in card["models"]}),
        }
        for cards in found.values()
    ]


def _worst(samples: Iterable[tuple[str, dict[str, str], float]]) -> list[tuple[str, dict[str, str], float]]:
    """Of the states of each engine the worst."""
    worst: dict[str, tuple[int, tuple[str, dict[str, str], float]]] = {}
    for sample in samples:
        labels = sample[1]
        place = STATES.index(labels["state"])
        known = worst.get(labels["engine"], (-1, sample))
        worst[labels["engine"]] = max((place, sample), known, key=itemgetter(0))
    return [sample for _, sample in worst.values()]


class _Told(Collector):
    """Families for prometheus_client, which writes them."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        for name, help_text, kind, samples in self._families:
            metric = Metric(name, help_text, kind)
            for sample, labels, value in samples:
                metric.add_sample(sample, labels, value)
            yield metric
