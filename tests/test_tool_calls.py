"""Forced tool calls and what is read of them; answers of the responses API."""

import json
from typing import Any

import httpx2
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from server.hot.responses import response
from server.protocol import completion
from server.tool_calls import read_calls
from tests.conftest import ASK

CHAT = "/v1/chat/completions"
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda part: st.lists(part), max_leaves=5)
arguments = st.dictionaries(st.text(), values)


def tool(name: str = "weather", **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": WEATHER, **fields}}


def sent(mock: Mock) -> list[dict[str, Any]]:
    """The functions that the engine was given."""
    return [tool["function"] for tool in json.loads(mock.requests[-1].body)["tools"]]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
async def test_a_forced_call_is_held_to_its_schema(client: httpx2.AsyncClient, mock: Mock, choice: Any) -> None:
    await client.post(CHAT, json={**ASK, "tools": [tool()], "tool_choice": choice})
    assert sent(mock) == [{"name": "weather", "parameters": WEATHER, "strict": True}]


async def test_a_function_without_parameters_takes_an_object_all_the_same(
    client: httpx2.AsyncClient, mock: Mock
) -> None:
    await client.post(CHAT, json={**ASK, "tools": [tool(parameters=None)], "tool_choice": "required"})
    assert sent(mock)[0]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"tools": [tool()]}, id="nothing chosen"),
        pytest.param({"tools": [tool()], "tool_choice": "auto"}, id="the model chooses"),
        pytest.param({"tools": [tool(strict=False)], "tool_choice": "required"}, id="the caller wants it loose"),
        pytest.param(
            {"tools": [tool(parameters={"properties": {"a": {"pattern": "(?=x)"}}})], "tool_choice": "required"},
            id="a pattern that the grammar may refuse",
        ),
        pytest.param({"tools": [tool(parameters={"properties": [1]})], "tool_choice": "required"}, id="no schema"),
        pytest.param(
            {"tools": [tool("other"), tool(strict=True)], "tool_choice": {"function": {"name": "weather"}}},
            id="another function",
        ),
    ],
)
async def test_other_tools_reach_the_engine_as_they_came(
    client: httpx2.AsyncClient, mock: Mock, body: dict[str, Any]
) -> None:
    raw = json.dumps({**ASK, **body}).encode()
    await client.post(CHAT, content=raw, headers={"content-type": "application/json"})
    assert mock.requests[-1].body == raw


@given(st.lists(arguments, min_size=1), st.text(alphabet="abc .\n"))
def test_calls_are_read_whatever_their_strings_hold(calls: list[dict[str, Any]], said: str) -> None:
    written = [f'<tool_call>\n{{"name": "f", "arguments": {json.dumps(call)}}}\n</tool_call>' for call in calls]
    read = read_calls(said + "\n".join(written), cut=False)
    assert read is not None
    assert read[0] == said.strip()
    assert [(name, json.loads(raw)) for name, raw in read[1]] == [("f", call) for call in calls]


@pytest.mark.parametrize("text", ["<tool_call>", '<tool_call>{"name": "f"}', '<tool_call>{"name": "f", "arguments": {'])
def test_what_is_no_call_is_not_taken_for_one(text: str) -> None:
    assert read_calls(text, cut=False) is None


async def test_calls_that_the_engine_left_in_the_text_are_calls(client: httpx2.AsyncClient, mock: Mock) -> None:
    mock.behaviour = Behaviour(
        answer='<tool_call>{"name": "weather", "arguments": {"city": "</tool_call>"}}</tool_call>'
    )
    answer = (await client.post(CHAT, json={**ASK, "max_tokens": 64, "tools": [tool()]})).json()["choices"][0]
    (call,) = answer["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "</tool_call>"}
    assert (answer["message"]["content"], answer["finish_reason"]) == (None, "tool_calls")


@pytest.mark.parametrize("request_fields", [{}, {"tools": [tool()], "tool_choice": "none"}])
def test_without_tools_to_call_the_same_text_is_text(request_fields: dict[str, Any]) -> None:
    text = '<tool_call>{"name": "weather", "arguments": {}}</tool_call>'
    raw = orjson.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})
    assert completion(raw, request_fields) == raw


@pytest.mark.parametrize(
    ("text", "reason", "read"),
    [
        ('<tool_call>{"name": "f", "arguments": {"a": "b', "length", ('{"a": "b', "length")),
        ("<tool_call>{", "tool_calls", (None, "stop")),
    ],
    ids=["cut: what there is", "unreadable: no call is claimed"],
)
def test_an_unfinished_call_says_so(text: str, reason: str, read: tuple[str | None, str]) -> None:
    raw = orjson.dumps({"choices": [{"message": {"content": text}, "finish_reason": reason}]})
    choice = json.loads(completion(raw, {"tools": [tool()], "tool_choice": "required"}))["choices"][0]
    calls = choice["message"].get("tool_calls", [])
    assert (calls[0]["function"]["arguments"] if calls else None, choice["finish_reason"]) == read


def test_a_response_has_calls_where_the_engine_left_text() -> None:
    text = 'Look. <tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call><tool_call>{"name": "g", "arguments": {'
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": None}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part], "phase": None}
    raw = orjson.dumps({"status": "incomplete", "output": [item], "tools": []})
    message, whole, cut = json.loads(response(raw, {"tools": [{}]}))["output"]
    assert message["content"] == [{"type": "output_text", "text": "Look.", "annotations": []}]
    assert (whole["name"], whole["arguments"], whole["status"]) == ("f", '{"a": 1}', "completed")
    assert (cut["name"], cut["arguments"], cut["status"]) == ("g", "{", "incomplete")


def test_a_response_repeats_its_request() -> None:
    asked = {"metadata": {"k": "v"}, "reasoning": {"effort": "low"}, "text": {"verbosity": "low"}, "store": True}
    answer = json.loads(response(b'{"status":"completed","output":[],"tools":[],"metadata":null}', asked))
    assert answer["metadata"] == {"k": "v"}
    assert answer["reasoning"] == {"effort": "low", "summary": None}
    assert answer["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert answer["store"] is False  # whatever was asked for, none is kept
    assert answer["completed_at"] > 0
