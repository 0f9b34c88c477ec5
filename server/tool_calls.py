"""Tool calls that a caller forces: held to their schemas on the way in, read whole on the way out.

`tool_choice: "required"`, or the name of a function, makes vLLM 0.32 write calls under a grammar that is wider than
what a client can use (hermes parser, xgrammar 0.2.8; `python -m benchmarks.conformance` shows it):

- Without `strict: true` the arguments are any JSON: `null`, `[true]`, keys that the schema does not have, lists without
  end. `enforce` asks for the schema, unless the caller said `strict: false` or the grammar is not sure of it.
- The end of a call is looked for without regard to strings, so that one with `</tool_call>` in it falls out as text,
  and so does one that was cut at `max_tokens`. `read_calls` reads both as JSON; of the cut one the caller gets what
  there is and `finish_reason: "length"`, as from OpenAI. Whole answers only: the bytes of a stream are the engine's.

A string is not bounded beyond `max_tokens`: with `maxLength`, xgrammar lets control characters through and escapes not,
so that a bounded string can hold neither a quote nor an end of line, and is not always JSON.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

OPENING = "<tool_call>"
CALL = re.compile(r'\s*\{\s*"name":\s*"(?P<name>[^"\\]+)",\s*"arguments":\s*')

UNSURE = frozenset({"contains", "patternProperties", "propertyNames"})
"""Keywords that xgrammar refuses, or takes otherwise than they are meant; others that it lacks it passes over."""
UNSURE_PATTERN = re.compile(r"\\[1-9bBpPkAzZ]|\(\?(?!:)")
"""Regular expressions of the same kind: references back, borders of words, Unicode's classes, looks ahead and back."""


def is_forced(body: dict[str, Any]) -> bool:
    """Whether a request leaves the model no choice but to call a tool.

    >>> is_forced({"tools": [{}], "tool_choice": "required"}), is_forced({"tools": [{}]})
    (True, False)
    """
    choice = body.get("tool_choice")
    return (choice == "required" or isinstance(choice, dict)) and isinstance(body.get("tools"), list)


def enforce(body: dict[str, Any]) -> bool:
    """Hold the functions that a forced call may name to their schemas, in place; whether that changed any.

    >>> tool = {"type": "function", "function": {"name": "f"}}
    >>> enforce({"tools": [tool], "tool_choice": "required"}), tool["function"]
    (True, {'name': 'f', 'parameters': {'type': 'object', 'properties': {}}, 'strict': True})
    """
    choice = body["tool_choice"]
    named = choice.get("function", choice) if isinstance(choice, dict) else {}
    name = named.get("name") if isinstance(named, dict) else None
    changed = False
    for tool in body["tools"]:
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict) or tool.get("type", "function") != "function":
            continue  # the engine's to refuse
        if name in (None, function.get("name")) and function.get("strict") is None:
            schema = function.get("parameters")
            if schema is None or schema == {}:
                function["parameters"] = schema = {"type": "object", "properties": {}}
            if _is_sure(schema):
                function["strict"] = changed = True
    return changed


def _is_sure(schema: Any) -> bool:
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict) or not schema.keys().isdisjoint(UNSURE):
        return False
    pattern = schema.get("pattern", "")
    return isinstance(pattern, str) and not UNSURE_PATTERN.search(pattern) and all(map(_is_sure, _parts(schema)))


def _parts(schema: dict[str, Any]) -> Iterator[Any]:
    """The schemas in a schema; None for what should be one and is not."""
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield schema[key]
    for key in ("properties", "$defs", "definitions"):
        if key in schema:
            yield from schema[key].values() if isinstance(schema[key], dict) else [None]
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if key in schema:
            yield from schema[key] if isinstance(schema[key], list) else [None]


def read_calls(text: str, *, cut: bool) -> tuple[str, list[tuple[str, str]]] | None:
    """(what was said before the first call, [(name, arguments)]); None if a call cannot be read.

    `cut`: the answer ended at its limit; the last arguments may be unfinished, as OpenAI gives them.

    >>> read_calls('Wait. <tool_call>{"name": "f", "arguments": {"q": "</tool_call>"}}</tool_call>', cut=False)
    ('Wait.', [('f', '{"q": "</tool_call>"}')])
    >>> read_calls('<tool_call>{"name": "f", "arguments": {"q": "a', cut=True)
    ('', [('f', '{"q": "a')])
    """
    before, _, rest = text.partition(OPENING)
    calls: list[tuple[str, str]] = []
    while True:
        start = CALL.match(rest)
        if start is None:
            return (before.strip(), calls) if cut and calls else None
        rest = rest[start.end() :]
        try:
            _, end = json.JSONDecoder().raw_decode(rest)
        except (json.JSONDecodeError, RecursionError):
            return (before.strip(), [*calls, (start["name"], rest)]) if cut else None
        calls.append((start["name"], rest[:end]))
        _, more, rest = rest[end:].partition(OPENING)
        if not more:
            return before.strip(), calls
