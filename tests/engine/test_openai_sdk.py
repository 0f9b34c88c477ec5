"""OpenAI's own Python client over the gateway and a real vLLM. Grammars keep the answers of a tiny model short."""

import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import openai
import pytest
from openai import AsyncOpenAI
from PIL import Image
from pydantic import BaseModel

from tests.conftest import Running

pytestmark = pytest.mark.engine

MODEL = "qwen2.5-vl"
COLOURS = ["red", "green", "blue"]
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "What colour is it?"}], "max_tokens": 4}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "paint",
        "parameters": {
            "type": "object",
            "properties": {"colour": {"type": "string", "enum": COLOURS}},
            "required": ["colour"],
            "additionalProperties": False,
        },
    },
}
NAMED = {"type": "function", "function": {"name": "paint"}}


class Shape(BaseModel):
    colour: Literal["red", "green", "blue"]
    filled: bool


@pytest.fixture
async def client(random_url: str, running: Running) -> AsyncIterator[AsyncOpenAI]:
    async with (
        running([random_url]) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60) as client,
    ):
        yield client


def one_of(*choices: str) -> dict[str, Any]:
    """The model may say nothing else."""
    return {"extra_body": {"structured_outputs": {"choice": list(choices)}}, "max_tokens": 32}


def picture() -> str:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


async def test_chat_answers_with_usage(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(**{**ASK, **one_of("red")})
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("red", "stop")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_a_stream_says_the_same_and_ends_with_its_usage(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        **{**ASK, **one_of("red")}, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    deltas = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(deltas) == "red"
    assert chunks[-1].usage is not None


async def test_n_choices_are_numbered(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(**ASK, n=2)
    assert [choice.index for choice in answer.choices] == [0, 1]


async def test_logprobs_are_one_a_token_with_their_rivals(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(**ASK, logprobs=True, top_logprobs=3)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert answer.usage is not None
    assert len(logprobs.content) == answer.usage.completion_tokens
    assert all(len(token.top_logprobs) >= 3 and token.logprob <= 0 for token in logprobs.content)


async def test_a_seed_repeats_an_answer(client: AsyncOpenAI) -> None:
    answers = [await client.chat.completions.create(**ASK, seed=7, temperature=1) for _ in range(2)]
    assert answers[0].choices[0].message.content == answers[1].choices[0].message.content


async def test_stop_ends_an_answer_before_the_word(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(**{**ASK, **one_of("red then blue")}, stop=["blue"])
    assert answer.choices[0].message.content == "red then "


async def test_a_pydantic_model_is_parsed(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.parse(**{**ASK, "max_tokens": 64}, response_format=Shape)
    assert isinstance(answer.choices[0].message.parsed, Shape)


@pytest.mark.parametrize(("choice", "reason"), [("required", "tool_calls"), (NAMED, "stop")], ids=["required", "named"])
async def test_a_forced_call_has_the_arguments_of_its_schema(client: AsyncOpenAI, choice: Any, reason: str) -> None:
    asked = {**ASK, "max_tokens": 1024, "tools": [TOOL], "tool_choice": choice, "parallel_tool_calls": False}
    answer = await client.chat.completions.create(**asked)
    [call] = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments)["colour"] in COLOURS
    assert answer.choices[0].finish_reason == reason
    result = {"role": "tool", "tool_call_id": call.id, "content": "done"}
    messages = [*ASK["messages"], answer.choices[0].message, result]
    assert (await client.chat.completions.create(**{**ASK, "messages": messages})).choices


async def test_a_forced_call_streams_the_arguments_of_its_schema(client: AsyncOpenAI) -> None:
    asked = {**ASK, "max_tokens": 1024, "tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}
    written = ""
    async for chunk in await client.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or []:
                assert call.function is not None
                written += call.function.arguments or ""
    assert json.loads(written)["colour"] in COLOURS


async def test_the_model_may_do_without_a_tool(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(**ASK, tools=[TOOL], tool_choice="auto")
    assert answer.choices[0].message.content or answer.choices[0].message.tool_calls


async def test_text_is_completed(client: AsyncOpenAI) -> None:
    answer = await client.completions.create(model=MODEL, prompt="Red, green and", max_tokens=2)
    assert answer.choices[0].finish_reason in {"length", "stop"}


async def test_a_response_about_a_picture(client: AsyncOpenAI) -> None:
    content: Any = [
        {"type": "input_text", "text": "What colour?"},
        {"type": "input_image", "image_url": picture(), "detail": "auto"},
    ]
    answer = await client.responses.create(
        model=MODEL, input=[{"role": "user", "content": content}], max_output_tokens=4, metadata={"k": "v"}
    )
    assert answer.output_text
    assert answer.status in {"incomplete", "completed"}
    assert (answer.metadata, answer.error, answer.max_output_tokens) == ({"k": "v"}, None, 4)


async def test_a_response_is_parsed(client: AsyncOpenAI) -> None:
    answer = await client.responses.parse(model=MODEL, input="Which?", text_format=Shape, max_output_tokens=64)
    assert isinstance(answer.output_parsed, Shape)


async def test_a_response_streams_from_created_to_its_end(client: AsyncOpenAI) -> None:
    stream = await client.responses.create(model=MODEL, input="Which?", max_output_tokens=4, stream=True)
    events = [event.type async for event in stream]
    assert events[0] == "response.created"
    assert events[-1] in {"response.completed", "response.incomplete"}
    assert "response.output_text.delta" in events


async def test_models_are_listed_and_found_by_every_name(client: AsyncOpenAI) -> None:
    names = [model.id async for model in client.models.list()]
    assert MODEL in names
    assert [(await client.models.retrieve(name)).id for name in names] == names


@pytest.mark.parametrize(
    ("fields", "failure", "code", "param"),
    [
        ({"model": "gpt-5"}, openai.NotFoundError, "model_not_found", "model"),
        ({"n": 99}, openai.BadRequestError, "limit_exceeded", "n"),
        ({"messages": []}, openai.BadRequestError, "invalid_value", "messages"),
        ({"stop": ["a", "b", "c", "d", "e"]}, openai.BadRequestError, "limit_exceeded", "stop"),
        (
            {"messages": [{"role": "user", "content": "word " * 40_000}]},
            openai.BadRequestError,
            "context_length_exceeded",
            "messages",
        ),
    ],
    ids=["unknown model", "too many choices", "no messages", "too many stops", "too long a prompt"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_refusal_is_the_exception_that_its_status_names(
    client: AsyncOpenAI,
    fields: dict[str, Any],
    failure: type[openai.APIStatusError],
    code: str,
    param: str,
    stream: bool,
) -> None:
    with pytest.raises(failure) as raised:
        await client.chat.completions.create(**{**ASK, **fields}, stream=stream)
    assert (raised.value.code, raised.value.param) == (code, param)
    assert raised.value.request_id


async def test_what_is_not_served_is_not_found(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        await client.embeddings.create(model=MODEL, input="x")
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-5")


async def test_a_wrong_key_is_an_authentication_error(engine_url: str, running: Running) -> None:
    async with (
        running([engine_url], api_key=["sk-right"]) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-wrong", max_retries=0) as client,
    ):
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(**ASK)
        assert (await client.with_options(api_key="sk-right").chat.completions.create(**ASK)).choices


async def test_a_prompt_that_is_too_long_is_named_by_its_field(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        await client.completions.create(model=MODEL, prompt="word " * 40_000)
    assert (raised.value.code, raised.value.param) == ("context_length_exceeded", "prompt")
