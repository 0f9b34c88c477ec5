"""One worker as the parent sees it: a process of its own, the line to it, and the door that connections go through."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from server.workers.desk import Desk, Office
from server.workers.line import Handlers, Line
from server.workers.parts import Part

LAST_WORDS_S = 5.0
"""Longest wait for what a process has said that has ended."""


class Process:
    """From its start to its end."""

    def __init__(self, place: int, office: Office, handlers: Callable[["Process"], Handlers]) -> None:
        """`handlers` answers what the worker asks, beside what its desk does."""
        self.place = place
        """Of those that there are at once, from 0: a worker that is gone leaves it to the next one."""
        self.ready = False
        """Whether it takes connections."""
        self.connections = 0
        self.handed_s = 0.0
        """When it was last given one: where all have as much to do, it is whose turn was longest ago."""
        self.part: Part | None = None
        """What it last told of itself."""
        self.desk = Desk(office)
        self.line = Line({**self.desk.handlers(), **handlers(self)}, on_end=self._on_end)
        self.desk.line = self.line
        self._silent = asyncio.Event()
        self._door: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def burden(self) -> int:
        """What it has to do: an open connection counts, and a request under way as much again."""
        return self.connections + self.desk.visits

    async def start(self, orders: dict[str, Any], environment: Mapping[str, str] | None) -> None:
        """Begin; `orders` say what it is to do, its settings among them, `environment` the rest; None: as ours."""
        line, its_line = socket.socketpair()
        self._door, its_door = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door.setblocking(False)
        with its_line, its_door:
            descriptors = (its_line.fileno(), its_door.fileno())
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "server", "worker", *map(str, descriptors), str(os.getpid())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=descriptors,
                env=environment,
                start_new_session=True,  # Ctrl-C in a terminal reaches us; workers are told by us
            )
        await self.line.open(line)
        self.line.tell("begin", orders)

    async def wait(self) -> int:
        """Wait for its end; the exit status, negative where a signal ended it."""
        assert self._process is not None
        status = await self._process.wait()
        with contextlib.suppress(TimeoutError):  # for its last words
            await asyncio.wait_for(self._silent.wait(), LAST_WORDS_S)
        self.line.close()
        self.close_door()
        return status

    def hand(self, connection: socket.socket) -> bool:
        """Give it a connection; whether it could be given."""
        if self._door is None:
            return False
        try:
            socket.send_fds(self._door, [b"c"], [connection.fileno()])
        except OSError:  # it is gone, or too many wait for it already
            return False
        self.connections += 1
        self.handed_s = time.monotonic()
        return True

    def close_door(self) -> None:
        """Give it no more connections."""
        self.ready = False
        if self._door is not None:
            self._door.close()
            self._door = None

    def _on_end(self) -> None:
        self.desk.close()
        self._silent.set()
        if self._process is not None and self._process.returncode is None:
            asyncio.get_running_loop().call_later(LAST_WORDS_S, self.tell_to_leave, signal.SIGKILL)

    def tell_to_leave(self, number: signal.Signals) -> None:
        """Send a signal."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
