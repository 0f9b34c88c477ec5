"""The Python client against our gateway over HTTP: every task, its inputs, streams, retries and errors."""

import inspect
import io
import time
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import orjson
import pytest
from PIL import Image
from pydantic import BaseModel

import qwenvl
from qwenvl import AsyncClient, Client, errors
from server.errors import GatewayError, LimitExceeded
from server.tasks import TASKS
from tests.clients.conftest import Served
from tests.media.conftest import make
from tests.tasks.common import pdf, picture, uri

CAT = '[{"bbox_2d":[14,28,140,56],"label":"cat"}]'
TWO = '[{"bbox_2d":[14,28,140,56],"label":"cat"},{"bbox_2d":[200,28,240,56],"label":"dog"}]'
PAGE = '<html><body><h1 data-bbox="1 2 90 40">Bill</h1><p data-bbox="1 50 90 60">Total 5</p></body></html>'
EVENTS = '[{"start_time":"00:01.00","end_time":"00:02.00","description":"It grows."}]'
CLICK = (
    '<tool_call>\n{"name": "computer_use", "arguments": {"action": "left_click", "coordinate": [14, 28]}}\n</tool_call>'
)


# -- tasks -----------------------------------------------------------------------------------------------------------
def test_there_is_a_method_for_every_task_of_the_server(client: Client):
    for task in TASKS:
        assert callable(getattr(client, task.name.replace("-", "_"))), task.name
    assert {card.id for card in client.tasks()} == {task.name for task in TASKS}


def test_both_clients_have_the_same_methods_with_the_same_arguments(client: Client):
    other = AsyncClient(client.settings.base_url)
    names = {name for name in dir(Client) if not name.startswith("_")}
    assert names == {name for name in dir(AsyncClient) if not name.startswith("_")}
    for task in TASKS:
        name = task.name.replace("-", "_")
        assert inspect.signature(getattr(client, name)) == inspect.signature(getattr(other, name))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_method_takes_every_field_of_its_task(client: Client, task: Any):
    """`format` and `render` of detect are what the client does itself: to_coco, to_yolo, save_overlay."""
    renamed = {"json_schema": "schema"}
    method = inspect.signature(getattr(client, task.name.replace("-", "_")))
    known = {*method.parameters, *qwenvl.calls.Options.__annotations__, "stream", "image", "document"}
    fields = {renamed.get(name, name) for name in task.request.model_fields}
    if task.name == "detect":
        fields -= {"format", "render"}
    assert fields <= known


def test_detect_gives_boxes_in_the_pixels_of_the_file(client: Client, served: Served, tmp_path: Path):
    served.says(TWO)
    path = tmp_path / "large.jpg"
    path.write_bytes(picture(1120, 560))
    found = client.detect(path, ["cat", "dog", "cow"])
    shown = found.model_input
    x, y = 1120 / shown.width, 560 / shown.height
    assert found.objects[0].bbox_2d == (round(14 * x), round(28 * y), round(140 * x), round(56 * y))
    assert found.counts == {"cat": 1, "dog": 1, "cow": 0}
    assert found.not_found == ["cow"]
    assert found.request_id


def test_points_are_asked_for_by_mode(client: Client, served: Served, photo: Path):
    served.says('[{"point_2d":[14,28],"label":"star"}]')
    found = client.detect(photo, ["star"], mode="point", coordinate_space="unit")
    assert found.objects[0].point_2d == (0.025, 0.1)
    assert found.pixels(found.objects[0]) == (14, 28)


def test_a_document_has_its_pages(client: Client, served: Served):
    served.says(PAGE)
    document = client.parse_document(pdf((200, 200, "a"), (200, 200, "b")), pages="2")
    assert [page.page for page in document.pages] == [2]
    assert document.pages[0].blocks is not None
    assert [block.type for block in document.pages[0].blocks] == ["title", "paragraph"]
    assert document.to_markdown().startswith("# Bill")
    assert document.text == "Bill\nTotal 5"
    assert document.to_rows()[0]["level"] == 1


def test_a_film_has_its_events(client: Client, served: Served):
    served.says(EVENTS)
    found = client.localize_events(make([at / 10 for at in range(40)]))
    assert [(each.start_s, each.duration_s, each.description) for each in found.events] == [(1, 1, "It grows.")]
    assert "00:00:01.000 --> 00:00:02.000\nIt grows." in found.to_webvtt()


@pytest.mark.parametrize("count", [1, 4])
def test_frames_are_a_film_too(client: Client, served: Served, count: int):
    served.says(EVENTS.replace("00:02", "00:01"))
    frames = [Image.new("RGB", (280, 280), (at * 20, 0, 0)) for at in range(count)]
    found = client.localize_events(frames, fps=1)
    assert found.duration_s == count


def test_words_captions_facts_and_actions(client: Client, served: Served, photo: Path):
    served.says('[{"bbox_2d":[1,2,30,40],"text_content":"TOTAL"}]')
    assert client.read_text(photo, level="line").lines[0].text == "TOTAL"
    served.says("A red picture.")
    assert client.caption(photo, length="short").caption == "A red picture."
    served.says(CLICK)
    action = client.act(photo, "open it", history=[{"action": "left_click", "coordinate": [1, 2]}, "waited"])
    assert (action.name, action.action["coordinate"], action.is_over) == ("left_click", [14, 28], False)
    assert "waited" in str(served.asked()["messages"])


class Bill(BaseModel):
    total: float


def test_facts_hold_to_a_pydantic_model(client: Client, served: Served, photo: Path):
    served.says('{"total": 5.25}')
    assert Bill.model_validate(client.extract(photo, Bill).data).total == 5.25


def test_the_clients_model_is_asked_unless_a_call_names_one(served: Served, photo: Path):
    served.says("Red.")
    with Client(served.url, model="no-such-model") as client:
        with pytest.raises(errors.NotFoundError) as refused:
            client.caption(photo)
        assert refused.value.code == "model_not_found"
        assert client.caption(photo, model="qwen2.5-vl").caption == "Red."


def test_models_and_openai_are_at_hand(client: Client, served: Served, photo: Path):
    assert "qwen2.5-vl" in {card.id for card in client.models()}
    served.says("Hello.")
    message = qwenvl.ask("What is it?", qwenvl.image_part(photo))
    answer = client.openai.chat.completions.create(model="qwen2.5-vl", messages=[message])  # type: ignore[list-item]
    assert answer.choices[0].message.content == "Hello."


# -- inputs ----------------------------------------------------------------------------------------------------------
def array() -> Any:
    return np.full((280, 560, 3), (200, 30, 30), dtype=np.uint8)


@pytest.mark.parametrize(
    "make_input",
    [
        pytest.param(lambda path: path, id="path"),
        pytest.param(str, id="string"),
        pytest.param(Path.read_bytes, id="bytes"),
        pytest.param(lambda path: bytearray(path.read_bytes()), id="bytearray"),
        pytest.param(lambda path: io.BytesIO(path.read_bytes()), id="file"),
        pytest.param(lambda path: Image.open(io.BytesIO(path.read_bytes())), id="PIL"),
        pytest.param(lambda path: array(), id="array"),
        pytest.param(lambda path: array()[:, :, 0], id="grey array"),
        pytest.param(lambda path: uri(path.read_bytes()), id="data URI"),
    ],
)
def test_whatever_holds_the_picture_is_taken(client: Client, served: Served, photo: Path, make_input: Any):
    served.says(CAT)
    found = client.detect(make_input(photo), ["cat"])
    assert found.image.wh == (560, 280)
    assert found.objects[0].bbox_2d == (14, 28, 140, 56)


def test_a_large_picture_from_memory_travels_as_jpeg():
    sent = qwenvl.inputs.source(Image.effect_noise((2000, 1500), 90))
    assert isinstance(sent, qwenvl.inputs.Held)
    assert sent.media_type == "image/jpeg"


@pytest.mark.parametrize(
    ("value", "failure", "words"),
    [
        pytest.param("no/such.jpg", FileNotFoundError, "no URL", id="missing file"),
        pytest.param(array().astype(float), TypeError, "8 bits", id="floats"),
        pytest.param(np.zeros((3, 4, 5, 6), np.uint8), TypeError, "shape", id="four dimensions"),
        pytest.param(7, TypeError, "int is no path", id="number"),
        pytest.param(io.StringIO("x"), TypeError, "binary", id="text file"),
    ],
)
def test_what_is_no_picture_is_refused_before_anything_is_sent(
    client: Client, value: Any, failure: type[Exception], words: str
):
    with pytest.raises(failure, match=words):
        client.detect(value)


def test_a_label_alone_is_no_list_of_labels(client: Client, photo: Path):
    with pytest.raises(TypeError, match=r'labels is a list of words: \["cat"\]'):
        client.detect(photo, "cat")


@pytest.mark.parametrize("words", ['{"a": 1}', "[1, 2]", "[brave] one", "a \u732b, b", "12"])
def test_words_that_look_like_json_arrive_as_words(client: Client, served: Served, photo: Path, words: str):
    served.says(CAT)
    client.detect(photo, prompt=words)
    assert words in served.asked()["messages"][1]["content"][1]["text"]


def test_progress_is_told_up_to_the_last_byte(client: Client, served: Served, tmp_path: Path):
    served.says("Noise.")
    path = tmp_path / "noise.png"
    Image.effect_noise((900, 900), 90).save(path)
    told: list[tuple[int, int]] = []
    client.caption(path, on_upload=lambda sent, total: told.append((sent, total)))
    size = path.stat().st_size
    assert told[-1] == (size, size)
    assert len(told) > 3
    assert told == sorted(told)


# -- streams ---------------------------------------------------------------------------------------------------------
def test_items_come_one_by_one_and_then_the_result(client: Client, served: Served, photo: Path):
    served.says(TWO, chunks=20)
    with client.detect.stream(photo, ["cat", "dog"]) as found:
        labels = [each.label for each in found]
    assert labels == ["cat", "dog"]
    assert found.result().count == 2
    assert found.request_id == found.result().request_id


def test_an_item_is_there_before_the_answer_is_over(client: Client, served: Served, photo: Path):
    served.says(TWO, chunks=20, fault="stall", after=14)
    with client.detect.stream(photo, timeout_s=10) as found:
        assert next(iter(found)).label == "cat"


def test_leaving_a_stream_ends_the_work(client: Client, served: Served, photo: Path):
    served.says(TWO, chunks=20, fault="stall", after=14)
    with client.detect.stream(photo) as found:
        next(iter(found))
    deadline = time.monotonic() + 5
    while not served.engine("aborts"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_result_can_be_had_without_the_items(client: Client, served: Served, photo: Path):
    served.says(TWO)
    assert client.detect.stream(photo).result().count == 2


def test_captions_stream_as_text_and_pages_as_pages(client: Client, served: Served, photo: Path):
    served.says("A red picture.")
    assert "".join(client.caption.stream(photo)) == "A red picture."
    served.says(PAGE)
    pages = list(client.parse_document.stream(pdf((200, 200, "a"), (200, 200, "b"))))
    assert sorted(page.page for page in pages) == [1, 2]


def test_an_error_in_a_stream_is_raised_with_its_class(client: Client, served: Served, photo: Path):
    served.says(TWO, chunks=20, fault="die", after=14)
    with client.detect.stream(photo) as found, pytest.raises(errors.EngineFailedError) as failed:
        list(found)
    assert failed.value.request_id


async def test_the_async_client_does_the_same(served: Served, photo: Path):
    async with AsyncClient(served.url) as client:
        served.says(TWO)
        assert (await client.detect(photo, ["cat"])).count == 2
        stream = await client.detect.stream(photo)
        async with stream:
            assert [each.label async for each in stream] == ["cat", "dog"]
        assert (await stream.result()).count == 2
        assert {card.id for card in await client.tasks()} == {task.name for task in TASKS}
        assert await client.models()
        with pytest.raises(errors.BadRequestError):
            await client.detect(photo, prompt="")
        models = [card.id async for card in client.openai.models.list()]
        assert "qwen2.5-vl" in models


# -- errors and retries ----------------------------------------------------------------------------------------------
def every(base: type[GatewayError]) -> list[type[GatewayError]]:
    return [base, *(found for each in base.__subclasses__() for found in every(each))]


@pytest.mark.parametrize("error", every(GatewayError), ids=lambda error: error.__name__)
def test_every_error_of_the_server_has_its_class(error: type[GatewayError]):
    made = error("m", **({"value": 2, "limit": 1} if issubclass(error, LimitExceeded) else {}))
    found = errors.status_error(made.status, orjson.dumps(made.body()), {})
    assert type(found) is not errors.StatusError
    assert (found.status, found.code, found.message) == (made.status, made.code, made.body()["error"]["message"])


def test_an_error_names_field_limit_and_request(client: Client, photo: Path):
    with pytest.raises(errors.BadRequestError) as refused:
        client.detect(photo, max_tokens=10**6)
    error = refused.value
    assert (error.param, error.code, error.value, error.limit) == ("max_tokens", "limit_exceeded", 10**6, 32768)
    assert error.request_id
    assert error.request_id in str(error)


def test_the_key_is_presented():
    def answer(request: httpx2.Request) -> httpx2.Response:
        given = request.headers.get("authorization")
        return httpx2.Response(200 if given == "Bearer secret" else 401, json={"data": []})

    with Client("http://there", "secret", transport=httpx2.MockTransport(answer)) as client:
        assert client.models() == []
    with (
        Client("http://there", transport=httpx2.MockTransport(answer)) as client,
        pytest.raises(errors.AuthenticationError),
    ):
        client.models()


def test_an_unreadable_answer_is_told_with_its_text_and_not_asked_for_again(
    client: Client, served: Served, photo: Path
):
    served.says("I see a cat.")
    with pytest.raises(errors.AnswerUnreadableError) as failed:
        client.detect(photo, ["cat"])
    assert failed.value.raw == "I see a cat."
    assert served.engine("stats")["requests"] == 1


def test_nobody_there_is_told_with_the_address():
    with (
        Client("http://127.0.0.1:9", max_retries=0) as client,
        pytest.raises(errors.ConnectionFailedError, match=r"http://127\.0\.0\.1:9 cannot be reached"),
    ):
        client.models()


def test_silence_ends_in_time(client: Client, served: Served, photo: Path):
    served.says("x", fault="stall")
    with pytest.raises(errors.TimedOutError):
        client.caption(photo, timeout_s=0.3)


def test_a_busy_server_is_asked_again_when_it_says(served: Served, photo: Path, monkeypatch: pytest.MonkeyPatch):
    """Each try has the same Idempotency-Key, so that none is worked on twice, and the whole file."""
    tries: list[httpx2.Request] = []
    pauses: list[float] = []

    class Busy(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            tries.append(request)
            if len(tries) < 3:
                assert isinstance(request.stream, httpx2.SyncByteStream)
                for _ in request.stream:
                    pass
                return httpx2.Response(503, headers={"retry-after": "7"}, json={"error": {"code": "overloaded"}})
            return super().handle_request(request)

    monkeypatch.setattr("qwenvl.client.time.sleep", pauses.append)
    served.says(CAT)
    with Client(served.url, transport=Busy()) as client:
        assert client.detect(photo, ["cat"]).count == 1
    assert pauses == [7, 7]
    assert len({request.headers["idempotency-key"] for request in tries}) == 1


def test_a_stream_is_tried_again_before_its_first_item_only(
    served: Served, photo: Path, monkeypatch: pytest.MonkeyPatch
):
    """Told by what reaches the server: the server itself asks its engines again."""
    tries: list[httpx2.Request] = []

    class Counted(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            tries.append(request)
            return super().handle_request(request)

    monkeypatch.setattr("qwenvl.client.time.sleep", lambda _: None)
    served.says(CAT, fault="status")
    with (
        Client(served.url, max_retries=2, transport=Counted()) as client,
        pytest.raises(errors.EngineFailedError),
    ):
        client.detect.stream(photo)
    assert len(tries) == 3
    tries.clear()
    served.says(TWO, chunks=20, fault="die", after=14)
    with Client(served.url, transport=Counted()) as client, pytest.raises(errors.EngineFailedError):
        list(client.detect.stream(photo))
    assert len(tries) == 1


def test_settings_come_from_arguments_then_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("QWENVL_URL", "http://there:1/v1/")
    monkeypatch.setenv("QWENVL_API_KEY", "k")
    assert (Client().settings.base_url, Client().settings.api_key) == ("http://there:1", "k")
    assert Client("http://here:2").settings.base_url == "http://here:2"


def test_a_task_that_the_client_does_not_know_is_asked_by_its_name(client: Client, served: Served, photo: Path):
    served.says("A red picture.")
    result = client.ask("caption", {"image": photo}, {"length": "short"}, max_tokens=9)
    assert result.model_dump()["caption"] == "A red picture."
    assert served.asked()["max_tokens"] == 9
    served.says(TWO)
    stream = client.ask.stream("detect", {"image": photo}, {"labels": ["cat", "dog"]})
    assert [item["label"] for item in stream] == ["cat", "dog"]
