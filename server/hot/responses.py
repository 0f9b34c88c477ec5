"""A whole answer of `/v1/responses` as OpenAI's schema has it.

vLLM leaves out fields that the schema requires, and sends null where it has none. The events of a stream stay as the
engine wrote them.
"""

import time
from typing import Any

import orjson

from server import tool_calls
from server.protocol import new_id

PLAIN_TEXT = {"format": {"type": "text"}}
NO_REASONING = {"effort": None, "summary": None}
ECHOED = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "text",
    "top_logprobs",
)
"""What a response repeats of its request; vLLM leaves some of it out."""

DEFAULTS: dict[str, Any] = {
    "background": False,
    "completed_at": None,
    "error": None,
    "frequency_penalty": 0.0,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": False,  # none is kept
    "text": PLAIN_TEXT,
    "top_logprobs": 0,
    "truncation": "disabled",
    "usage": None,
}
"""Fields that a response always has, with the value that stands for nothing."""


def response(raw: bytes, request: dict[str, Any]) -> bytes:
    """The engine's answer `raw` to `request`, with every required field, and null only where the schema has it.

    >>> whole = orjson.loads(response(b'{"id":"resp_1","output":[],"tools":[],"text":null,"user":null}', {}))
    >>> whole["text"], whole["error"], whole["store"], "user" in whole
    ({'format': {'type': 'text'}}, None, False, False)
    """
    answer = _without_none(orjson.loads(raw))
    for field in ECHOED:
        if request.get(field) is not None:
            answer.setdefault(field, request[field])
    for field, base in (("text", PLAIN_TEXT), ("reasoning", NO_REASONING)):
        if isinstance(answer.get(field), dict):
            answer[field] = base | answer[field]
    if answer.get("status") == "completed":
        answer["completed_at"] = int(time.time())
    may_call = bool(request.get("tools")) and request.get("tool_choice") != "none"
    cut = answer.get("status") == "incomplete"
    answer["output"] = [item for given in answer["output"] for item in _items(given, may_call, cut)]
    answer["tools"] = [_tool(tool) for tool in answer["tools"]]
    return orjson.dumps(DEFAULTS | answer)


def _without_none(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _tool(given: dict[str, Any]) -> dict[str, Any]:
    function = {"description": None, "parameters": None, "strict": None} if given.get("type") == "function" else {}
    return function | _without_none(given)


def _items(given: dict[str, Any], may_call: bool, cut: bool) -> list[dict[str, Any]]:
    """One item of `output`; several where the engine left calls in the text of a message."""
    item = _without_none(given)
    if item.get("type") != "message":
        return [item]
    item["content"] = [_without_none(part) for part in item["content"]]
    part = next((part for part in item["content"] if tool_calls.OPENING in part.get("text", "")), None)
    read = tool_calls.read_calls(part["text"], cut=cut) if part is not None and may_call else None
    if part is None or read is None:
        return [item]
    part["text"], calls = read
    return ([item] if part["text"] else []) + [
        {
            "type": "function_call",
            "id": new_id("fc"),
            "call_id": new_id("call"),
            "name": name,
            "arguments": arguments,
            "status": "incomplete" if cut and place == len(calls) else "completed",
        }
        for place, (name, arguments) in enumerate(calls, start=1)
    ]
