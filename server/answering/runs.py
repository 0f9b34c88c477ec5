"""Runs one task request: shows, asks, reads, and gives events as they come; the last one is the result.

Parts (pages, windows) are worked on a few at a time, in order. A part that fails costs that part alone where the task
allows it; the result is refused only when every part failed.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from server.answering.asker import Piece
from server.answering.showing import Showing, showings, visual_tokens
from server.answering.telling import Told
from server.engines.work import Work
from server.errors import EngineFailed, EngineTimeout, GatewayError
from server.media import MediaLoader
from server.seeing import metrics, stages
from server.settings import Settings
from server.tasks.task import REPETITION, Ask, Part, Reader, Shown, Task, TaskRequest, warnings_out

RETRY_TEMPERATURE = 0.7
"""Of the second try after an answer went round: another path through the same words."""
MOST_AGAIN = 2
"""How often an answer at which an engine broke off is asked for again."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell the caller."""

    kind: Literal["item", "restart", "failed", "result"]
    data: dict[str, Any]


class Asks(Protocol):
    """Who puts a run's questions to a model."""

    def model(self, name: str | None) -> str:
        """The served model for a request's `model`. Raises what `TaskRun` does."""

    def pieces(
        self, ask: Ask, request: TaskRequest, model: str, *, work: Work, temperature: float | None = None
    ) -> AsyncGenerator[Piece, None]:
        """The answer, piece by piece. Closing the iterator aborts the generation."""


class Costs(Protocol):
    """Where a run's tokens are counted, as they are known: also of a run that is left before its end."""

    model: str
    visual_tokens: int

    def count(self, prompt_tokens: int, completion_tokens: int) -> None:
        """An answer is over, and cost so much."""


@dataclass(slots=True)
class Spent:
    """Costs that nobody asks about."""

    model: str = ""
    visual_tokens: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def count(self, prompt_tokens: int, completion_tokens: int) -> None:
        """See `Costs.count`."""
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens


class TaskRun:
    """One request at work."""

    def __init__(
        self,
        task: Task[Any],
        request: TaskRequest,
        *,
        asker: Asks,
        media: MediaLoader,
        settings: Settings,
        costs: Costs | None = None,
    ) -> None:
        self._task, self._request = task, request
        self._asker, self._media, self._settings = asker, media, settings
        self._costs: Costs = costs or Spent()
        self._costs.model = self._model = asker.model(request.model)
        self._usage: dict[str, int] = {}
        self._read_any = False
        self._held: list[Event] = []  # failures of parts before any was read: if all fail, the request does
        self._events: asyncio.Queue[Event | None] = asyncio.Queue(maxsize=64)

    async def events(self) -> AsyncGenerator[Event, None]:
        """Items as they are read, then the result. Closing the iterator stops all that is under way."""
        work = asyncio.create_task(self._work(), name=f"task {self._task.name}")
        try:
            while (event := await self._events.get()) is not None:
                yield event
            await work
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, GatewayError):
                await work

    async def result(self) -> dict[str, Any]:
        """The result alone."""
        async with contextlib.aclosing(self.events()) as events:
            async for event in events:
                if event.kind == "result":
                    return event.data
        raise AssertionError("a run ends in a result or an error")

    async def _work(self) -> None:
        try:
            parts = await self._parts()
            result = await asyncio.to_thread(self._result, parts)
            for warning in result["warnings"]:
                metrics.WARNINGS.add((self._task.path, warning["code"]))
            await self._events.put(Event("result", result))
        except asyncio.CancelledError:
            raise  # nobody listens any more
        except BaseException:
            await self._events.put(None)
            raise
        await self._events.put(None)

    # -- parts --------------------------------------------------------------------------------------------------------
    async def _parts(self) -> list[Part]:
        """Every part, in order. Raises the first failure if the task allows none, or if nothing could be read."""
        running: list[asyncio.Task[list[Part]]] = []
        places = asyncio.Semaphore(self._settings.task_parallel)
        try:
            async with contextlib.AsyncExitStack() as opened, asyncio.TaskGroup() as group:
                shown = showings(self._task, self._request, self._media, self._settings, opened)
                async with contextlib.aclosing(shown):
                    async for showing in shown:
                        await places.acquire()
                        running.append(group.create_task(self._part(showing, places)))
        except ExceptionGroup as exc:
            raise _first_failure(exc) from exc
        parts = [part for each in running for part in each.result()]
        failures = [part.failure for part in parts if part.failure is not None]
        if failures and len(failures) == len(parts):
            raise failures[0]
        return parts

    async def _part(self, showing: Showing, places: asyncio.Semaphore) -> list[Part]:
        try:
            shown = await self._loaded(showing)
            main = await self._asked(self._task, self._request, shown, showing.about)
            await self._tell_failed()
            support = self._task.support(self._request)
            if support is None:
                return [main]
            return [main, *[await self._asked(*support, [each], _page_of(each)) for each in shown]]
        except GatewayError as failure:
            if not self._task.allows_failed_parts:
                raise
            await self._tell_failed(Event("failed", {"page": showing.about, **failure.body()}))
            return [Part([], failure=failure, about=showing.about, span_s=showing.span_s)]
        finally:
            places.release()

    async def _loaded(self, showing: Showing) -> Shown:
        began_s = time.perf_counter()
        shown = await showing.load()
        metrics.MEDIA_S.observe(self._task.path, time.perf_counter() - began_s)
        metrics.VISUAL_TOKENS.add((self._task.path,), visual_tokens(shown))
        self._costs.visual_tokens += visual_tokens(shown)
        return shown

    async def _asked(self, task: Task[Any], request: TaskRequest, shown: Shown, about: int | None) -> Part:
        reader = await self._read(task, request, shown, about)
        if reader.looped and self._request.retry_on_repetition:
            await self._events.put(Event("restart", {"page": about}))
            again = await self._read(task, request, shown, about, temperature=RETRY_TEMPERATURE)
            reader = reader if again.looped else again
        kept = shown if task is self._task and _is_drawn(request) else _without_pixels(shown)
        return Part(kept, reader, about=about)

    async def _read(
        self, task: Task[Any], request: TaskRequest, shown: Shown, about: int | None, temperature: float | None = None
    ) -> Reader:
        """One answer, asked for again where an engine broke off at it and no other could go on."""
        told = Told()
        for place in range(1 + MOST_AGAIN):
            try:
                return await self._read_once(task, request, shown, about, temperature, told)
            except (EngineFailed, EngineTimeout):
                if place == MOST_AGAIN:
                    raise
                told.again()
        raise AssertionError("the last try returns or raises")

    async def _read_once(
        self,
        task: Task[Any],
        request: TaskRequest,
        shown: Shown,
        about: int | None,
        temperature: float | None,
        told: Told,
    ) -> Reader:
        """One answer, read to its end or to where it goes round. What `told` has is not told again."""
        asked_s = time.perf_counter()
        reading_s, count, usage = 0.0, 0, None
        reader = task.reader(request, _without_pixels(shown))
        finish_reason = "stop"
        pieces = self._asker.pieces(
            task.ask(request, shown), request, self._model, work=Work.of(shown), temperature=temperature
        )
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                finish_reason = piece.finish_reason or finish_reason
                usage, count = piece.usage or usage, count + 1
                began_s = time.perf_counter()
                items = reader.feed(piece.text, piece.tokens)
                reading_s += time.perf_counter() - began_s
                await self._tell(task, told.news(items), about)
                if reader.looped:
                    metrics.LOOPS.add((task.path,))
                    break
        if usage is None:  # cut off
            self._costs.count(0, count)
        else:
            self._count(usage)
        over_s = time.perf_counter()
        stages.add("engine", asked_s, over_s)
        stages.add("read", over_s - reading_s, over_s)
        await self._tell(task, told.news(reader.close(finish_reason)), about)
        await self._tell(task, told.end(), about)
        return reader

    async def _tell_failed(self, failed: Event | None = None) -> None:
        """Tells of a part that failed, once another part was read; without one, that a part was read."""
        self._read_any = self._read_any or failed is None
        self._held += [failed] if failed else []
        if self._read_any:
            held, self._held = self._held, []
            for event in held:
                await self._events.put(event)

    async def _tell(self, task: Task[Any], news: tuple[bool, list[dict[str, Any]]], about: int | None) -> None:
        is_anew, items = news
        if task is self._task and self._request.stream:
            if is_anew:
                await self._events.put(Event("restart", {"page": about}))
            for item in items:
                await self._events.put(Event("item", item if about is None else {"page": about, **item}))

    # -- the result ---------------------------------------------------------------------------------------------------
    def _count(self, usage: dict[str, Any]) -> None:
        self._costs.count(int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
        for name, value in usage.items():
            if isinstance(value, int):
                self._usage[name] = self._usage.get(name, 0) + value

    def _result(self, parts: list[Part]) -> dict[str, Any]:
        task, request = self._task, self._request
        read = [part.reader for part in parts if part.reader is not None]
        reasons = {reader.finish_reason for reader in read}
        finish_reason = next((reason for reason in (REPETITION, "length") if reason in reasons), "stop")
        return {
            "id": f"{task.object}-{uuid.uuid4().hex}",
            "object": task.object,
            "created": int(time.time()),
            "model": self._model,
            **task.result(request, parts),
            "warnings": warnings_out(parts),
            "finish_reason": finish_reason,
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, **self._usage},
        }


def _without_pixels(shown: Shown) -> Shown:
    """The sizes and times alone: a reader lives as long as the request, and a document's pages would fill memory."""
    return [replace(each, url="") for each in shown]


def _page_of(shown: Any) -> int | None:
    return getattr(shown, "page", None)


def _is_drawn(request: TaskRequest) -> bool:
    """Whether the result needs the picture itself."""
    return getattr(request, "render", None) is not None


def _first_failure(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first, out of however many groups it is wrapped in."""
    failure: BaseException = group
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
