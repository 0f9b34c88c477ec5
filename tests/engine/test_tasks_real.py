"""Tasks through the real engine with constrained decoding: what a known answer becomes, and that no answer breaks us.

The checkpoint's weights are random, so a grammar that allows one answer alone makes it say what the test knows; the
boxes and times must then come home within a pixel and a frame. Left free, it writes nonsense within the task's own
grammar, which must end in a result or in `answer_unreadable`, never in anything else.
"""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from server.answering.asker import Asker
from server.answering.runs import TaskRun
from server.engines.pool import Pool
from server.media import MediaLoader
from server.settings import Settings
from server.tasks.detect import Detect, DetectRequest
from server.tasks.localize_events import LocalizeEvents, LocalizeEventsRequest
from server.tasks.read_text import ReadText, ReadTextRequest
from server.tasks.task import Ask
from tests.conftest import Running
from tests.media.conftest import make
from tests.tasks.common import events, pdf, picture, uri

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

SIZES = [(641, 479, 1), (300, 1100, 6), (1999, 333, 3), (50, 40, 8), (1280, 720, 5)]


@contextlib.asynccontextmanager
async def running_parts(engine_url: str) -> AsyncIterator[tuple[Asker, MediaLoader, Settings]]:
    settings = Settings(media_workers=1)
    pool, media = Pool(settings), MediaLoader(settings)
    await pool.start([engine_url])
    try:
        yield Asker(pool, settings, b"test"), media, settings
    finally:
        await pool.close()
        await media.close()


def saying(task: Any, answer: str) -> Any:
    """The task, with a grammar that lets the engine write `answer` alone."""

    class Saying(type(task)):
        def ask(self, request: Any, shown: Any) -> Ask:
            asked = super().ask(request, shown)
            options = {key: value for key, value in asked.options.items() if key != "response_format"}
            return Ask(asked.messages, {**options, "structured_outputs": {"choice": [answer]}})

    return Saying()


async def told(engine_url: str, task: Any, request: Any, answer: str) -> dict[str, Any]:
    async with running_parts(engine_url) as (asker, media, settings):
        run = TaskRun(saying(task, answer), request, asker=asker, media=media, settings=settings)
        return await run.result()


@pytest.mark.parametrize(("width", "height", "orientation"), SIZES)
async def test_a_known_box_comes_home_within_a_pixel(engine_url: str, width: int, height: int, orientation: int):
    written = [5, 6, 25, 27]
    answer = json.dumps([{"bbox_2d": written, "label": "cat"}], separators=(",", ":"))
    request = DetectRequest(image=uri(picture(width, height, orientation)), labels=["cat"])
    result = await told(engine_url, Detect(), request, answer)
    shown = result["model_input"]
    scale = (width / shown["width"], height / shown["height"]) * 2
    expected = [number * each for number, each in zip(written, scale, strict=True)]
    found = result["objects"][0]
    assert result["image"] == {"width": width, "height": height}
    assert all(abs(a - b) <= 1 for a, b in zip(found["bbox_2d"], expected, strict=True))
    assert 0 < found["confidence"] <= 1
    assert found["confidence_method"] == "token_logprobs"
    assert result["usage"]["prompt_tokens"] > shown["width"] * shown["height"] // 784


async def test_a_known_line_comes_home(engine_url: str):
    answer = b'[{"bbox_2d":[5,6,25,27],"text_content":"TOTAL 17,000 \\u00e9\\u4e2d"}]'.decode("unicode_escape")
    result = await told(engine_url, ReadText(), ReadTextRequest(image=uri(picture()), level="line"), answer)
    assert result["text"] == "TOTAL 17,000 é中"
    assert 0 < result["lines"][0]["confidence"] <= 1


@pytest.mark.parametrize("rate", [7.5, 10, 29.97])
async def test_a_known_time_comes_home_within_a_frame(engine_url: str, rate: float):
    video = uri(make([at / rate for at in range(round(8 * rate))]), "video/mp4")
    answer = '[{"start_time":"00:01.50","end_time":"00:04.00","description":"It grows."}]'
    result = await told(engine_url, LocalizeEvents(), LocalizeEventsRequest(video=video), answer)
    assert result["events"][0]["start_s"] == pytest.approx(1.5, abs=0.5)
    assert result["events"][0]["end_s"] == pytest.approx(4, abs=0.5)


async def test_free_answers_end_in_a_result_or_an_honest_error(engine_url: str, running: Running):
    image, clip = uri(picture(641, 479, 6)), uri(make([at / 10 for at in range(40)]), "video/mp4")
    document = uri(pdf((612, 792, "Hello"), (300, 200, "world")), "application/pdf")
    schema = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
    bodies = [
        ("detect", {"image": image, "labels": ["cat", "dog"]}),
        ("detect", {"image": image, "prompt": "the cat", "mode": "point"}),
        ("read-text", {"image": image, "level": "line"}),
        ("read-text", {"image": image}),
        ("caption", {"image": image, "length": "short"}),
        ("caption", {"video": clip, "length": "short"}),
        ("localize-events", {"video": clip}),
        ("localize-events", {"video": clip, "query": "a light grows"}),
        ("extract", {"image": image, "schema": schema}),
        ("extract", {"image": image, "question": "How much?"}),
        ("parse-document", {"document": document}),
        ("act", {"screenshot": image, "task": "open it"}),
    ]
    async with running([engine_url]) as url, httpx2.AsyncClient(base_url=url, timeout=120) as client:
        for name, body in bodies:
            body = {**body, "max_tokens": 48}
            answer = await client.post(f"/v1/{name}", json=body)
            assert answer.status_code in {200, 502}, (name, answer.text)
            if answer.status_code == 502:
                assert answer.json()["error"]["code"] in {"answer_unreadable", "action_impossible"}, answer.text
            streamed = await client.post(f"/v1/{name}", json={**body, "stream": True})
            assert streamed.status_code == answer.status_code, (name, streamed.text)
            if streamed.status_code == 200:
                last = events(streamed.text)[-2:]
                assert last[0][0] == "result" or "error" in last[0][1]
                assert last[1][1] == "[DONE]"


async def test_a_form_with_a_picture_is_answered(engine_url: str, running: Running):
    async with running([engine_url]) as url, httpx2.AsyncClient(base_url=url, timeout=120) as client:
        files = {"image": ("a.jpg", picture(641, 479, 6), "image/jpeg")}
        form = {"length": "short", "max_tokens": "8"}
        answer = await client.post("/v1/caption", data=form, files=files)
        assert answer.status_code == 200, answer.text
        assert answer.json()["caption"]
