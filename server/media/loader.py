"""What the rest of the server calls: a picture or clip, fetched, decoded elsewhere, ready to send to the engine."""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

from server.errors import InvalidValue, MediaTooLarge
from server.media.fetch import Fetcher
from server.media.handover import Handover, discard
from server.media.jobs import Part, scratch_file, write_all
from server.media.opened import Document, Film
from server.media.source import Inline, Remote, Source, frame_sources, parse_source
from server.media.view import Clip, Size, View
from server.media.workers import Answer, Workers
from server.seeing.stages import stage
from server.settings import Settings

FRAME_LIST = "video/jpeg"
"""Media type of a data: URI that holds pictures and not a video file."""
FETCHES_AT_ONCE = 8
HIGHEST_FPS = 60
MOST_DECODE_THREADS = 4


class MediaLoader:
    """Loads what a request names; one for the server.

    Every error names the field `param`. Cancelling a load abandons it: a fetch is dropped, and a decode process that
    does not finish soon is killed.
    """

    def __init__(self, settings: Settings, shared: Path | None = None) -> None:
        """`shared` is a folder that every engine takes pictures from, if there is one."""
        self._handover = None if shared is None else Handover(shared)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._settings = settings
        self._threads = min(cores, MOST_DECODE_THREADS)
        self._fetcher = Fetcher(settings)
        self._workers = Workers(
            settings.media_workers or cores,
            memory_bytes=settings.media_memory_bytes,
            timeout_s=settings.media_timeout_s,
        )

    async def start(self) -> None:
        """Starts the decode processes; without it the first loads do."""
        self._workers.start()

    async def close(self) -> None:
        """Ends them; nothing is left running."""
        await self._workers.close()

    async def load_image(
        self, source: Source, *, param: str, max_pixels: int | None = None, by_file: bool = False
    ) -> View:
        """A picture from a data: URI, an http(s) URL or bare base64.

        `max_pixels` lowers what the model is shown (`detail`); it cannot raise it above `image_max_pixels`. `by_file`:
        the engine may be handed a file, where it takes files; the caller then calls `View.release` at the end.
        """
        options = self._image_options(param, max_pixels)
        parsed = parse_source(source, param=param)
        if not by_file or self._handover is None:
            return _view(await self._load("image", [parsed], options))
        with self._handover.new_file() as path:
            view = _view(await self._load("image", [parsed], {**options, "file": path and str(path)}), path)
            if path is not None and view.file is None:
                discard(path)
            return view

    async def load_image_bytes(self, data: bytes, *, param: str, max_pixels: int | None = None) -> View:
        """A picture from its file's bytes: an upload."""
        options = self._image_options(param, max_pixels)
        return _view(await self._load("image", [Inline(data, "raw")], options))

    async def load_clip(
        self,
        source: Source | Sequence[Source],
        *,
        param: str,
        fps: float | None = None,
        start_s: float = 0,
        end_s: float | None = None,
        max_tokens: int | None = None,
    ) -> Clip:
        """A clip from a video file (data: URI or http(s) URL), or from a list of pictures in order.

        `fps` is how many frames a second of the caller's time are sampled, or were sampled by the caller for a list;
        None: `video_fps`. The engine is told `video_fps` whatever it is, so another rate scales the times that the
        model speaks of. `start_s` and `end_s` choose a part. All pictures of a list are brought to the first one's
        size.
        """
        options = self._clip_options(param, fps, start_s, end_s, max_tokens)
        sources = self._clip_sources(source, options)
        return _clip(await self._load("video", sources, options), self._settings.video_fps)

    @asynccontextmanager
    async def open_document(self, source: Source, *, param: str) -> AsyncIterator[Document]:
        """A PDF, a TIFF of several pages, or a picture, open until the end of the `async with`."""
        options = self._document_options(param)
        async with self._held([parse_source(source, param=param)], options) as run:
            facts, _ = await run("document", {**options, "page": None})
            yield Document(facts["pages"], lambda number: run("document", {**options, "page": number}))

    @asynccontextmanager
    async def open_clip(
        self, source: Source | Sequence[Source], *, param: str, fps: float | None = None
    ) -> AsyncIterator[Film]:
        """A clip to be seen in windows, open until the end of the `async with`; see `load_clip`."""
        options = self._clip_options(param, fps, 0, None, None)
        sources = self._clip_sources(source, options)
        if options["is_frame_list"]:

            async def of_list(start_s: float, end_s: float | None, _: float | None) -> Clip:
                return await self.load_clip(source, param=param, fps=fps, start_s=start_s, end_s=end_s)

            yield Film(of_list)
            return
        async with self._held(sources, options) as run:

            async def of_file(start_s: float, end_s: float | None, rate: float | None) -> Clip:
                job = {**options, "start_s": start_s, "end_s": end_s, "sample_fps": rate or options["sample_fps"]}
                return _clip(await run("video", job), self._settings.video_fps)

            yield Film(of_file)

    @asynccontextmanager
    async def _held(
        self, sources: Sequence[Remote | Inline], options: dict[str, Any]
    ) -> AsyncIterator[Callable[[str, dict[str, Any]], Awaitable[Answer]]]:
        """One file kept for several jobs."""
        with scratch_file(on_disk=isinstance(sources[0], Remote)) as file:
            parts = [await self._collect(sources[0], file, options["most_bytes"], options)]
            yield lambda kind, job: self._decoded(kind, job, file, parts)

    def _document_options(self, param: str) -> dict[str, Any]:
        settings = self._settings
        return {
            "param": param,
            "noun": "document",
            "min_pixels": settings.image_min_pixels,
            "max_pixels": settings.image_max_pixels,
            "most_pixels": settings.media_max_pixels,
            "most_bytes": settings.document_max_bytes,
            "dpi": settings.document_dpi,
        }

    def _image_options(self, param: str, max_pixels: int | None) -> dict[str, Any]:
        settings = self._settings
        return {
            "param": param,
            "noun": "image",
            "min_pixels": settings.image_min_pixels,
            "max_pixels": settings.image_max_pixels,
            "budget": max_pixels,
            "most_pixels": settings.media_max_pixels,
            "most_bytes": settings.media_max_bytes,
        }

    def _clip_options(
        self, param: str, fps: float | None, start_s: float, end_s: float | None, max_tokens: int | None
    ) -> dict[str, Any]:
        settings = self._settings
        rate = settings.video_fps if fps is None else fps
        if not 0 < rate <= HIGHEST_FPS:
            raise InvalidValue(f"fps of {param} is {rate}; it is above 0 and at most {HIGHEST_FPS}", param=param)
        if not start_s >= 0 or (end_s is not None and not end_s > start_s):
            raise InvalidValue(f"{param} is asked for from {start_s} s to {end_s} s", param=param)
        return {
            "param": param,
            "noun": "video",
            "min_pixels": settings.video_min_pixels,
            "max_pixels": settings.video_max_pixels,
            "max_tokens": min(max_tokens or settings.video_max_tokens, settings.video_max_tokens),
            "most_pixels": settings.media_max_pixels,
            "most_bytes": settings.video_max_bytes,
            "most_frames": settings.video_max_frames,
            "most_s": settings.video_max_duration_s,
            "sample_fps": rate,
            "start_s": start_s,
            "end_s": end_s,
            "threads": self._threads,
            "reference_only": settings.video_frames == "reference",
            "is_frame_list": False,
        }

    def _clip_sources(self, source: Source | Sequence[Source], options: dict[str, Any]) -> Sequence[Remote | Inline]:
        """The one video file, or the pictures; says in the options which."""
        param = options["param"]
        if isinstance(source, str | memoryview):
            parsed = parse_source(source, param=param)
            if isinstance(parsed, Remote) or parsed.media_type != FRAME_LIST:
                return [parsed]
            frames: Sequence[Remote | Inline] = frame_sources(parsed, param=param)
        else:
            frames = [parse_source(one, param=f"{param}[{index}]") for index, one in enumerate(source)]
        options["is_frame_list"] = True
        return _part_of(frames, options)

    async def _load(self, kind: str, sources: Sequence[Remote | Inline], options: dict[str, Any]) -> Answer:
        is_long = options["noun"] == "video" and any(isinstance(source, Remote) for source in sources)
        with scratch_file(on_disk=is_long) as file:
            if len(sources) == 1:
                parts = [await self._collect(sources[0], file, options["most_bytes"], options)]
            else:
                parts = await self._collect_all(sources, file, options)
            return await self._decoded(kind, options, file, parts)

    async def _decoded(self, kind: str, job: dict[str, Any], file: BinaryIO, parts: list[Part]) -> Answer:
        with stage("decode"):
            return await self._workers.run(kind, job, file, parts)

    async def _collect(self, source: Remote | Inline, file: BinaryIO, room_bytes: int, options: dict[str, Any]) -> Part:
        """Writes one source into the file; at most `room_bytes` are fetched."""
        param, noun = options["param"], options["noun"]
        if isinstance(source, Remote):
            with stage("fetch"):
                return Part("raw", await self._fetcher.fetch(source.url, file, room_bytes, param=param, noun=noun))
        length = len(source.text)
        # Base64 may hold line breaks; the exact check is the decoder's.
        if length * 2 // 3 > room_bytes:
            limit = options["most_bytes"]
            raise MediaTooLarge(param, value=length * 3 // 4, limit=limit, unit="bytes", code=f"{noun}_too_large")
        write_all(file, source.text)
        return Part(source.encoding, length)

    async def _collect_all(
        self, sources: Sequence[Remote | Inline], file: BinaryIO, options: dict[str, Any]
    ) -> list[Part]:
        """Writes them one after the other, fetching several at once; together they may be as long as one clip."""
        places = asyncio.Semaphore(FETCHES_AT_ONCE)
        room_bytes = options["most_bytes"]

        async def collect(index: int, source: Remote | Inline) -> tuple[Part, io.BytesIO]:
            nonlocal room_bytes
            async with places:
                buffer = io.BytesIO()
                part = await self._collect(
                    source, buffer, room_bytes, {**options, "param": f"{options['param']}[{index}]"}
                )
                room_bytes -= part.bytes
                return part, buffer

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(collect(index, source)) for index, source in enumerate(sources)]
        except ExceptionGroup as exc:
            raise exc.exceptions[0] from exc
        parts = []
        for task in tasks:
            part, buffer = task.result()
            parts.append(part)
            write_all(file, buffer.getbuffer())
        return parts


def _part_of(frames: Sequence[Remote | Inline], options: dict[str, Any]) -> Sequence[Remote | Inline]:
    """The pictures of a list from `start_s` until `end_s`. Raises for none, or for more than `video_max_frames`."""
    param, rate = options["param"], options["sample_fps"]
    end_s = options["end_s"]
    chosen = [
        frame
        for index, frame in enumerate(frames)
        if index / rate >= options["start_s"] and (end_s is None or index / rate < end_s)
    ]
    if not chosen:
        raise InvalidValue(f"{param} has no frames", param=param)
    if len(chosen) > options["most_frames"]:
        raise MediaTooLarge(
            param, value=len(chosen), limit=options["most_frames"], unit="frames", code="video_too_large"
        )
    return chosen


def _view(answer: Answer, path: Path | None = None) -> View:
    facts, url = answer
    file = path if path is not None and facts.get("is_file") else None
    url = url if file is None else file.as_uri()
    return View(_size(facts["original_wh"]), _size(facts["shown_wh"]), url, facts["digest"], file=file)


def _clip(answer: Answer, engine_fps: float) -> Clip:
    facts, url = answer
    return Clip(
        original_wh=_size(facts["original_wh"]),
        shown_wh=_size(facts["shown_wh"]),
        url=url,
        digest=facts["digest"],
        frame_times_s=tuple(facts["frame_times_s"]),
        fps=engine_fps,
        start_s=facts["start_s"],
        end_s=facts["end_s"],
        duration_s=facts["duration_s"],
    )


def _size(pair: Sequence[int]) -> Size:
    return pair[0], pair[1]
