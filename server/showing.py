"""What a task's request shows the model, a question at a time: a picture, the pages of a document, windows of a clip.

A `Showing` is loaded only when its turn comes, so that a long document or film never lies in memory as a whole.
"""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from server.media import Clip, MediaLoader, View
from server.settings import Settings
from server.tasks.inputs import clip_source, media_source
from server.tasks.task import Shown, Task, TaskRequest

Load = Callable[[], Awaitable[Shown]]


@dataclass(frozen=True, slots=True)
class Showing:
    """One question's pictures, not loaded yet."""

    load: Load
    about: int | None = None
    """Page number of a document."""


async def showings(
    task: Task[Any], request: TaskRequest, media: MediaLoader, settings: Settings
) -> AsyncGenerator[Showing, None]:
    """All that the request shows, in order. Raises what loading raises, and InvalidValue."""
    for name, kind in task.inputs.items():
        value = getattr(request, name, None)
        if value is None:
            continue
        if kind == "image":
            source = media_source(value, param=name)
            yield Showing(_image(media, source, name))
        elif kind == "video":
            async for showing in _windows(task, value, name, getattr(request, "fps", None), media, settings):
                yield showing
        return


def _image(media: MediaLoader, source: str, param: str) -> Load:
    async def load() -> Shown:
        return [await media.load_image(source, param=param)]

    return load


async def _windows(
    task: Task[Any], value: Any, param: str, fps: float | None, media: MediaLoader, settings: Settings
) -> AsyncGenerator[Showing, None]:
    """The clip as a whole where it is short or the task wants it so, else in windows that overlap."""
    source = clip_source(value, param=param)
    if task.together:
        yield Showing(_clip(media, source, param, fps, 0, None))
        return
    window_s = window_seconds(settings, fps)
    first = await media.load_clip(source, param=param, fps=fps, end_s=window_s)

    async def loaded() -> Shown:
        return [first]

    yield Showing(loaded)
    for start_s, end_s in windows(first.duration_s, window_s, settings.video_overlap_s)[1:]:
        yield Showing(_clip(media, source, param, fps, start_s, end_s))


def _clip(
    media: MediaLoader, source: str | list[str], param: str, fps: float | None, start_s: float, end_s: float | None
) -> Load:
    async def load() -> Shown:
        return [await media.load_clip(source, param=param, fps=fps, start_s=start_s, end_s=end_s)]

    return load


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


def sizes(shown: Shown) -> str:
    """The sizes that the model sees, for `x-model-input-size`.

    >>> sizes([View((1, 1), (56, 28), "", ""), View((1, 1), (28, 28), "", "")])
    '56x28,28x28'
    """
    return ",".join(f"{each.shown_wh[0]}x{each.shown_wh[1]}" for each in shown)


__all__ = ["Clip", "Showing", "View", "showings", "sizes", "visual_tokens", "window_seconds", "windows"]
