"""A task's answer as it comes: typed items, then the result."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Literal, Self

import httpx2

from qwenvl.calls import Call, I, R
from qwenvl.errors import ConnectionFailedError, StreamBrokenError, TimedOutError, stream_error
from qwenvl.requests import ServerEvents


@dataclass(frozen=True, slots=True)
class StreamEvent(Generic[R, I]):
    """Something that the server told.

    `item`: another object, page, event, line or piece of text, in `item`. `restart`: the answer went round and is
    asked for anew (only with `retry_on_repetition`); what came before, of the page in `data`, is void. `failed`: a
    page or window that could not be read, in `data`. `result`: the end, in `result`.
    """

    kind: Literal["item", "restart", "failed", "result"]
    data: dict[str, Any]
    item: I | None = None
    result: R | None = None


class _Reading(Generic[R, I]):
    """What both kinds of stream share: bytes in, events out."""

    def __init__(self, call: Call[R, I], response: httpx2.Response) -> None:
        self._call, self._response = call, response
        self._events = ServerEvents()
        self._result: R | None = None

    @property
    def request_id(self) -> str | None:
        """What the server's log knows the request by."""
        return self._response.headers.get("x-request-id")

    def _read(self, data: bytes) -> Iterator[StreamEvent[R, I]]:
        for kind, event in self._events.feed(data):
            if "error" in event and kind == "message":
                raise stream_error(event["error"], self._response.headers)
            if kind == "item":
                yield StreamEvent("item", dict(event), item=self._call.item(dict(event)))
            elif kind == "result":
                self._result = self._call.read(event, self.request_id)
                yield StreamEvent("result", dict(event), result=self._result)
            elif kind in ("restart", "failed"):
                yield StreamEvent("restart" if kind == "restart" else "failed", dict(event))

    def _ended(self) -> R:
        if self._result is None:
            raise StreamBrokenError("the stream ended before its result")
        return self._result


class Stream(_Reading[R, I]):
    """Iterate over it for the items; `result()` is the whole, read to its end if need be. Leaving ends the work.

    with client.detect.stream("street.jpg", ["car"]) as found:
        for each in found:
            print(each.label, each.bbox_2d)
    print(found.result().count)
    """

    def events(self) -> Iterator[StreamEvent[R, I]]:
        """Everything that the server tells, not items alone."""
        try:
            for data in self._response.iter_bytes():
                yield from self._read(data)
        except httpx2.TransportError as exc:
            raise broken(exc) from exc
        finally:
            self.close()

    def __iter__(self) -> Iterator[I]:
        for event in self.events():
            if event.item is not None:
                yield event.item
        self._ended()

    def result(self) -> R:
        """The result; items that were not iterated over are passed by."""
        if self._result is None and not self._response.is_closed:
            for _ in self.events():
                pass
        return self._ended()

    def close(self) -> None:
        """Leave: the server stops its work."""
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncStream(_Reading[R, I]):
    """As `Stream`, with `async with` and `async for`, and `await stream.result()`."""

    async def events(self) -> AsyncIterator[StreamEvent[R, I]]:
        """Everything that the server tells, not items alone."""
        try:
            async for data in self._response.aiter_bytes():
                for event in self._read(data):
                    yield event
        except httpx2.TransportError as exc:
            raise broken(exc) from exc
        finally:
            await self.close()

    async def __aiter__(self) -> AsyncIterator[I]:
        async for event in self.events():
            if event.item is not None:
                yield event.item
        self._ended()

    async def result(self) -> R:
        """The result; items that were not iterated over are passed by."""
        if self._result is None and not self._response.is_closed:
            async for _ in self.events():
                pass
        return self._ended()

    async def close(self) -> None:
        """Leave: the server stops its work."""
        await self._response.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def broken(exc: httpx2.TransportError) -> ConnectionFailedError | StreamBrokenError:
    """httpx2's failure as ours."""
    if isinstance(exc, httpx2.TimeoutException):
        return TimedOutError("the server said nothing for too long")
    return StreamBrokenError(f"the stream broke off: {exc}")
