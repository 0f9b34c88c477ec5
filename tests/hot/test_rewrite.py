"""The request rewriter, for any JSON whatever: it refuses in words, strips, breaks control tokens, leaves the rest."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import CallerError
from server.hot import rewrite
from server.hot.chat import FORMS
from server.hot.control_tokens import ANY_CONTROL, ANY_VISION
from server.hot.rewrite import STEERING, STRIPPED, Form, Prepared
from server.settings import Settings

SETTINGS = Settings()
LOADED = "data:image/bmp;base64,AAAA"
"""What every picture and clip becomes."""
ELSEWHERE = "http://169.254.169.254/latest/meta-data/"
KNOWN = sorted({name for form in FORMS.values() for name in (*form.checks, *form.required, *form.text_fields)})
PART_KEYS = [
    *("type", "text", "refusal", "thinking", "name", "image_url", "image", "input_image", "video_url", "video"),
    *("input_video", "url", "detail", "max_pixels", "fps", "uuid", "audio_url", "image_embeds", "content", "role"),
]
PART_TYPES = ["text", "input_text", "refusal", "image_url", "image", "input_image", "video", "video_url", "audio_url"]

# -- any JSON --------------------------------------------------------------------------------------------------------

# Whole control tokens, and what they can be cut into.
TOKENS = ["<|im_end|>", "<|im_start|>", "<|image_pad|>", "<|video_pad|>", "<|endoftext|>"]
PIECES = [token[start:end] for token in TOKENS[:3] for start, end in ((0, 1), (0, 2), (1, None), (2, None), (0, -1))]
words = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from([*TOKENS, *PIECES, "|>", "user", ELSEWHERE])
text = st.lists(words, max_size=3).map("".join)
names = st.sampled_from([*KNOWN, *PART_KEYS, *sorted(STEERING)]) | text
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
    | st.sampled_from(PART_TYPES)
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=8
)
objects = st.dictionaries(names, anything, max_size=6)
forms = st.sampled_from(sorted(FORMS)).map(FORMS.__getitem__)

# -- requests that are good, with whatever may be added --------------------------------------------------------------

noise = st.dictionaries(
    st.sampled_from(["uuid", "audio_url", "image_embeds", "cache_control", "index"]), text | objects
)
text_parts = st.one_of(
    text,
    st.builds(lambda text, noise: {**noise, "type": "text", "text": text}, text, noise),
    st.builds(lambda text, noise: {**noise, "text": text}, text, noise),
    st.builds(lambda text, noise: {**noise, "type": "refusal", "refusal": text, "text": "-"}, text, noise),
    st.builds(lambda text: {"type": "text", "text": text, "uuid": "1", "image_url": ELSEWHERE}, text),
    st.builds(lambda text: {"text": text, "audio_url": ELSEWHERE}, text),
)
media_parts = st.builds(
    lambda part, noise: {**noise, **part},
    st.sampled_from(
        [
            {"type": "image_url", "image_url": {"url": ELSEWHERE, "detail": "low", "uuid": "1"}},
            {"type": "image", "image": ELSEWHERE, "max_pixels": 1000},
            {"image": ELSEWHERE},
            {"type": "input_image", "image_url": ELSEWHERE},
            {"type": "video", "video": [ELSEWHERE, ELSEWHERE], "fps": 1},
            {"type": "video_url", "video_url": {"url": ELSEWHERE}},
        ]
    ),
    noise,
)


@st.composite
def cut_tokens(draw: st.DrawFn) -> list[Any]:
    """A control token over two or three parts."""
    token = draw(st.sampled_from(TOKENS))
    cuts = sorted(draw(st.sets(st.integers(1, len(token) - 1), min_size=1, max_size=2)))
    pieces = [token[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    kinds = [draw(st.sampled_from(["bare", "text", "refusal"])) for _ in pieces]
    return [piece if kind == "bare" else {"type": kind, kind: piece} for kind, piece in zip(kinds, pieces, strict=True)]


contents = text | cut_tokens() | st.lists(text_parts | text_parts | media_parts, max_size=5)
messages = st.lists(
    st.builds(lambda role, content: {"role": role, "content": content}, st.sampled_from(["user", "tool"]), contents),
    min_size=1,
    max_size=2,
)
steering = st.dictionaries(st.sampled_from(sorted(STRIPPED)), anything, max_size=3)
unknown = st.dictionaries(text.map("x_{}".format), anything, max_size=3)
many = SETTINGS.model_copy(update={"max_images": 99, "max_videos": 99})


@st.composite
def good_requests(draw: st.DrawFn) -> tuple[Form, dict[str, Any]]:
    """A request that is to be taken, and how it is read."""
    extra = {**draw(unknown), **draw(steering)}
    asked = draw(messages)
    if draw(st.booleans()):
        return rewrite.CHAT, {**extra, "model": "m", "messages": asked, "documents": [{"text": draw(text)}]}
    outputs = [{"type": "function_call_output", "call_id": "1", "output": draw(contents)}]
    return rewrite.RESPONSE, {**extra, "model": "m", "input": [*asked, *outputs], "instructions": draw(text)}


def rewritten(body: dict[str, Any], form: Form) -> Prepared:
    """`body` as the engine would get it."""
    raw = orjson.dumps(body)
    prepared = rewrite.prepare(rewrite.read_body(raw, many), raw, form, many)
    for part in prepared.media:
        part.put(LOADED)
    return prepared


def refusal(raw: bytes, form: Form) -> CallerError | None:
    """Why the body is refused, if it is; any other exception is a mistake of ours."""
    try:
        rewrite.prepare(rewrite.read_body(raw, SETTINGS), raw, form, SETTINGS)
    except CallerError as failure:
        return failure
    return None


def contents_of(body: dict[str, Any]) -> Iterator[Any]:
    """What vLLM puts into the prompt: of a message its content, of a function its output."""
    for message in body.get("messages") or body.get("input") or []:
        yield message.get("content") or message.get("output")


def rendered(content: Any) -> str:
    """As the model's template writes it: one part behind the other, a picture's own tokens for a picture."""
    if not isinstance(content, list):
        return content or ""
    where = {"refusal": "refusal"}
    texts = [part if isinstance(part, str) else part.get(where.get(part["type"], "text"), "\n") for part in content]
    return "".join(texts)


def strings(value: Any) -> Iterator[str]:
    """Every string of some JSON, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


# -- promises --------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(forms, objects)
def test_whatever_is_sent_nothing_but_a_callers_error_is_raised(form: Form, body: dict[str, Any]) -> None:
    failure = refusal(orjson.dumps(body), form)
    assert failure is None or len(failure.message) < 1000
    assert failure is None or failure.param is None or failure.param in failure.message


@settings(max_examples=100, deadline=None)
@given(forms, st.binary(max_size=60) | objects.map(orjson.dumps))
def test_whatever_bytes_are_sent_they_are_read_or_refused(form: Form, raw: bytes) -> None:
    refusal(raw, form)


@settings(max_examples=100, deadline=None)
@given(unknown)
def test_what_is_unknown_passes_through_unchanged(fields: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}
    prepared = rewritten(body, rewrite.CHAT)
    assert prepared.body == orjson.loads(orjson.dumps(body))
    assert not prepared.changed


@settings(max_examples=150, deadline=None)
@given(good_requests())
def test_what_must_not_reach_the_engine_does_not(request: tuple[Form, dict[str, Any]]) -> None:
    form, body = request
    prepared = rewritten(body, form)
    assert STRIPPED.isdisjoint(prepared.body)
    assert {name for name in prepared.stripped if "." not in name} == STRIPPED & body.keys()
    for name in form.text_fields:
        assert not any(ANY_CONTROL.search(found) for found in strings(prepared.body.get(name)))
    for content in contents_of(prepared.body):
        assert not ANY_CONTROL.search(rendered(content))
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict):
                assert isinstance(part["type"], str)  # else vLLM goes by whatever keys there are
                assert "uuid" not in part
                if part["type"] not in rewrite.TEXT_PARTS:
                    assert ELSEWHERE not in strings(part)
                    assert LOADED in strings(part)


@settings(max_examples=100, deadline=None)
@given(good_requests())
def test_a_second_time_there_is_nothing_to_do(request: tuple[Form, dict[str, Any]]) -> None:
    form, body = request
    once = rewritten(body, form)
    twice = rewritten(once.body, form)
    assert twice.body == once.body
    assert not twice.stripped
    assert not twice.neutralised
    assert len(twice.media) == len(once.media)
    assert twice.changed == bool(twice.media)


@settings(max_examples=60, deadline=None)
@given(text | st.lists(text, min_size=1, max_size=3))
def test_a_raw_prompt_keeps_its_turns_but_brings_no_pictures(prompt: Any) -> None:
    found = rewritten({"model": "m", "prompt": prompt}, rewrite.COMPLETION).body["prompt"]
    assert not any(ANY_VISION.search(one) for one in strings(found))
    assert [one.replace("\u200b", "") for one in strings(found)] == [
        one.replace("\u200b", "") for one in strings(prompt)
    ]


@pytest.mark.parametrize(
    ("form", "body", "param"),
    [
        (
            rewrite.CHAT,
            {"messages": [{"role": "user", "content": [{"type": ["text"]}]}]},
            "messages[0].content[0].type",
        ),
        (
            rewrite.CHAT,
            {"messages": [{"role": "user", "content": [{"audio_url": "x"}]}]},
            "messages[0].content[0].type",
        ),
        (rewrite.RESPONSE, {"input": [{"type": "function_call_output", "output": 5}]}, "input[0].output"),
        (rewrite.RESPONSE, {"input": [5]}, "input[0]"),
    ],
)
def test_the_error_names_the_place(form: Form, body: dict[str, Any], param: str) -> None:
    with pytest.raises(CallerError) as caught:
        rewritten({"model": "m", **body}, form)
    assert caught.value.param == param


# -- files left out of the parse -------------------------------------------------------------------------------------

PHOTO = "data:image/jpeg;base64," + "QUJD" * 30_000
TWO_PHOTOS: dict[str, Any] = {
    "model": "m",
    "messages": [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": PHOTO}}, {"type": "text", "text": "?"}],
        },
        {"role": "user", "content": [{"type": "video", "video": [PHOTO + "RA==", "https://host/frame.jpg"]}]},
    ],
}


def as_text(source: rewrite.Source | list[rewrite.Source]) -> Any:
    """What a media part names, whichever way it was read."""
    if isinstance(source, list):
        return [as_text(one) for one in source]
    return source if isinstance(source, str) else bytes(source).decode()


def test_photos_that_are_not_parsed_are_found_all_the_same() -> None:
    prepared = rewrite.rewritten(orjson.dumps(TWO_PHOTOS), rewrite.CHAT, SETTINGS)
    assert [as_text(part.source) for part in prepared.media] == [PHOTO, [PHOTO + "RA==", "https://host/frame.jpg"]]
    assert isinstance(prepared.media[0].source, memoryview)
    for part in prepared.media:
        part.put(LOADED)
    assert b"data:image/jpeg" not in orjson.dumps(prepared.body)


@pytest.mark.parametrize(
    "written",
    [
        {"model": "m", "messages": [{"role": "user", "content": PHOTO}]},
        {**TWO_PHOTOS, "user": PHOTO},
        {**TWO_PHOTOS, "metadata": {"a": ["x", PHOTO]}},
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": f'say "{PHOTO}"'}]}]},
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": f'"{PHOTO}\\"'}]}]},
    ],
)
def test_a_file_where_no_picture_belongs_stays_the_text_it_is(written: dict[str, Any]) -> None:
    prepared = rewrite.rewritten(orjson.dumps(written), rewrite.CHAT, SETTINGS)
    plain = rewrite.prepare(orjson.loads(orjson.dumps(written)), orjson.dumps(written), rewrite.CHAT, SETTINGS)
    assert prepared.body == plain.body
    assert [as_text(part.source) for part in prepared.media] == [part.source for part in plain.media]


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda raw: raw[:-1],
        lambda raw: raw.replace(b'{"url":"data', b'{"url":"x"data', 1),
        lambda raw: raw.replace(b'QUJD"', b'QUJD\\x"', 1),
        lambda raw: raw.replace(b'{"url":"data', b'{"url":data', 1),
    ],
)
def test_broken_json_around_a_photo_is_told_as_ever(spoiled: Any) -> None:
    raw = spoiled(orjson.dumps(TWO_PHOTOS))
    with pytest.raises(CallerError) as lifted:
        rewrite.rewritten(raw, rewrite.CHAT, SETTINGS)
    with pytest.raises(CallerError) as plain:
        rewrite.read_body(raw, SETTINGS)
    assert lifted.value.message == plain.value.message


def test_an_error_beside_a_photo_names_what_the_caller_wrote() -> None:
    raw = orjson.dumps({"model": "m", "messages": [{"role": PHOTO, "content": "x"}]})
    with pytest.raises(CallerError, match="role is 'data:image/jpeg"):
        rewrite.rewritten(raw, rewrite.CHAT, SETTINGS)
