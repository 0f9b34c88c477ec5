"""What a worker and its parent say to each other: JSON, a message a line, over a pair of sockets.

Either side may ask (`call`) or only tell (`tell`). What is asked is answered by a function of the other side's table,
at once or when its task is done; a GatewayError is raised again where it was asked for.

    [number, name, values]          a question; number 0: nobody waits for an answer
    [number, null, answer]          an answer
    [number, null, null, failure]   a GatewayError instead of one
"""

import asyncio
import inspect
import itertools
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

from server import errors
from server.errors import GatewayError, InternalError

log = logging.getLogger(__name__)

Handlers = Mapping[str, Callable[..., Any]]


class LineEnded(Exception):
    """The other side is gone."""


class Line(asyncio.Protocol):
    """One end."""

    def __init__(self, handlers: Handlers, on_end: Callable[[], None] = lambda: None) -> None:
        """`on_end` is called when the other side is gone."""
        self.ended = False
        self.heard_s = asyncio.get_running_loop().time()
        """When the other side last said something."""
        self._handlers = handlers
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._working: set[asyncio.Future[Any]] = set()

    async def open(self, end: socket.socket) -> None:
        """Speak over this socket, which is the line's from now on."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=end)

    def close(self) -> None:
        """Say no more; what is said already still arrives."""
        if self._transport is not None:
            self._transport.close()

    async def call(self, name: str, *values: Any) -> Any:
        """Ask. Raises the GatewayError that the other side raises, LineEnded if it is gone."""
        if self.ended:
            raise LineEnded
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._send([number, name, values])
        try:
            return await answer
        finally:
            del self._asked[number]

    def tell(self, name: str, *values: Any) -> None:
        """Say something that needs no answer; it is lost if the other side is gone."""
        if not self.ended:
            self._send([0, name, values])

    # -- asyncio's side -----------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self.heard_s = asyncio.get_running_loop().time()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            number, name, *values = orjson.loads(line)
            if name is None:
                self._take_answer(number, *values)
            else:
                self._work(number, name, values[0])

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self.ended = True
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(LineEnded())
        for work in tuple(self._working):
            work.cancel()
        self._on_end()

    # -- what is said -------------------------------------------------------------------------------------------------
    def _send(self, message: list[Any]) -> None:
        assert self._transport is not None
        self._transport.write(orjson.dumps(message) + b"\n")

    def _take_answer(self, number: int, answer: Any, failure: dict[str, Any] | None = None) -> None:
        asked = self._asked.get(number)
        if asked is None or asked.done():  # who asked has left
            return
        if failure is None:
            asked.set_result(answer)
        else:
            asked.set_exception(read_failure(failure))

    def _work(self, number: int, name: str, values: list[Any]) -> None:
        try:
            answer = self._handlers[name](*values)
            if not inspect.isawaitable(answer):
                self._answer(number, answer)
                return
        except Exception as exc:
            self._fail(number, name, exc)
            return
        work = asyncio.ensure_future(answer)
        self._working.add(work)
        work.add_done_callback(lambda work: self._worked(number, name, work))

    def _worked(self, number: int, name: str, work: "asyncio.Future[Any]") -> None:
        self._working.discard(work)
        if work.cancelled():
            return
        try:
            self._answer(number, work.result())
        except Exception as exc:
            self._fail(number, name, exc)

    def _answer(self, number: int, answer: Any) -> None:
        if number and not self.ended:
            self._send([number, None, answer])

    def _fail(self, number: int, name: str, failure: Exception) -> None:
        if not isinstance(failure, GatewayError):
            log.error("%r of another process could not be answered", name, exc_info=failure)
            failure = InternalError("the server made a mistake; its log says which")
        if number and not self.ended:
            self._send([number, None, None, written_failure(failure)])


def written_failure(failure: GatewayError) -> dict[str, Any]:
    """A failure as it is sent."""
    told = {name: getattr(failure, name) for name in ("message", "param", "code", "headers", "details")}
    return {"class": type(failure).__name__, **told}


def read_failure(written: dict[str, Any]) -> GatewayError:
    """The failure again.

    >>> read_failure(written_failure(errors.Overloaded("full", headers={"retry-after": "1"})))
    Overloaded('full')
    """
    kind = getattr(errors, written["class"])
    message, param, code = written["message"], written["param"], written["code"]
    failure: GatewayError = kind(
        message, param=param, code=code, headers=written["headers"], details=written["details"]
    )
    return failure
