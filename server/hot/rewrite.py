"""The request rewriter: what of a client's JSON reaches the engine, and in which words.

`rewritten` is all of it. `read_body` parses, `prepare` checks the fields it knows (`checks`), takes out what a client
must not steer (`STRIPPED`), breaks the model's control tokens in the client's text, and collects pictures and clips as
`MediaPart`s for the caller to load. Everything else passes through unknown. Pure: no I/O, no media decoding; big files
in the body are not even parsed (`lifting`).
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from re import Pattern
from typing import Any, Literal

import orjson

from server import protocol, tool_calls
from server.errors import GatewayError, InvalidJSON, InvalidValue, LimitExceeded, MissingField, quoted
from server.hot import checks
from server.hot.control_tokens import ANY_CONTROL, ANY_VISION, Breaker, may_be_in
from server.hot.lifting import lift
from server.hot.responses import response
from server.settings import Settings

STRIPPED = frozenset(
    {
        # steer the engine's processor, cache, scheduler or transport (facts: vLLM 0.32 request fields)
        "mm_processor_kwargs", "media_io_kwargs", "mm_payload", "return_mm_kwargs", "prompt_embeds",
        "chat_template", "chat_template_kwargs", "priority", "request_id", "session_id", "cache_salt",
        "kv_transfer_params", "ec_transfer_params", "vllm_xargs", "routed_experts_prompt_start",
        "previous_input_messages", "enable_response_messages", "background",
    }
)  # fmt: skip

GUIDED = {
    "guided_json": "json",
    "guided_regex": "regex",
    "guided_choice": "choice",
    "guided_grammar": "grammar",
}
"""Names that vLLM dropped and now ignores in silence -> their place in `structured_outputs`."""

STEERING = STRIPPED | GUIDED.keys()

LARGE_BYTES = 65536  # beyond it (a photo), counting brackets takes longer than walking what was parsed

TEXT_PARTS = frozenset({"text", "input_text", "output_text", "refusal", "thinking", "tool_reference"})
IMAGE_KEYS = ("image_url", "image", "input_image")
VIDEO_KEYS = ("video_url", "video", "input_video")


Source = str | memoryview
"""A URL or data URI as the body has it; a long data URI as the bytes of the body itself."""


@dataclass(slots=True)
class MediaPart:
    """A picture or clip of the request, and the place in the body where the engine's form of it goes."""

    kind: Literal["image", "video"]
    source: Source | list[Source]
    """URL, data URI, or a list of them (the frames of a clip)."""
    param: str
    max_pixels: int | None
    """Budget asked for by `detail` or `max_pixels`; None: the server's."""
    put: Callable[[str], None]
    """Writes the data URI that the engine is to see."""


@dataclass(slots=True)
class Prepared:
    """A request that may go to the engine once its media is loaded."""

    body: dict[str, Any]
    stream: bool
    changed: bool = False
    """Whether `body` differs from the bytes that came in."""
    stripped: list[str] = field(default_factory=list)
    """Paths of what was taken out."""
    neutralised: int = 0
    """Control tokens broken up in the client's text."""
    media: list[MediaPart] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Form:
    """How one endpoint's JSON is read."""

    checks: dict[str, checks.Check]
    required: tuple[str, ...]
    text_fields: tuple[str, ...]
    """Top-level fields that reach the prompt."""
    control: "Pattern[str]" = ANY_CONTROL
    media: Literal["chat", "responses"] | None = None
    strict: Callable[[dict[str, Any]], None] | None = None
    """A check over several fields."""
    is_cached: bool = True
    """Whether the engine takes a `cache_salt` with it."""
    is_counted: bool = False
    """Whether a stream's usage comes only where `stream_options.include_usage` asks for it."""
    tidy: Callable[[bytes, dict[str, Any]], bytes] | None = None
    """(whole answer, request) -> the answer as OpenAI's schema has it."""


def rewritten(raw: bytes | bytearray, form: Form, settings: Settings) -> Prepared:
    """What `raw` asks for, checked and rewritten. Raises what `read_body` and `prepare` raise."""
    short, lifted = lift(raw)
    if lifted:
        # Whatever is wrong, or a file that lies where no picture or clip is expected, is for the plain way to tell.
        with contextlib.suppress(GatewayError):
            prepared = prepare(read_body(short, settings), short, form, settings)
            if _put_down(prepared.media, lifted) == len(lifted):
                return prepared
    return prepare(read_body(raw, settings), raw, form, settings)


def _put_down(media: list[MediaPart], lifted: dict[str, memoryview]) -> int:
    """Gives each part the source that was lifted out of the body; how many there were."""
    count = 0
    for part in media:
        sources = part.source if isinstance(part.source, list) else [part.source]
        found = [lifted.get(source, source) if isinstance(source, str) else source for source in sources]
        count += sum(not isinstance(source, str) for source in found)
        part.source = found if isinstance(part.source, list) else found[0]
    return count


def read_body(raw: bytes | bytearray, settings: Settings) -> dict[str, Any]:
    """The request's JSON object. Raises InvalidJSON, also when it nests too deep.

    >>> read_body(b'[1]', Settings())
    Traceback (most recent call last):
        ...
    server.errors.InvalidJSON: the body must be a JSON object, not an array
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise InvalidJSON(f"the body is not JSON: {exc}") from exc
    if not isinstance(body, dict):
        raise InvalidJSON(f"the body must be a JSON object, not {checks.kind(body)}")
    brackets = raw.count(b"{") + raw.count(b"[") if len(raw) <= LARGE_BYTES else settings.max_json_depth + 1
    if brackets > settings.max_json_depth:  # else it cannot be deeper either
        checks.check_depth(body, settings.max_json_depth)
    return body


def prepare(body: dict[str, Any], raw: bytes | bytearray, form: Form, settings: Settings) -> Prepared:
    """Check and rewrite `body` in place. `raw` are the bytes it was read from.

    Raises InvalidValue, MissingField or LimitExceeded, each naming the field.
    """
    for name in form.required:
        if body.get(name) is None:
            raise MissingField(f"{name} is missing", param=name)
    checks.check_fields(body, form.checks, settings)
    if form.strict is not None:
        form.strict(body)
    prepared = Prepared(body, stream=body.get("stream") is True)
    if not STEERING.isdisjoint(body):
        _take_out(body, prepared)
    if may_be_in(raw):
        _break_tokens(prepared, form)
    # Only now: what is collected stands in the body that the tokens were broken in, and `put` writes there.
    if form.media == "chat" and body.get("messages") is not None:
        _collect_messages(body["messages"], "messages", prepared, settings)
    elif form.media == "responses" and isinstance(body.get("input"), list):
        _collect_messages(body["input"], "input", prepared, settings)
    if "tool_choice" in body and tool_calls.is_forced(body) and tool_calls.enforce(body):
        prepared.changed = True
    if prepared.media:
        _check_counts(prepared.media, settings)
        prepared.changed = True
    return prepared


def _take_out(body: dict[str, Any], prepared: Prepared) -> None:
    for name in STRIPPED & body.keys():
        del body[name]
        prepared.stripped.append(name)
    for name in GUIDED.keys() & body.keys():
        _translate_guided(body, name)
    prepared.changed = True


def _translate_guided(body: dict[str, Any], name: str) -> None:
    value = body.pop(name)
    if value is None:
        return
    if body.get("structured_outputs") is not None:
        raise InvalidValue(f"{name} and structured_outputs are both given; leave {name} out", param=name)
    body["structured_outputs"] = {GUIDED[name]: value}


def _check_counts(media: list[MediaPart], settings: Settings) -> None:
    for kind, limit in (("image", settings.max_images), ("video", settings.max_videos)):
        found = [part for part in media if part.kind == kind]
        if len(found) > limit:
            raise LimitExceeded(
                found[limit].param, value=len(found), limit=limit, what=f"the number of {kind}s in the request"
            )


def _break_tokens(prepared: Prepared, form: Form) -> None:
    body, breaker = prepared.body, Breaker(form.control)
    for name in form.text_fields:
        if name in body:
            body[name] = breaker.broken(body[name])
    messages = body.get("input" if form.media == "responses" else "messages") if form.media else None
    for message in messages if isinstance(messages, list) else ():
        for parts in message.values() if isinstance(message, dict) else ():
            if isinstance(parts, list):
                breaker.break_seams(parts)
    if breaker.count:
        prepared.neutralised = breaker.count
        prepared.changed = True


# -- pictures and clips ----------------------------------------------------------------------------------------------


def _collect_messages(messages: list[Any], name: str, prepared: Prepared, settings: Settings) -> None:
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise checks.wrong_type(f"{name}[{index}]", message, "an object")
        content = message.get("content")
        if not isinstance(content, str):  # else there is nothing to collect, nor a place to name
            _collect_content(content, f"{name}[{index}].content", prepared, settings)
        if name == "input":  # what a function gave back; vLLM reads it as a tool message's content
            _collect_content(message.get("output"), f"{name}[{index}].output", prepared, settings)


def _collect_content(content: Any, where: str, prepared: Prepared, settings: Settings) -> None:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise checks.wrong_type(where, content, "a string or an array of parts")
    for place, part in enumerate(content):
        if isinstance(part, str):  # vLLM takes bare strings as text parts
            continue
        if not isinstance(part, dict):
            raise checks.wrong_type(f"{where}[{place}]", part, "an object")
        _collect_part(part, f"{where}[{place}]", prepared, settings)


def _collect_part(part: dict[str, Any], where: str, prepared: Prepared, settings: Settings) -> None:
    if "uuid" in part:
        # The engine's cache key: whoever guesses another's could read or plant a picture. Beside it vLLM goes by a
        # part's keys instead of its type, so that a text could name a URL for the engine to fetch.
        del part["uuid"]
        prepared.stripped.append(f"{where}.uuid")
        prepared.changed = True
    form = part.get("type")
    if form is not None and not isinstance(form, str):
        raise checks.wrong_type(f"{where}.type", form, "a string")
    if form in TEXT_PARTS:
        if form == "text" and not isinstance(part.get("text"), str):
            raise checks.wrong_type(f"{where}.text", part.get("text"), "a string")
        return
    if form is None:  # vLLM takes parts without a type by their key
        form = next((key for key in (*IMAGE_KEYS, *VIDEO_KEYS) if key in part), None)
        if form is None:
            if isinstance(part.get("text"), str):
                part["type"] = "text"  # else vLLM would take another of its keys for it: audio_url, image_embeds
                prepared.changed = True
                return
            raise MissingField(f"{where}.type is missing", param=f"{where}.type")
    if form in IMAGE_KEYS:
        _collect_image(part, form, where, prepared, settings)
    elif form in VIDEO_KEYS:
        _collect_video(part, form, where, prepared)
    else:
        raise InvalidValue(
            f"{where}.type is {quoted(form)}; "
            "this server takes text, image_url, image, input_image, video_url and video",
            param=f"{where}.type",
        )


def _source(part: dict[str, Any], keys: tuple[str, ...], where: str) -> tuple[Any, str, dict[str, Any]]:
    """(source, its path, the object that holds its options)."""
    for key in keys:
        if part.get(key) is None:
            continue
        value = part[key]
        if isinstance(value, dict):
            if value.get("url") is None:
                raise MissingField(f"{where}.{key}.url is missing", param=f"{where}.{key}.url")
            return value["url"], f"{where}.{key}.url", value
        return value, f"{where}.{key}", part
    raise MissingField(f"{where}.{keys[0]} is missing", param=f"{where}.{keys[0]}")


def _collect_image(part: dict[str, Any], form: str, where: str, prepared: Prepared, settings: Settings) -> None:
    source, param, options = _source(part, IMAGE_KEYS, where)
    if not isinstance(source, str):
        raise checks.wrong_type(param, source, "a string")
    budget = _detail_pixels(options.get("detail"), f"{param.removesuffix('.url')}.detail", settings)
    budget = _lower(budget, part.get("max_pixels", options.get("max_pixels")), f"{where}.max_pixels")
    responses = form == "input_image"

    def put(url: str) -> None:
        part.clear()
        if responses:
            part.update(type="input_image", image_url=url, detail="auto")
        else:
            part.update(type="image_url", image_url={"url": url})

    prepared.media.append(MediaPart("image", source, param, budget, put))


def _collect_video(part: dict[str, Any], form: str, where: str, prepared: Prepared) -> None:
    source, param, options = _source(part, VIDEO_KEYS, where)
    if isinstance(source, list):
        for index, frame in enumerate(source):
            if not isinstance(frame, str):
                raise checks.wrong_type(f"{param}[{index}]", frame, "a string")
    elif not isinstance(source, str):
        raise checks.wrong_type(param, source, "a string or an array of frames")
    for options_holder in (part, options):
        if options_holder.get("fps") is not None:  # the engine is told one rate for all: design 6
            prepared.stripped.append(f"{where}.fps")
            break

    def put(url: str) -> None:
        part.clear()
        part.update(type="video_url", video_url={"url": url})

    prepared.media.append(MediaPart("video", source, param, None, put))


def _detail_pixels(detail: Any, param: str, settings: Settings) -> int | None:
    if detail is None or detail == "auto":
        return None
    if detail == "low":
        return settings.image_low_pixels
    if detail == "high":
        return settings.image_high_pixels
    raise InvalidValue(f"{param} is {quoted(detail)}; it must be low, high or auto", param=param)


def _lower(budget: int | None, asked: Any, param: str) -> int | None:
    if asked is None:
        return budget
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 784:
        raise InvalidValue(f"{param} must be an integer of at least 784 (one 28x28 token)", param=param)
    return asked if budget is None else min(asked, budget)


# -- the endpoints ---------------------------------------------------------------------------------------------------


def _check_logprobs(body: dict[str, Any]) -> None:
    if body.get("top_logprobs") and not body.get("logprobs"):
        raise InvalidValue("top_logprobs needs logprobs: true", param="top_logprobs")


def _check_tokenize(body: dict[str, Any]) -> None:
    if body.get("messages") is None and not isinstance(body.get("prompt"), str):
        raise MissingField("messages or prompt is missing", param="messages")


CHAT = Form(
    checks.CHAT,
    ("model", "messages"),
    ("messages", "tools", "documents"),
    media="chat",
    strict=_check_logprobs,
    is_counted=True,
    tidy=protocol.completion,
)
COMPLETION = Form(
    checks.COMPLETION,
    ("model", "prompt"),
    ("prompt", "suffix"),
    control=ANY_VISION,
    is_counted=True,
    tidy=protocol.completion,
)
RESPONSE = Form(
    checks.RESPONSE, ("model", "input"), ("input", "instructions", "tools"), media="responses", tidy=response
)
TOKENIZE = Form(checks.CHAT, (), ("messages", "tools"), media="chat", strict=_check_tokenize, is_cached=False)
DETOKENIZE = Form(checks.DETOKENIZE, ("tokens",), (), is_cached=False)
