"""What an engine answers, turned into what OpenAI's clients expect: error objects, and answers without stray nulls."""

import re
import secrets
from functools import lru_cache
from typing import Any

import orjson

from server import tool_calls
from server.errors import (
    EngineFailed,
    GatewayError,
    InvalidValue,
    ModelNotFound,
    NotFound,
    Overloaded,
)

CONTEXT_LENGTH = re.compile(
    r"maximum context length|longer than the maximum model length|max_model_len|Prompt length of"
)
CALLERS_FAULT = re.compile(
    r"data URI|base64|cannot identify image|decompression bomb|image file is truncated|Unsupported file|"
    r"is not a multimodal model|tool choice|structured output|grammar|schema|regex",
    re.IGNORECASE,
)
"""Words in vLLM's 500 and 501 answers that are the caller's fault (`facts`: engine 4.2)."""

VALIDATION = re.compile(r"validation errors?:\s+\{.*?'loc': '([^']*)', 'msg': [\"'](.*?)[\"'], 'input'", re.DOTALL)
INDEX = re.compile(r"\.(\d+)")
LONGEST_MESSAGE = 1000

STRAY_NULL = re.compile(rb',"(?!(?:content|refusal|logprobs|bytes|finish_reason|error|param|code)")[a-z_]+":null')
"""A null field that OpenAI's schema does not have as null, and leaves out. Safe on bytes: inside a JSON string every
quote has a backslash before it, so that `,"name":null` never stands in what the model said."""

AFTER_TEXT = b'","refusal"'
"""Where the text of a chat answer is over."""
LONGEST_PIECE = 512
"""In bytes; what is longer differs from answer to answer."""

USAGE = b'"usage":{'
"""Stands in no string of an answer: there its quotes have backslashes before them."""
AS_VLLM = re.compile(rb'"usage":\{"prompt_tokens":(\d+),"total_tokens":\d+,"completion_tokens":(\d+)')

OPENING_BYTES = tool_calls.OPENING.encode()


def engine_error(status: int, raw: bytes, prompt: str = "messages") -> GatewayError:
    """The failure that an engine's answer with `status` and body `raw` means for the caller.

    `prompt` is the field that the prompt was in; vLLM names its own instead.

    >>> engine_error(500, b'{"error": {"message": "image file is truncated (3 bytes)"}}').status
    400
    >>> engine_error(500, b'oops').status
    502
    """
    error = _error_object(raw)
    message = _in_a_sentence(str(error.get("message") or f"the engine answered {status}"))
    param = _field(error["param"]) if isinstance(error.get("param"), str) else None
    if status == 404:
        return ModelNotFound(message, param="model") if "model" in message else NotFound(message, param=param)
    if status in (400, 413, 422):
        if CONTEXT_LENGTH.search(message):
            ours = param in (None, "input_tokens", "input_text")
            return InvalidValue(message, param=prompt if ours else param, code="context_length_exceeded")
        return InvalidValue(message, param=param)
    if status in (429, 503):
        return Overloaded(f"the engine is full: {message}", headers={"retry-after": "2"})
    if status in (500, 501) and CALLERS_FAULT.search(message):
        return InvalidValue(message, param=param)
    return EngineFailed(f"the engine failed with status {status}: {message[:500]}")


def _field(place: str) -> str:
    """Where vLLM found a fault, as our own errors write it.

    >>> _field("body.stop_token_ids.0"), _field("logit_bias")
    ('stop_token_ids[0]', 'logit_bias')
    """
    return INDEX.sub(r"[\1]", place.removeprefix("body."))


def _in_a_sentence(message: str) -> str:
    """vLLM's words; of a list of what its validation found the first, without the caller's own value at length.

    >>> _in_a_sentence("1 validation error:\\n  {'type': 'x', 'loc': 'body.n.0', 'msg': 'Must be 1', 'input': 'a'}")
    'n[0]: Must be 1'
    """
    found = VALIDATION.search(message)
    return f"{_field(found[1])}: {found[2]}" if found else message[:LONGEST_MESSAGE]


def _error_object(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    error = body.get("error", body) if isinstance(body, dict) else {}
    return error if isinstance(error, dict) else {"message": str(error)}


def first_event_error(data: bytes, prompt: str = "messages") -> GatewayError | None:
    """The failure that vLLM reports inside a 200 stream, if its first event is one.

    >>> first_event_error(b'data: {"error": {"message": "bad grammar", "code": 400}}\\n\\n').status
    400
    >>> first_event_error(b'data: {"id": "chatcmpl-1"}\\n\\n')
    """
    if not data.startswith((b'data: {"error"', b'data: {"object":"error"', b"event: error", b"event: response.failed")):
        return None
    payload = data.partition(b"data: ")[2].partition(b"\n\n")[0]
    error = _error_object(payload)
    code = error.get("code")
    return engine_error(code if isinstance(code, int) else 500, payload, prompt)


def error_event(failure: GatewayError) -> bytes:
    """A failure after the first byte: one event that the OpenAI SDK raises, then the end of the stream.

    >>> error_event(EngineFailed("gone")).endswith(b"data: [DONE]\\n\\n")
    True
    """
    return b"data: " + orjson.dumps(failure.body()) + b"\n\ndata: [DONE]\n\n"


def completion(raw: bytes, request: dict[str, Any]) -> bytes:
    """A chat or text completion as OpenAI's schema has it.

    >>> completion(b'{"choices":[{"index":0,"stop_reason":null,"logprobs":null}],"service_tier":null}', {})
    b'{"choices":[{"index":0,"logprobs":null}]}'
    """
    body = without_nulls(raw)
    if "tools" in request and OPENING_BYTES in body and request.get("tool_choice") != "none":
        return _with_calls_read(body, named=isinstance(request.get("tool_choice"), dict))
    return body


def without_nulls(body: bytes) -> bytes:
    """An engine's JSON answer without the nulls that OpenAI's schema does not have.

    What comes between a chat answer's text and its numbers, and after them, is the same in nearly all: the regular
    expression reads it once (1 us an answer, 4 for one that is read whole).

    >>> without_nulls(b'{"content":null,"function_call":null,"usage":{"total_tokens":3,"prompt_tokens_details":null}}')
    b'{"content":null,"usage":{"total_tokens":3}}'
    """
    text_end = body.find(AFTER_TEXT) + 1
    usage = body.rfind(USAGE)
    numbers = AS_VLLM.match(body, usage) if 0 < text_end < usage else None
    if numbers is None or usage - text_end > LONGEST_PIECE or len(body) - numbers.end() > LONGEST_PIECE:
        return STRAY_NULL.sub(b"", body) if b":null" in body else body
    begin = body[:text_end]
    if b":null" in begin:
        begin = STRAY_NULL.sub(b"", begin)
    return b"".join((begin, _piece(body[text_end:usage]), numbers[0], _piece(body[numbers.end() :])))


@lru_cache(maxsize=256)
def _piece(piece: bytes) -> bytes:
    return STRAY_NULL.sub(b"", piece)


def _with_calls_read(body: bytes, *, named: bool) -> bytes:
    """The same answer with the calls that the engine left in the text of a message as its `tool_calls`."""
    answer = orjson.loads(body)
    for choice in answer["choices"]:
        message = choice["message"]
        text = message.get("content")
        if message.get("tool_calls") or not text or tool_calls.OPENING not in text:
            continue
        read = tool_calls.read_calls(text, cut=choice["finish_reason"] == "length")
        if read is None:
            if choice["finish_reason"] == "tool_calls":  # there are none
                choice["finish_reason"] = "stop"
            continue
        said, calls = read
        message["content"] = said or None
        message["tool_calls"] = [
            {"id": new_id("call"), "type": "function", "function": {"name": name, "arguments": arguments}}
            for name, arguments in calls
        ]
        if choice["finish_reason"] == "stop" and not named:  # a call that was named ends with "stop", as OpenAI has it
            choice["finish_reason"] = "tool_calls"
    return orjson.dumps(answer)


def new_id(kind: str) -> str:
    """An id that no other answer has, as OpenAI writes them: `call_` and hex digits."""
    return f"{kind}_{secrets.token_hex(12)}"
