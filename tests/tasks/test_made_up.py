"""A task is one file and one line in a table: everything else follows."""

from collections.abc import Sequence
from typing import Any, ClassVar

import httpx2
import pytest
from fastapi import FastAPI

from server.callers.admission import Admission
from server.callers.auth import Auth
from server.routes.tasks import card, task_routes
from server.settings import Settings
from server.tasks.caption import TextReader
from server.tasks.inputs import Media
from server.tasks.task import Ask, MediaKind, Part, Shown, Task, TaskRequest, TaskResult, question


class CountRequest(TaskRequest):
    """What to count."""

    image: Media
    thing: str


class CountResult(TaskResult):
    """How many there are."""

    number: int


class Count(Task[CountRequest]):
    """The file that somebody would add."""

    name = "count"
    object = "number"
    summary = "Say how many there are."
    inputs: ClassVar[dict[str, MediaKind]] = {"image": "image"}
    request = CountRequest
    result_model = CountResult

    def ask(self, request: CountRequest, shown: Shown) -> Ask:
        return Ask(question(shown, f"How many {request.thing}?"))

    def reader(self, request: CountRequest, shown: Shown) -> TextReader:
        return TextReader(shown)

    def result(self, request: CountRequest, parts: Sequence[Part]) -> dict[str, Any]:
        assert parts[0].reader is not None
        return {"number": int(parts[0].reader.text)}


TABLE = (Count(),)  # the line


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    app.state.settings, app.state.admission, app.state.auth = (
        Settings(),
        Admission(Settings(max_in_flight=1, max_queue=0)),
        Auth([]),
    )
    app.include_router(task_routes(TABLE))
    return app


async def test_a_made_up_task_is_described_for_generators(app: FastAPI):
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://x") as client:
        described = (await client.get("/openapi.json")).json()
    body = described["paths"]["/v1/count"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["image", "thing"]
    assert "CountResult" in described["components"]["schemas"]


def test_a_made_up_task_is_listed():
    listed = card(TABLE[0], Settings())
    assert (listed["path"], listed["inputs"]) == ("/v1/count", {"image": "image"})
    assert listed["result_schema"]["properties"]["number"] == {"title": "Number", "type": "integer"}
