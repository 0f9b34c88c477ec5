"""What a task's request shows the model, a question at a time: a picture, the pages of a document, windows of a clip.

A `Showing` is loaded only when its turn comes, so that a long document or film never lies in memory as a whole.
"""

import contextlib
import math
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from server.errors import InvalidValue, LimitExceeded, MediaTooLarge
from server.media import MediaLoader
from server.media.opened import Document, Film
from server.media.view import Clip
from server.settings import Settings
from server.tasks.inputs import clip_source, media_source
from server.tasks.task import Shown, Task, TaskRequest

_FITTING_TRIES = 3
_LEAST_ROOM = 0.25  # a clip further beyond a limit is beyond one of bytes, pixels or seconds, not of its tokens
_MARGIN = 0.98
Load = Callable[[], Awaitable[Shown]]


@dataclass(frozen=True, slots=True)
class Showing:
    """One question's pictures, not loaded yet."""

    load: Load
    about: int | None = None
    """Page number of a document."""
    span_s: tuple[float, float] | None = None
    """Window of a clip."""


async def showings(
    task: Task[Any], request: TaskRequest, media: MediaLoader, settings: Settings, opened: AsyncExitStack
) -> AsyncGenerator[Showing, None]:
    """All that the request shows, in order. Raises what loading raises, and InvalidValue.

    Files that several of them are taken from stay open until `opened` is closed.
    """
    for name, kind in task.inputs.items():
        value = getattr(request, name, None)
        if value is None:
            continue
        if kind == "image":
            source = media_source(value, param=name)
            yield Showing(_image(media, source, name))
            return
        found = _windows if kind == "video" else _pages
        async with contextlib.aclosing(found(task, request, value, name, media, settings, opened)) as parts:
            async for showing in parts:
                yield showing
        return


def _image(media: MediaLoader, source: str, param: str) -> Load:
    async def load() -> Shown:
        return [await media.load_image(source, param=param)]

    return load


async def _windows(
    task: Task[Any],
    request: TaskRequest,
    value: Any,
    param: str,
    media: MediaLoader,
    settings: Settings,
    opened: AsyncExitStack,
) -> AsyncGenerator[Showing, None]:
    """Windows that overlap; where the task wants the clip as a whole, fewer frames of it."""
    fps: float | None = getattr(request, "fps", None)
    window_s = window_seconds(settings, fps)
    film = await opened.enter_async_context(media.open_clip(clip_source(value, param=param), param=param, fps=fps))
    first, window_s = await _first_window(film, window_s)
    if task.together and first.duration_s > window_s:
        first = await film.load(0, None, fps=window_s / first.duration_s * (fps or settings.video_fps))
    yield Showing(lambda: _done([first]), span_s=(first.start_s, first.end_s))
    if not task.together:
        for span in windows(first.duration_s, window_s, settings.video_overlap_s)[1:]:
            yield Showing(partial(_window, film, *span), span_s=span)


async def _first_window(film: Film, window_s: float) -> tuple[Clip, float]:
    """The clip's beginning, and how long a window may be: shorter where the clip's shape needs larger frames."""
    for _ in range(_FITTING_TRIES):
        try:
            return await film.load(0, window_s), window_s
        except MediaTooLarge as exc:
            room = exc.details["limit"] / exc.details["value"]
            if room < _LEAST_ROOM:
                raise
            window_s *= room * _MARGIN
    return await film.load(0, window_s), window_s


async def _window(film: Film, start_s: float, end_s: float) -> Shown:
    return [await film.load(start_s, end_s)]


async def _pages(
    task: Task[Any],
    request: TaskRequest,
    value: Any,
    param: str,
    media: MediaLoader,
    settings: Settings,
    opened: AsyncExitStack,
) -> AsyncGenerator[Showing, None]:
    """The pages asked for: each by itself, or all in one question."""
    document = await opened.enter_async_context(media.open_document(media_source(value, param=param), param=param))
    one = getattr(request, "page", None)
    numbers = page_numbers(str(one) if one else getattr(request, "pages", None), document.pages)
    most, what = settings.document_max_pages, f"the number of pages asked for of {param}"
    if task.together and settings.max_images < most:
        most, what = settings.max_images, f"the number of pages that {task.name} shows at once"
    if len(numbers) > most:
        raise LimitExceeded("pages", value=len(numbers), limit=most, what=what)
    if task.together:
        yield Showing(partial(_all_pages, document, numbers))
        return
    for number in numbers:
        yield Showing(partial(_page, document, number), about=number)


async def _page(document: Document, number: int) -> Shown:
    return [await document.load_page(number)]


async def _all_pages(document: Document, numbers: list[int]) -> Shown:
    return [await document.load_page(number) for number in numbers]


async def _done(shown: Shown) -> Shown:
    return shown


def page_numbers(asked: str | None, pages: int) -> list[int]:
    """The pages that `1-3,8` names, in that order, once each. Raises InvalidValue for what is no page of the document.

    >>> page_numbers("1-3,8,2", 10), page_numbers(None, 3), page_numbers("8-", 10)
    ([1, 2, 3, 8], [1, 2, 3], [8, 9, 10])
    >>> page_numbers("4", 3)
    Traceback (most recent call last):
    server.errors.InvalidValue: pages names page 4; the document has 3
    """
    if asked is None:
        return list(range(1, pages + 1))
    numbers: dict[int, None] = {}
    for entry in asked.replace(" ", "").split(","):
        match = re.fullmatch(r"(\d{1,6})(-(\d{1,6})?)?", entry)
        if match is None:
            raise InvalidValue(f"pages has {entry!r}, which is no page and no range like 2-5", param="pages")
        first = int(match[1])
        last = int(match[3]) if match[3] else pages if match[2] else first
        for number in (first, last):
            if not 1 <= number <= pages:
                raise InvalidValue(f"pages names page {number}; the document has {pages}", param="pages")
        if last < first:
            raise InvalidValue(f"pages has {entry!r}, which runs backwards", param="pages")
        numbers |= dict.fromkeys(range(first, last + 1))
    return list(numbers)


def window_seconds(settings: Settings, fps: float | None) -> float:
    """How long a window may be for its frames to have at least the smallest size within the token budget.

    >>> window_seconds(Settings(video_window_s=60), None)
    60.0
    >>> window_seconds(Settings(video_window_s=600, video_max_tokens=8192, video_min_pixels=100352), 2)
    64.0
    """
    pairs = settings.video_max_tokens // (settings.video_min_pixels // 784)
    frames = min(2 * pairs, settings.video_max_frames)
    return min(settings.video_window_s, max(frames, 2) / (fps or settings.video_fps))


def windows(duration_s: float, window_s: float, overlap_s: float) -> list[tuple[float, float]]:
    """(start, end) of each window; neighbours share `overlap_s`, and the last is no stub.

    >>> windows(50, 60, 5), windows(100, 60, 5)
    ([(0, 50)], [(0, 60), (55, 100)])
    >>> windows(61, 60, 5)
    [(0, 60), (31.0, 61)]
    """
    if duration_s <= window_s:
        return [(0, duration_s)]
    step_s = window_s - min(overlap_s, window_s / 2)
    count = math.ceil((duration_s - window_s) / step_s) + 1
    spans = [(at * step_s, min(at * step_s + window_s, duration_s)) for at in range(count)]
    last_start, last_end = spans[-1]
    if last_end - last_start < window_s / 2:
        spans[-1] = (max(0.0, duration_s - window_s / 2), last_end)
    return spans


def visual_tokens(shown: Shown) -> int:
    """What pictures and clips cost in the prompt."""
    return sum(each.visual_tokens for each in shown)
