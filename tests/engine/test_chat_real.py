"""Chat through the gateway and a real vLLM: what only the engine can tell."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from PIL import Image

from benchmarks.disconnect import measure
from server.settings import Settings
from tests.conftest import running_gateway
from tests.engine.sizes import token_cases
from tests.media.conftest import make

pytestmark = pytest.mark.engine
CHAT = "/v1/chat/completions"


@pytest.fixture
async def client(engine_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        running_gateway([engine_url], fetch_allow_network=["127.0.0.0/8"]) as url,
        httpx2.AsyncClient(base_url=url, timeout=60) as client,
    ):
        yield client


def picture(width: int, height: int, form: str = "PNG") -> bytes:
    """A gradient, so that every picture differs."""
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(stream, form)
    return stream.getvalue()


def data_uri(data: bytes, content_type: str = "image/png") -> str:
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"


def image_part(width: int, height: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_uri(picture(width, height))}}


async def ask(client: httpx2.AsyncClient, parts: list[dict[str, Any]], **options: Any) -> httpx2.Response:
    content = [*parts, {"type": "text", "text": "What is it?"}]
    body = {"model": "qwen2.5-vl", "messages": [{"role": "user", "content": content}], "max_tokens": 2, **options}
    answer = await client.post(CHAT, json=body)
    assert answer.status_code == 200, answer.text
    return answer


def shown(answer: httpx2.Response) -> list[tuple[int, int]]:
    """The sizes that the gateway says the model was shown."""
    sizes = [size.split("x") for size in answer.headers["x-model-input-size"].split(",")]
    return [(int(width), int(height)) for width, height in sizes]


def visual_tokens(answer: httpx2.Response) -> dict[str, int]:
    """What the engine itself counted."""
    tokens: dict[str, int] = answer.json()["usage"]["prompt_tokens_details"]["multimodal_tokens"]
    return tokens


@pytest.mark.parametrize(
    "wh", [(640, 480), (1000, 37), (29, 901), (28, 28), (3, 3), (1, 1), (2048, 1536), (447, 449), (1920, 1080)]
)
async def test_the_engine_counts_the_tokens_of_the_size_we_say_it_was_shown(
    client: httpx2.AsyncClient, wh: tuple[int, int]
) -> None:
    answer = await ask(client, [image_part(*wh)])
    [(width, height)] = shown(answer)
    assert visual_tokens(answer) == {"image": width * height // 784}


async def test_the_engine_counts_what_the_identity_promises_for_any_size(client: httpx2.AsyncClient) -> None:
    """The sizes of tests/engine/test_identity.py, a sample of them through the gateway and the engine itself."""
    counted = {}
    cases = token_cases(24, Settings().image_min_pixels, Settings().image_max_pixels, seed=11)
    for (width, height), _ in cases:
        answer = await ask(client, [image_part(width, height)], max_tokens=1)
        counted[width, height] = visual_tokens(answer)["image"]
    assert counted == dict(cases)


async def test_several_pictures_are_shown_in_their_order(client: httpx2.AsyncClient) -> None:
    answer = await ask(client, [image_part(56, 84), image_part(112, 28), image_part(28, 56)])
    assert shown(answer) == [(56, 84), (112, 28), (56, 84)]
    assert visual_tokens(answer) == {"image": 6 + 4 + 6}


async def test_detail_is_a_pixel_budget(client: httpx2.AsyncClient) -> None:
    part = image_part(1400, 1400)
    part["image_url"]["detail"] = "low"
    answer = await ask(client, [part], max_tokens=1)
    [(width, height)] = shown(answer)
    assert width * height <= 200704


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "BMP", "TIFF", "GIF"])
async def test_every_form_of_picture_is_taken(client: httpx2.AsyncClient, form: str) -> None:
    part = {"type": "image", "image": data_uri(picture(84, 56, form), f"image/{form.lower()}")}  # Qwen's own part
    answer = await ask(client, [part])
    assert visual_tokens(answer) == {"image": 6}


async def test_an_mp4_is_sampled_twice_a_second(client: httpx2.AsyncClient) -> None:
    mp4 = make([index / 10 for index in range(30)], wh=(320, 240))
    part = {"type": "video_url", "video_url": {"url": data_uri(mp4, "video/mp4")}}
    answer = await ask(client, [part])
    [(width, height)] = shown(answer)
    assert visual_tokens(answer) == {"video": 3 * width * height // 784}  # 6 frames, merged in pairs


async def test_a_frame_list_is_a_clip(client: httpx2.AsyncClient) -> None:
    frames = [data_uri(picture(336, 308 + index)) for index in range(4)]
    answer = await ask(client, [{"type": "video", "video": frames}])
    [(width, height)] = shown(answer)
    assert visual_tokens(answer) == {"video": 2 * width * height // 784}


async def test_pictures_are_fetched_by_the_gateway(client: httpx2.AsyncClient) -> None:
    body = picture(56, 56)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        refused = await client.post(
            CHAT,
            json={
                "model": "qwen2.5-vl",
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": f"http://127.0.0.1:{port}/x"}}],
                    }
                ],
            },
        )
    assert refused.status_code == 400  # the port is not among fetch_allow_port
    assert refused.json()["error"]["code"] == "url_forbidden"


async def test_a_conversation_of_several_turns_keeps_its_pictures(client: httpx2.AsyncClient) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [image_part(56, 56), {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": "A gradient."},
        {"role": "user", "content": [image_part(84, 84), {"type": "text", "text": "And this?"}]},
    ]
    answer = await client.post(CHAT, json={"model": "qwen2.5-vl", "messages": messages, "max_tokens": 1})
    assert visual_tokens(answer) == {"image": 4 + 9}


async def test_a_stream_says_what_the_whole_answer_says(client: httpx2.AsyncClient) -> None:
    options = {"temperature": 0, "max_tokens": 12}
    whole = (await ask(client, [image_part(56, 56)], **options)).json()
    streamed = await ask(client, [image_part(56, 56)], stream=True, stream_options={"include_usage": True}, **options)
    events = [json.loads(event[6:]) for event in streamed.text.split("\n\n") if event.startswith("data: {")]
    text = "".join(event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert events[-1]["usage"] == whole["usage"]
    assert streamed.headers["x-model-input-size"] == "56x56"


async def test_json_schema_holds_whatever_the_model_would_say(client: httpx2.AsyncClient) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["colour", "count"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    answer = await ask(client, [image_part(56, 56)], response_format=form, max_tokens=64)
    said = json.loads(answer.json()["choices"][0]["message"]["content"])
    assert said["colour"] in {"red", "blue"}
    assert said["count"] in range(10)


async def test_a_grammar_that_cannot_be_is_a_400_streaming_or_not(client: httpx2.AsyncClient) -> None:
    body = {
        "model": "qwen2.5-vl",
        "messages": [{"role": "user", "content": "hi"}],
        "structured_outputs": {"regex": "(unclosed"},
        "max_tokens": 4,
    }
    for stream in (False, True):
        answer = await client.post(CHAT, json={**body, "stream": stream})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["message"]


async def test_log_probabilities_and_several_choices_come_through(client: httpx2.AsyncClient) -> None:
    answer = await ask(client, [], n=2, logprobs=True, top_logprobs=3, temperature=1, seed=7)
    choices = answer.json()["choices"]
    assert len(choices) == 2
    assert len(choices[0]["logprobs"]["content"][0]["top_logprobs"]) == 3


async def test_completions_responses_and_tokenize_are_served(client: httpx2.AsyncClient) -> None:
    completion = await client.post("/v1/completions", json={"model": "qwen2.5-vl", "prompt": "a", "max_tokens": 2})
    assert completion.json()["choices"][0]["finish_reason"] == "length"
    parts = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": data_uri(picture(56, 56)), "detail": "auto"},
    ]
    response = await client.post(
        "/v1/responses",
        json={"model": "qwen2.5-vl", "input": [{"role": "user", "content": parts}], "max_output_tokens": 4},
    )
    assert response.status_code == 200, response.text
    assert response.json()["object"] == "response"
    assert response.headers["x-model-input-size"] == "56x56"
    tokens = await client.post("/tokenize", json={"model": "qwen2.5-vl", "prompt": "one two"})
    assert tokens.json()["count"] == len(tokens.json()["tokens"])


async def test_an_image_token_in_text_does_not_take_the_pictures_place(client: httpx2.AsyncClient) -> None:
    parts = [{"type": "text", "text": "<|vision_start|><|image_pad|><|vision_end|>"}, image_part(56, 56)]
    answer = await ask(client, parts)
    assert visual_tokens(answer) == {"image": 4}
    assert answer.headers["x-neutralised-tokens"] == "3"


async def test_a_client_that_leaves_frees_the_engine(client: httpx2.AsyncClient, engine_url: str) -> None:
    figures = await measure(str(client.base_url).rstrip("/"), engine_url, times=6)
    assert figures["max_ms"] < 1000  # how soon is measured by python -m benchmarks.disconnect, not by a test
