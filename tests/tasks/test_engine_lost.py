"""Tasks whose engine dies while it answers: the caller gets every item once, and the same result."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from benchmarks.overhead.mock import Mock
from tests.conftest import running_gateway
from tests.tasks.common import asked, events, picture, says, uri

OBJECTS = [{"bbox_2d": [at, 10, at + 20, 50], "label": "cat"} for at in range(0, 200, 40)]
ANSWER = json.dumps(OBJECTS)
PAGE = "".join(f'<p data-bbox="20 {at} 200 {at + 20}">Line {at}</p>' for at in range(20, 240, 40))
DETECT = {"image": uri(picture()), "labels": ["cat"], "stream": True}
PARSE = {"document": uri(picture())}


class Two:
    """A gateway before two engines, the first of which holds the pictures below and so is asked first."""

    def __init__(self, client: httpx2.AsyncClient, mocks: list[Mock]) -> None:
        self.client, self.mocks = client, mocks

    async def events(self, path: str = "/v1/detect", **changes: Any) -> list[tuple[str, Any]]:
        return events((await self.client.post(path, json={**DETECT, **changes})).text)

    def requests(self) -> list[int]:
        return [mock.stats()["requests"] for mock in self.mocks]


@pytest.fixture
async def two(request: pytest.FixtureRequest) -> AsyncIterator[Two]:
    mocks = [Mock(), Mock()]
    urls = [await mock.listen() for mock in mocks]
    async with running_gateway(urls) as url, httpx2.AsyncClient(base_url=url, timeout=30) as client:
        path, body = ("/v1/parse-document", PARSE) if "page" in request.node.name else ("/v1/detect", DETECT)
        for mock in mocks:
            says(mock, PAGE if body is PARSE else ANSWER)
        await client.post(path, json=body)
        mocks.sort(key=lambda mock: mock.stats()["requests"], reverse=True)
        for mock in mocks:
            mock.reset()
        yield Two(client, mocks)
    for mock in mocks:
        await mock.close()


@pytest.mark.parametrize("after", [2, 25, 40, 59])
async def test_under_a_grammar_the_question_is_asked_again_and_every_item_is_told_once(two: Two, after: int) -> None:
    says(two.mocks[0], ANSWER, chunks=60, fault="die", after=after)
    says(two.mocks[1], ANSWER, chunks=60)
    found = await two.events()
    assert [kind for kind, _ in found] == ["item"] * 5 + ["result", "message"]
    assert [data for kind, data in found if kind == "item"] == found[-2][1]["objects"]
    assert two.requests() == [1, 1]
    assert asked(two.mocks[0]) == asked(two.mocks[1])


@pytest.mark.parametrize("after", [2, 25, 40, 59])
async def test_without_a_grammar_the_next_engine_goes_on_within_the_answer(two: Two, after: int) -> None:
    says(two.mocks[0], ANSWER, chunks=60, fault="die", after=after)
    says(two.mocks[1], ANSWER, chunks=60)
    found = await two.events(constrained=False)
    assert [kind for kind, _ in found] == ["item"] * 5 + ["result", "message"]
    assert two.requests() == [1, 1]
    begun = asked(two.mocks[1])["messages"][-1]
    assert begun["role"] == "assistant"
    assert ANSWER.startswith(begun["content"])
    assert begun["content"]


async def test_a_second_answer_that_differs_takes_the_first_one_back(two: Two) -> None:
    others = [{**OBJECTS[0], "label": "cat"}, {"bbox_2d": [400, 10, 420, 50], "label": "cat"}]
    says(two.mocks[0], ANSWER, chunks=60, fault="die", after=45)
    says(two.mocks[1], json.dumps(others), chunks=60)
    found = await two.events()
    kinds = [kind for kind, _ in found]
    at = kinds.index("restart")
    assert kinds[at:] == ["restart", "item", "item", "result", "message"]
    assert [data for kind, data in found[at:] if kind == "item"] == found[-2][1]["objects"]


async def test_a_result_that_is_waited_for_whole_survives_too(two: Two) -> None:
    says(two.mocks[0], ANSWER, chunks=60, fault="die", after=30)
    says(two.mocks[1], ANSWER, chunks=60)
    answer = await two.client.post("/v1/detect", json={**DETECT, "stream": False})
    assert answer.status_code == 200
    assert answer.json()["count"] == 5


async def test_a_page_goes_on_where_it_broke_off(two: Two) -> None:
    says(two.mocks[0], PAGE, chunks=40, fault="die", after=20)
    says(two.mocks[1], PAGE, chunks=40)
    answer = await two.client.post("/v1/parse-document", json=PARSE)
    assert answer.status_code == 200, answer.text
    assert [block["text"] for block in answer.json()["pages"][0]["blocks"]] == [
        f"Line {at}" for at in range(20, 240, 40)
    ]
    assert two.requests() == [1, 1]


async def test_an_engine_that_breaks_off_every_time_is_asked_no_more_than_thrice(two: Two) -> None:
    for mock in two.mocks:
        says(mock, ANSWER, chunks=60, fault="die", after=30)
    found = await two.events()
    assert found[-2][1]["error"]["code"] == "engine_failed"
    assert [kind for kind, _ in found].count("item") == 2
    assert sum(two.requests()) == 3
