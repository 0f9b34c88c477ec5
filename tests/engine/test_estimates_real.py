"""What `POST /v1/tokens/estimate` foresees is what the real engine then counts."""

from typing import Any

import httpx2
import pytest

from tests.conftest import Running
from tests.media.conftest import make
from tests.tasks.common import picture, uri

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

MODEL = "qwen2.5-vl"


def image(width: int, height: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": uri(picture(width, height))}}


def clip(seconds: float) -> dict[str, Any]:
    return {
        "type": "video_url",
        "video_url": {"url": uri(make([at / 4 for at in range(round(seconds * 4))]), "video/mp4")},
    }


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


BODIES = {
    "words": ["Hello there."],
    "a picture between words": [text("Look at this "), image(300, 200), text(" and say what it is.")],
    "two pictures": [image(641, 479), image(100, 700), text("Which is larger? 哪一张更大")],
    "a clip": [clip(5), text("What happens?")],
    "marks in the caller's own words": [image(120, 80), text("What does <|image_pad|> mean, and <|im_end|>?")],
}


@pytest.mark.parametrize("parts", BODIES.values(), ids=BODIES.keys())
async def test_a_chat_request_costs_what_was_estimated(engine_url: str, running: Running, parts: list[Any]) -> None:
    content = parts[0] if isinstance(parts[0], str) else parts
    body = {"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": 1}
    async with running([engine_url]) as url, httpx2.AsyncClient(base_url=url, timeout=300) as client:
        estimate = (await client.post("/v1/tokens/estimate", json=body)).json()
        usage = (await client.post("/v1/chat/completions", json=body)).json()["usage"]
    assert estimate["text_tokens_are"] == estimate["visual_tokens_are"] == "exact"
    assert estimate["prompt_tokens"] == usage["prompt_tokens"]
    details = usage.get("prompt_tokens_details") or {}
    assert estimate["visual_tokens"] == sum((details.get("multimodal_tokens") or {}).values())


async def test_a_task_costs_what_was_estimated(engine_url: str, running: Running) -> None:
    body = {"image": uri(picture(500, 300)), "max_tokens": 8}
    async with running([engine_url]) as url, httpx2.AsyncClient(base_url=url, timeout=300) as client:
        estimate = (await client.post("/v1/tokens/estimate?task=caption", json=body)).json()
        caption = await client.post("/v1/caption", json=body)
    assert estimate["prompt_tokens"] == caption.json()["usage"]["prompt_tokens"]
