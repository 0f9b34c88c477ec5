"""The parent's side of the entrance: listens, accepts, and hands each connection to the worker that has least to do."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence

from server.workers.process import Process

log = logging.getLogger(__name__)

BACKLOG = 2048
AT_ONCE = 64
"""Connections accepted in one turn of the loop."""
PAUSE_S = 0.05
"""Between two tries when no worker can take one, or no descriptor is left; they wait in the kernel's queue."""
DOOR_S = 0.05
"""How long the last ones to connect are waited for, once no more can."""
CLOSE_S = 5.0
"""Longest wait for a worker to take the last one."""


def bind(host: str, port: int) -> list[socket.socket]:
    """A socket for each address that the name has, as asyncio does it. Raises OSError."""
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            one = socket.socket(family, kind, protocol)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # which the connections inherit
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.setblocking(False)
            one.bind(address)
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


class Reception:
    """Where everybody comes in."""

    def __init__(self, sockets: Sequence[socket.socket], takers: Callable[[], Sequence[Process]]) -> None:
        """`takers` are the workers that take connections, who is to have the next one first."""
        self._sockets = sockets
        self._takers = takers
        self._is_open = False
        self._held: socket.socket | None = None
        """A connection that no worker could take yet: all have as many before their door as a socket's buffer holds."""
        self._paused: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Accept connections; again does nothing."""
        if self._is_open:
            return
        self._is_open = True
        for one in self._sockets:
            one.listen(BACKLOG)
        self._resume()

    async def close(self) -> None:
        """Turn away who connects from now on; those that have connected are handed over first, for a close would reset
        them.
        """
        if self._is_open:
            for one in self._sockets:
                one.listen(0)
            await asyncio.sleep(DOOR_S)
            deadline_s = asyncio.get_running_loop().time() + CLOSE_S
            while self._held is not None and asyncio.get_running_loop().time() < deadline_s:  # noqa: ASYNC110
                await asyncio.sleep(DOOR_S)  # rare, and short
        if self._held is not None:
            self._held.close()
        if self._paused is not None:
            self._paused.cancel()
        for one in self._sockets:
            asyncio.get_running_loop().remove_reader(one.fileno())
            one.close()

    def _resume(self) -> None:
        self._paused = None
        if not self._hand():
            self._pause()
            return
        for one in self._sockets:
            asyncio.get_running_loop().add_reader(one.fileno(), self._accept, one)

    def _pause(self) -> None:
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            loop.remove_reader(one.fileno())
        if self._paused is None:
            self._paused = loop.call_later(PAUSE_S, self._resume)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                self._held, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as exc:
                log.error("a connection could not be accepted: %s", exc.strerror)
                self._pause()
                return
            if not self._hand():
                self._pause()
                return

    def _hand(self) -> bool:
        """Give away the connection that is held, if one is; False where no worker can take it now."""
        if self._held is None:
            return True
        if not any(process.hand(self._held) for process in self._takers()):
            return False
        self._held.close()
        self._held = None
        return True
