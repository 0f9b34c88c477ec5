"""What a field of an OpenAI request may be: one visible table, one line a field.

Only fields listed here are looked at; all others pass through to the engine, which knows more of them than we do.
A `None` counts as left out, as OpenAI's clients send it.
"""

from collections.abc import Callable
from typing import Any

from server.errors import InvalidJSON, InvalidValue, LimitExceeded, MissingField, quoted
from server.settings import Settings

Check = Callable[[str, Any, Settings], None]
"""(field, value, settings): raises InvalidValue or LimitExceeded naming the field."""

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
WORDLESS = frozenset({"assistant", "function"})
"""Roles that may say nothing: an assistant's message may be tool calls alone."""
FORMATS = frozenset({"text", "json_object", "json_schema", "structural_tag"})


def kind(value: object) -> str:
    """The JSON name of a value's type, for messages.

    >>> kind(True), kind([1]), kind(None)
    ('a boolean', 'an array', 'null')
    """
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "an array"}
    return "null" if value is None else names.get(type(value), "an object")


def wrong_type(field: str, value: object, wanted: str) -> InvalidValue:
    """The error for a value of the wrong JSON type."""
    return InvalidValue(f"{field} must be {wanted}, not {kind(value)}", param=field)


def number(low: float, high: float) -> Check:
    """A finite number from `low` to `high`."""

    def check(field: str, value: Any, settings: Settings) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong_type(field, value, "a number")
        if not low <= value <= high:
            raise InvalidValue(f"{field} is {value}; it must be from {low:g} to {high:g}", param=field)

    return check


def integer(low: int, high: int | None = None, *, limit: str | None = None) -> Check:
    """A whole number from `low` to `high`, or to the setting named `limit`."""

    def check(field: str, value: Any, settings: Settings) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(field, value, "an integer")
        if value < low:
            raise InvalidValue(f"{field} is {value}; it must be at least {low}", param=field)
        highest = getattr(settings, limit) if limit else high
        if highest is not None and value > highest:
            raise LimitExceeded(field, value=value, limit=highest)

    return check


def boolean(field: str, value: Any, settings: Settings) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise wrong_type(field, value, "a boolean")


def string(field: str, value: Any, settings: Settings) -> None:
    """Any string."""
    if not isinstance(value, str):
        raise wrong_type(field, value, "a string")


def mapping(field: str, value: Any, settings: Settings) -> None:
    """Any object."""
    if not isinstance(value, dict):
        raise wrong_type(field, value, "an object")


def stop(field: str, value: Any, settings: Settings) -> None:
    """A string, or at most four."""
    if isinstance(value, str):
        return
    if not isinstance(value, list):
        raise wrong_type(field, value, "a string or an array of strings")
    if len(value) > 4:
        raise LimitExceeded(field, value=len(value), limit=4, unit="strings")
    for index, item in enumerate(value):
        string(f"{field}[{index}]", item, settings)


def messages(field: str, value: Any, settings: Settings) -> None:
    """At least one message with a known role; contents are looked at when media is collected."""
    if not isinstance(value, list):
        raise wrong_type(field, value, "an array")
    if not value:
        raise InvalidValue(f"{field} is empty; it must hold at least one message", param=field)
    if len(value) > settings.max_messages:
        raise LimitExceeded(field, value=len(value), limit=settings.max_messages, unit="messages")
    for index, message in enumerate(value):
        if not isinstance(message, dict):
            raise wrong_type(f"{field}[{index}]", message, "an object")
        role = message.get("role")
        if role is None:
            raise MissingField(f"{field}[{index}].role is missing", param=f"{field}[{index}].role")
        if not isinstance(role, str) or role not in ROLES:
            raise InvalidValue(
                f"{field}[{index}].role is {quoted(role)}; it must be one of {', '.join(sorted(ROLES))}",
                param=f"{field}[{index}].role",
            )
        if message.get("content") is None and role not in WORDLESS:
            raise MissingField(f"{field}[{index}].content is missing", param=f"{field}[{index}].content")


def tools(field: str, value: Any, settings: Settings) -> None:
    """A list of functions, each with a name."""
    if not isinstance(value, list):
        raise wrong_type(field, value, "an array")
    if not value:
        raise InvalidValue(f"{field} is empty; leave it out or name at least one tool", param=field)
    if len(value) > 128:
        raise LimitExceeded(field, value=len(value), limit=128, unit="tools")
    for index, tool in enumerate(value):
        where = f"{field}[{index}]"
        if not isinstance(tool, dict):
            raise wrong_type(where, tool, "an object")
        if tool.get("type", "function") != "function":
            continue  # hosted tools of the responses API are the engine's to refuse
        function = tool.get("function", tool if "name" in tool else None)
        if not isinstance(function, dict):
            raise MissingField(f"{where}.function is missing", param=f"{where}.function")
        if not isinstance(function.get("name"), str) or not function["name"]:
            raise MissingField(f"{where}.function.name is missing", param=f"{where}.function.name")
        parameters = function.get("parameters")
        if parameters is not None and not isinstance(parameters, dict):
            raise wrong_type(f"{where}.function.parameters", parameters, "an object")


def response_format(field: str, value: Any, settings: Settings) -> None:
    """OpenAI's three forms and vLLM's structural_tag."""
    if not isinstance(value, dict):
        raise wrong_type(field, value, "an object")
    form = value.get("type")
    if not isinstance(form, str) or form not in FORMATS:
        raise InvalidValue(
            f"{field}.type is {quoted(form)}; it must be one of {', '.join(sorted(FORMATS))}", param=f"{field}.type"
        )
    if form == "json_schema":
        wrapper = value.get("json_schema")
        if not isinstance(wrapper, dict):
            raise MissingField(f"{field}.json_schema is missing", param=f"{field}.json_schema")
        schema = wrapper.get("schema", wrapper.get("json_schema"))
        if not isinstance(schema, dict):
            raise MissingField(f"{field}.json_schema.schema is missing", param=f"{field}.json_schema.schema")


CHAT: dict[str, Check] = {
    "model": string,
    "messages": messages,
    "stream": boolean,
    "stream_options": mapping,
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "frequency_penalty": number(-2, 2),
    "presence_penalty": number(-2, 2),
    "n": integer(1, limit="max_n"),
    "best_of": integer(1, limit="max_n"),
    "max_tokens": integer(1, limit="max_tokens_limit"),
    "max_completion_tokens": integer(1, limit="max_tokens_limit"),
    "min_tokens": integer(0, limit="max_tokens_limit"),
    "logprobs": boolean,
    "top_logprobs": integer(0, 20),
    "prompt_logprobs": integer(0, 20),
    "seed": integer(-(2**63), 2**63 - 1),
    "stop": stop,
    "tools": tools,
    "parallel_tool_calls": boolean,
    "response_format": response_format,
    "logit_bias": mapping,
    "user": string,
}
COMPLETION: dict[str, Check] = {
    **{field: check for field, check in CHAT.items() if field not in {"messages", "tools"}},
    "logprobs": integer(0, 20),
}
RESPONSE: dict[str, Check] = {
    **{field: CHAT[field] for field in ("model", "stream", "temperature", "top_p", "user", "parallel_tool_calls")},
    "max_output_tokens": integer(1, limit="max_tokens_limit"),
    "top_logprobs": integer(0, 20),
    "instructions": string,
}


DETOKENIZE: dict[str, Check] = {"model": string}


def check_fields(body: dict[str, Any], checks: dict[str, Check], settings: Settings) -> None:
    """Raise for the first field of `body` that its check refuses.

    >>> check_fields({"n": 99}, CHAT, Settings())
    Traceback (most recent call last):
        ...
    server.errors.LimitExceeded: n is 99; the limit is 8
    """
    for field, value in body.items():
        check = checks.get(field)
        if check is not None and value is not None:
            check(field, value, settings)


def check_depth(value: Any, limit: int) -> None:
    """Raise InvalidJSON when arrays and objects nest deeper than `limit`. Does not recurse: depth is the danger.

    >>> check_depth([[[]]], 2)
    Traceback (most recent call last):
        ...
    server.errors.InvalidJSON: the body nests deeper than 2 arrays and objects; the limit is 2
    """
    level: list[Any] = [value]
    depth = 0
    while level:
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]
        depth += 1
        if depth > limit:
            raise InvalidJSON(
                f"the body nests deeper than {limit} arrays and objects; the limit is {limit}", details={"limit": limit}
            )
