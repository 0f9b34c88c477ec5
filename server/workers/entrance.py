"""How connections come to a worker: the parent accepts each and hands it over a socket, and nobody else listens.

Several processes that accept from one queue do not share it evenly: the one that is awake takes what is there. With a
queue each (SO_REUSEPORT) a hash decides, which is uneven where connections are few and kept, as a balancer's are, and
what waits in the queue of a worker that dies is lost. Handing costs the parent 0.1 ms a connection, not a request.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

from server.workers.line import Line

AT_ONCE = 64
"""Connections taken in one turn of the loop."""


class Entrance:
    """A worker's end."""

    def __init__(self, door: socket.socket, line: Line) -> None:
        door.setblocking(False)
        self.closed = False
        """Whether no more will come."""
        self._door = door
        self._line = line
        self._make: Callable[[], asyncio.Protocol] | None = None
        self._opening: set[asyncio.Task[None]] = set()

    def counting(self, protocol: type[Any]) -> type[Any]:
        """The protocol, but the parent is told of each connection that ends."""
        line = self._line

        def connection_lost(self: Any, exc: Exception | None) -> None:
            protocol.connection_lost(self, exc)
            line.tell("closed")

        return type("Counted", (protocol,), {"connection_lost": connection_lost})

    def open(self, make: Callable[[], asyncio.Protocol]) -> None:
        """Take connections from now on, each with a protocol that `make` makes."""
        self._make = make
        asyncio.get_running_loop().add_reader(self._door.fileno(), self._take)
        self._line.tell("ready")

    def leave(self) -> None:
        """Ask for no more; those that are on their way still come, and then `closed` is true."""
        self._line.tell("leaving")

    def _take(self) -> None:
        for _ in range(AT_ONCE):
            try:
                said, descriptors, _, _ = socket.recv_fds(self._door, 1, 1)
            except BlockingIOError:
                return
            except OSError:
                said, descriptors = b"", []
            if said and not descriptors:  # no more files may be open here: the kernel has closed it
                self._line.tell("closed")
            for descriptor in descriptors:
                opening = asyncio.create_task(self._connect(socket.socket(fileno=descriptor)))
                self._opening.add(opening)
                opening.add_done_callback(self._opening.discard)
            if not said:
                self.closed = True
                asyncio.get_running_loop().remove_reader(self._door.fileno())
                self._door.close()
                return

    async def _connect(self, connection: socket.socket) -> None:
        assert self._make is not None
        connection.setblocking(False)
        with contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            stack.callback(self._line.tell, "closed")
            with contextlib.suppress(OSError):  # it is gone already
                await asyncio.get_running_loop().connect_accepted_socket(self._make, connection)
                stack.pop_all()
