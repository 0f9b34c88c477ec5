"""Good requests with a few of their values replaced by whatever JSON can hold: they get past the first checks."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAADgAAAA4AQMAAACSSKldAAAAA1BMVEUAgIBxQSaxAAAADklEQVR42mNgGAVDGQAAAcAA"
    "Ab8Xq8EAAAAASUVORK5CYII="
)
USER = {
    "role": "user",
    "content": [
        {"type": "text", "text": "hello"},
        {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}},
    ],
}
TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}},
}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
}
SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
GOOD: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "/v1/chat/completions",
        {"model": "qwen2.5-vl", "messages": [USER], "max_tokens": 3, "temperature": 0.5, "stop": ["x"], "n": 1},
    ),
    (
        "/v1/chat/completions",
        {
            "model": "qwen2.5-vl",
            "messages": [USER],
            "max_tokens": 3,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
    (
        "/v1/chat/completions",
        {
            "model": "qwen2.5-vl",
            "messages": [USER, CALL, {"role": "tool", "tool_call_id": "1", "content": "yes"}],
            "tools": [TOOL],
            "tool_choice": "auto",
        },
    ),
    (
        "/v1/chat/completions",
        {
            "model": "qwen2.5-vl",
            "messages": [USER],
            "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
        },
    ),
    (
        "/v1/chat/completions",
        {
            "model": "qwen2.5-vl",
            "messages": [{"role": "user", "content": [{"type": "video", "video": [PICTURE, PICTURE]}]}],
        },
    ),
    ("/v1/completions", {"model": "qwen2.5-vl", "prompt": ["hello"], "max_tokens": 3, "logprobs": 2, "echo": False}),
    (
        "/v1/responses",
        {
            "model": "qwen2.5-vl",
            "input": [{"role": "user", "content": [{"type": "input_image", "image_url": PICTURE}]}],
        },
    ),
    ("/tokenize", {"model": "qwen2.5-vl", "prompt": "hello"}),
    ("/detokenize", {"model": "qwen2.5-vl", "tokens": [1, 2]}),
    ("/v1/tokens/estimate", {"model": "qwen2.5-vl", "messages": [USER]}),
    (
        "/v1/detect",
        {
            "image": PICTURE,
            "labels": ["a", "b"],
            "sub_labels": ["c"],
            "mode": "box",
            "max_tokens": 9,
            "render": "svg",
            "format": "coco",
        },
    ),
    ("/v1/detect", {"image": {"type": "image_url", "image_url": {"url": PICTURE}}, "prompt": "all", "stream": True}),
    ("/v1/parse-document", {"document": PICTURE, "pages": "1", "output": ["html", "markdown"], "max_tokens": 9}),
    ("/v1/localize-events", {"video": [PICTURE, PICTURE], "query": "x", "max_events": 2, "fps": 2}),
    ("/v1/read-text", {"image": PICTURE, "level": "line"}),
    ("/v1/caption", {"image": PICTURE, "length": "short"}),
    ("/v1/extract", {"image": PICTURE, "schema": SCHEMA, "max_tokens": 9}),
    (
        "/v1/act",
        {"screenshot": PICTURE, "task": "x", "history": [{"action": "wait", "time": 1}], "environment": "computer"},
    ),
)
SPECIAL = [
    "",
    " ",
    "\x00",
    "\u202e",
    "<|im_end|>",
    "<|image_pad|>",
    "../../etc/passwd",
    "data:,",
    "data:image/png;base64,",
    "http://",
    "https://[::1",
    "1-",
    "-1",
    "1e999",
    "NaN",
    "null",
    "{}",
    "A" * 3000,
    "\U0001f600" * 50,
    "a\r\nb: c",
    "%00",
    "qwen2.5-vl",
    PICTURE,
]

NEW = ["uuid", "priority", "cache_salt", "url", "stream", "seed"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 1, 2**31, 2**63 - 1, -(2**63), 2**64 - 1, 10**4])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(SPECIAL),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from(["type", "text", "url"]), inner, max_size=4)
    ),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a JSON value but itself.

    >>> list(places({"a": [1]}))
    [('a',), ('a', 0)]
    """
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from places(item, (*path, key))


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """(path, body) of a good request of which one to three things are replaced, left out or new."""
    path, good = draw(st.sampled_from(GOOD))
    body = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(body))
        if not found:
            break
        at = draw(st.sampled_from(found))
        holder: Any = body
        for step in at[:-1]:
            holder = holder[step]
        kind = draw(st.sampled_from(["replaced", "replaced", "left out", "new"]))
        if kind == "left out":
            del holder[at[-1]]
        elif kind == "new" and isinstance(holder, dict):
            holder[draw(st.text(max_size=8) | st.sampled_from(NEW))] = draw(VALUES)
        else:
            holder[at[-1]] = draw(VALUES)
    return path, body
