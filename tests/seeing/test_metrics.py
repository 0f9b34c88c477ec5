"""Counters are there before the first thing to count: Prometheus sees no increase in a series that begins at 1."""

import ast
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

import server
from server.seeing import metrics
from server.tasks import TASKS

SOURCES = sorted(Path(server.__path__[0]).rglob("*.py"))
SEVERAL = {"_refused": "REFUSED"}
"""Functions that count for others, and what."""


def counted() -> Iterator[tuple[str, str]]:
    """(counter, label value) of everything that the program counts by a word of its own."""
    for node in (node for file in SOURCES for node in ast.walk(ast.parse(file.read_text()))):
        if not isinstance(node, ast.Call):
            continue
        match node.func, node.args:
            case ast.Attribute(value=ast.Attribute(attr=name), attr="add"), [ast.Tuple(elts=[label]), *_]:
                values: list[ast.expr] = [label.body, label.orelse] if isinstance(label, ast.IfExp) else [label]
            case ast.Name(id=function), [*_, label] if function in SEVERAL:
                name, values = SEVERAL[function], [label]
            case _:
                continue
        yield from ((name, str(value.value)) for value in values if isinstance(value, ast.Constant) and value.value)


@pytest.mark.parametrize(("counter", "value"), sorted({*counted()}))
def test_what_the_program_counts_by_a_word_of_its_own_begins_at_0(counter: str, value: str) -> None:
    assert (value,) in getattr(metrics, counter).values


def test_the_words_are_found() -> None:
    assert {("AFFINITY", "new"), ("AFFINITY", "overloaded"), ("CUT", "resumed"), ("REFUSED", "full")} <= {*counted()}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/detect"])
@pytest.mark.parametrize("status", metrics.WATCHED)
async def test_an_answer_of_a_status_that_alerts_watch_is_an_increase(
    client: httpx2.AsyncClient, path: str, status: str
) -> None:
    assert ("qvl_requests_total", (path, status)) in await shown(client)


async def test_a_path_is_counted_under_the_name_that_it_began_with(client: httpx2.AsyncClient) -> None:
    before = await shown(client)
    for task in TASKS:
        await client.post(task.path, json={"frobnicate": 1})
    after = await shown(client)
    for task in TASKS:
        labels = ("qvl_requests_total", (task.path, "400"))
        assert after[labels] == before[labels] + 1


async def shown(client: httpx2.AsyncClient) -> dict[tuple[str, tuple[str, ...]], float]:
    """(name, label values) -> value of a scrape."""
    families = text_string_to_metric_families((await client.get("/metrics")).text)
    return {(each.name, tuple(each.labels.values())): each.value for family in families for each in family.samples}
