"""Rows: fields of the wrong type, out of range, missing, or beyond a limit."""

from typing import Any

import pytest

from benchmarks.overhead.mock import MODEL
from tests.bad_input.conftest import assert_refused
from tests.bad_input.process import CHAT, HELLO, Gateway

COMPLETIONS, RESPONSES, TOKENIZE, DETOKENIZE = "/v1/completions", "/v1/responses", "/tokenize", "/detokenize"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: HELLO,
    COMPLETIONS: {"model": MODEL, "prompt": "hello"},
    RESPONSES: {"model": MODEL, "input": "hello"},
    TOKENIZE: {"model": MODEL, "prompt": "hello"},
    DETOKENIZE: {"model": MODEL, "tokens": [1]},
}

Values = tuple[Any, ...]
NO_NUMBER: Values = ("hot", True, [], {})
NO_INTEGER: Values = ("5", 1.5, True, [], {})
NO_BOOLEAN: Values = ("yes", 1, 0, [], {})
NO_STRING: Values = (5, True, [], {})
NO_OBJECT: Values = ("x", 5, True, [])
NO_ARRAY: Values = ("x", 5, True, {})
OF_THE_WRONG_TYPE: dict[str, dict[str, Values]] = {
    CHAT: {
        "model": NO_STRING,
        "messages": NO_ARRAY,
        "stream": NO_BOOLEAN,
        "stream_options": NO_OBJECT,
        "temperature": NO_NUMBER,
        "top_p": NO_NUMBER,
        "frequency_penalty": NO_NUMBER,
        "presence_penalty": NO_NUMBER,
        "n": NO_INTEGER,
        "max_tokens": NO_INTEGER,
        "max_completion_tokens": NO_INTEGER,
        "min_tokens": NO_INTEGER,
        "logprobs": NO_BOOLEAN,
        "top_logprobs": NO_INTEGER,
        "seed": NO_INTEGER,
        "stop": (5, True, {}),
        "tools": NO_ARRAY,
        "parallel_tool_calls": NO_BOOLEAN,
        "response_format": NO_OBJECT,
        "logit_bias": NO_OBJECT,
        "user": NO_STRING,
    },
    COMPLETIONS: {"model": NO_STRING, "n": NO_INTEGER, "logprobs": NO_INTEGER, "stop": (5, {})},
    RESPONSES: {
        "model": NO_STRING,
        "max_output_tokens": NO_INTEGER,
        "instructions": NO_STRING,
        "stream": NO_BOOLEAN,
    },
    TOKENIZE: {"model": NO_STRING, "messages": NO_ARRAY},
    DETOKENIZE: {"model": NO_STRING},
}


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        (path, field, value)
        for path, fields in OF_THE_WRONG_TYPE.items()
        for field, values in fields.items()
        for value in values
    ],
)
def test_a_field_of_the_wrong_type_is_named(server: Gateway, path: str, field: str, value: Any) -> None:
    answer = server.post({**BODIES[path], field: value}, path)
    assert_refused(answer, 400, "invalid_value", field, field, "must be")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (CHAT, "model"),
        (CHAT, "messages"),
        (COMPLETIONS, "model"),
        (COMPLETIONS, "prompt"),
        (RESPONSES, "model"),
        (RESPONSES, "input"),
        (DETOKENIZE, "tokens"),
    ],
)
@pytest.mark.parametrize("left", [{}, {"null": None}], ids=["left out", "null"])
def test_a_field_that_is_missing_is_named(server: Gateway, path: str, field: str, left: dict[str, Any]) -> None:
    body = {name: value for name, value in BODIES[path].items() if name != field}
    answer = server.post({**body, **({field: None} if left else {})}, path)
    assert_refused(answer, 400, "missing_required_parameter", field, field)


def test_a_tokenize_request_needs_something_to_tokenize(server: Gateway) -> None:
    assert_refused(server.post({"model": MODEL}, TOKENIZE), 400, "missing_required_parameter", "messages", "prompt")


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"properties": value}
    return value


def _tool(**changes: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **changes}}


ROWS = [
    # what is sent, code, param, what the message says
    ({"temperature": 3}, "invalid_value", "temperature", ["3", "from 0 to 2"]),
    ({"temperature": -0.1}, "invalid_value", "temperature", ["-0.1", "from 0 to 2"]),
    ({"top_p": 1.01}, "invalid_value", "top_p", ["1.01", "from 0 to 1"]),
    ({"frequency_penalty": 2.5}, "invalid_value", "frequency_penalty", ["2.5", "from -2 to 2"]),
    ({"presence_penalty": -9}, "invalid_value", "presence_penalty", ["-9", "from -2 to 2"]),
    ({"n": 0}, "invalid_value", "n", ["0", "at least 1"]),
    ({"n": -1}, "invalid_value", "n", ["-1", "at least 1"]),
    ({"n": 9}, "limit_exceeded", "n", ["9", "the limit is 8"]),
    ({"n": 10**18}, "limit_exceeded", "n", [10**18, "the limit is 8"]),
    ({"n": 10**30}, "invalid_value", "n", ["an integer"]),
    ({"best_of": 9}, "limit_exceeded", "best_of", ["9", "the limit is 8"]),
    ({"max_tokens": 0}, "invalid_value", "max_tokens", ["at least 1"]),
    ({"max_tokens": 32769}, "limit_exceeded", "max_tokens", ["32769", "the limit is 32768"]),
    ({"max_completion_tokens": 10**9}, "limit_exceeded", "max_completion_tokens", [10**9, "the limit is 32768"]),
    ({"min_tokens": -1}, "invalid_value", "min_tokens", ["at least 0"]),
    ({"top_logprobs": 5}, "invalid_value", "top_logprobs", ["logprobs"]),
    ({"top_logprobs": 5, "logprobs": False}, "invalid_value", "top_logprobs", ["logprobs"]),
    ({"top_logprobs": 21, "logprobs": True}, "limit_exceeded", "top_logprobs", ["21", "the limit is 20"]),
    ({"prompt_logprobs": 10**6}, "limit_exceeded", "prompt_logprobs", [10**6, "the limit is 20"]),
    ({"seed": 2**63}, "limit_exceeded", "seed", [2**63, 2**63 - 1]),
    ({"seed": -(2**63) - 1}, "invalid_value", "seed", []),
    ({"stop": ["a"] * 5}, "limit_exceeded", "stop", ["5", "the limit is 4"]),
    ({"stop": ["a", 5]}, "invalid_value", "stop[1]", ["a string"]),
    ({"tools": []}, "invalid_value", "tools", ["empty"]),
    ({"tools": [_tool()] * 129}, "limit_exceeded", "tools", ["129", "the limit is 128"]),
    ({"tools": ["f"]}, "invalid_value", "tools[0]", ["an object"]),
    ({"tools": [{"type": "function"}]}, "missing_required_parameter", "tools[0].function", []),
    ({"tools": [_tool(name="")]}, "missing_required_parameter", "tools[0].function.name", []),
    ({"tools": [_tool(name=7)]}, "missing_required_parameter", "tools[0].function.name", []),
    ({"tools": [_tool(), _tool(parameters=[])]}, "invalid_value", "tools[1].function.parameters", ["an object"]),
    ({"response_format": {}}, "invalid_value", "response_format.type", ["json_schema"]),
    ({"response_format": {"type": "xml"}}, "invalid_value", "response_format.type", ["'xml'", "json_object"]),
    ({"response_format": {"type": ["json_object"]}}, "invalid_value", "response_format.type", ["json_object"]),
    ({"response_format": {"type": {}}}, "invalid_value", "response_format.type", ["json_object"]),
    (
        {"response_format": {"type": "json_schema"}},
        "missing_required_parameter",
        "response_format.json_schema",
        [],
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        "missing_required_parameter",
        "response_format.json_schema.schema",
        [],
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": _nested(65)}}},
        "invalid_json",
        None,
        ["64"],
    ),
    ({"guided_json": {}, "structured_outputs": {"regex": "a"}}, "invalid_value", "guided_json", ["structured_outputs"]),
    ({"messages": []}, "invalid_value", "messages", ["empty"]),
    ({"messages": [{"role": "user", "content": "x"}] * 65}, "limit_exceeded", "messages", ["65", "the limit is 64"]),
]


@pytest.mark.parametrize(("changes", "code", "param", "says"), ROWS, ids=lambda value: str(value)[:60])
def test_a_value_that_cannot_be_is_refused_with_its_limit(
    server: Gateway, changes: dict[str, Any], code: str, param: str | None, says: list[Any]
) -> None:
    answer = server.post({**HELLO, **changes})
    assert_refused(answer, 400, code, param, *says)
    if code == "limit_exceeded":
        error = answer.json["error"]
        assert error["value"] > error["limit"]


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0, "top_p": 1, "seed": -(2**63), "stop": ["a"] * 4, "n": 8, "logit_bias": {"5": -100}},
        {"temperature": None, "n": None, "stop": None, "tools": None, "response_format": None, "max_tokens": None},
        {"unknown": {"to": ["us"]}, "top_k": 5, "repetition_penalty": 1.1},
        {"tools": [_tool(parameters={})], "tool_choice": "auto", "response_format": {"type": "text"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": _nested(50)}}},
    ],
    ids=lambda value: str(value)[:60],
)
def test_the_same_fields_at_their_limits_are_taken(server: Gateway, changes: dict[str, Any]) -> None:
    assert server.post({**HELLO, **changes}).status == 200


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES, TOKENIZE])
@pytest.mark.parametrize("model", ["gpt-5", "", "../../etc/passwd", "x" * 5000, "a\x00b\r\nc"], ids=lambda m: m[:9])
def test_a_model_that_is_not_served_is_a_404(server: Gateway, path: str, model: str) -> None:
    answer = server.post({**BODIES[path], "model": model}, path)
    assert_refused(answer, 404, "model_not_found", "model", MODEL)
