"""How many places a request takes: known before anything of it is decoded, from its head, its JSON and its pictures'
first bytes.

One place for the request, one more for each `place_tokens` visual tokens and each `place_bytes` of its body. Visual
tokens are an upper bound where they cannot be known: of a URL, a clip, a document the most that it may cost. So
`max_in_flight` bounds what engines and memory hold at once: never more than `max_in_flight * place_tokens` visual
tokens and `max_in_flight * place_bytes` bytes.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pybase64

from server.errors import GatewayError
from server.media.peek import HEAD_BYTES, peek_size
from server.media.sizes import CELL_AREA, shown_size
from server.media.source import Inline, Source, parse_source
from server.media.view import Size
from server.settings import Settings
from server.tasks.inputs import media_source
from server.tasks.task import Task, TaskRequest

if TYPE_CHECKING:
    from server.hot.rewrite import MediaPart

LONG_HEAD_BYTES = 128 * 1024
"""A JPEG's size comes after its EXIF block and colour profile, 64 KiB each at most."""


def declared_bytes(headers: Mapping[bytes, bytes], limit: int) -> int:
    """How long the body is by the request's head; the limit where the head does not say."""
    declared = headers.get(b"content-length")
    if declared is not None and declared.isdigit():
        return int(declared)
    return limit if b"transfer-encoding" in headers else 0


def places(visual_tokens: int, body_bytes: int, settings: Settings) -> int:
    """What a request weighs.

    >>> places(0, 900, Settings()), places(1280, 3_000_000, Settings())
    (1, 4)
    """
    return 1 + visual_tokens // settings.place_tokens + body_bytes // settings.place_bytes


def parts_tokens(parts: Iterable["MediaPart"], settings: Settings) -> int:
    """The most visual tokens that the pictures and clips of a chat request may cost."""
    tokens = 0
    for part in parts:
        if part.kind == "video" or isinstance(part.source, list):
            tokens += settings.video_max_tokens
        else:
            tokens += image_tokens(part.source, settings, part.max_pixels)
    return tokens


def image_tokens(source: Source, settings: Settings, budget: int | None = None) -> int:
    """The visual tokens of a picture by what its first bytes say; the most that it may cost where they do not."""
    wh = _peeked(source)
    if wh is None:
        return min(budget or settings.image_max_pixels, settings.image_max_pixels) // CELL_AREA
    shown = shown_size(wh, settings.image_min_pixels, settings.image_max_pixels, budget=budget)
    return shown[0] * shown[1] // CELL_AREA


def _peeked(source: Source) -> Size | None:
    """The size that a picture in the request itself says it has."""
    try:
        parsed = parse_source(source, param="")
    except GatewayError:
        return None  # refused when it is loaded, with its field's name
    if isinstance(parsed, Inline) and parsed.encoding == "base64":
        for head_bytes in (HEAD_BYTES, LONG_HEAD_BYTES):
            wh = peek_size(_head(parsed.text, head_bytes))
            if wh is not None:
                return wh
    return None


def _head(text: bytes | memoryview, length: int) -> bytes:
    try:
        return pybase64.b64decode(bytes(text[: length // 3 * 4]), validate=True)
    except ValueError:
        return b""


def task_tokens(task: Task[Any], request: TaskRequest, settings: Settings) -> int:
    """The most visual tokens that a task has before engines at once."""
    for name, kind in task.inputs.items():
        value = getattr(request, name, None)
        if value is None:
            continue
        if kind == "video":
            return (1 if task.together else settings.task_parallel) * settings.video_max_tokens
        source = media_source(value, param=name)
        if kind == "image" or _peeked(source) is not None:
            return image_tokens(source, settings)
        pages = settings.max_images if task.together else settings.task_parallel
        return pages * (settings.image_max_pixels // CELL_AREA)
    return 0
