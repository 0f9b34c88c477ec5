"""Leaving without losing anything: how a server that is told to stop stops.

1. Readiness is off at once, and every answer closes its connection, so that load balancers send their next request
   elsewhere. For `leave_delay_s` requests are taken all the same: a balancer asks only now and then.
2. The door is closed: whoever connects is refused, and nobody who was let in is turned away.
3. What runs may finish, for `leave_limit_s`, and connections that are kept open and idle may be used once more each:
   they are closed when none was for a second. What runs even then is told so: an error event, or 503.

What it cannot do: an idle connection may carry a request in the moment that it is closed. nginx, which knows no
readiness, sends requests on those that it has for as long as there are any; so the last second matters.
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import uvicorn

from server.edge.departure import Departure
from server.edge.http import LimitedProtocol

LOOK_S = 0.02
DOOR_S = 0.05
"""How long the last ones to connect are waited for, once no more can."""
ENTRANCE_S = 30.0
"""Longest wait for another process to send no more connections."""
UNUSED_S = 1.0
"""So long no request came on an idle connection: then none is expected."""
LAST_WORDS_S = 1.0
"""How long what is cut off has to say so."""


class Listener(Protocol):
    """What takes connections."""

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """That it listens on."""

    def close(self) -> None:
        """Take no more."""


class Entrance(Protocol):
    """Where connections come from that another process accepts."""

    closed: bool
    """Whether no more will come."""

    def open(self, make: Callable[[], asyncio.Protocol]) -> None:
        """Take connections from now on, each with a protocol that `make` makes."""

    def leave(self) -> None:
        """Ask for no more."""


class LeavingServer(uvicorn.Server):
    """uvicorn's server, but it leaves as described above."""

    def __init__(
        self,
        config: uvicorn.Config,
        departure: Departure,
        *,
        delay_s: float,
        limit_s: float,
        entrance: Entrance | None = None,
    ) -> None:
        """With an `entrance` it does not listen itself."""
        super().__init__(config)
        self.departure = departure
        self._entrance = entrance
        self._delay_s = delay_s
        self._limit_s = limit_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, or take the connections that come."""
        if self._entrance is None:
            await super().startup(sockets)
            return
        await super().startup([])
        self._entrance.open(self._new_connection)

    def _new_connection(self) -> asyncio.Protocol:
        make = cast("type[LimitedProtocol]", self.config.http_protocol_class)
        return make(self.config, self.server_state, self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Leave, then end what is left. Told to be quick, it waits for nobody, but closes what it opened all the same:
        uvicorn would not.
        """
        self.departure.began = True
        if not self.force_exit:
            await self._leave()
        await super().shutdown(sockets)
        if self.force_exit:
            for task in self.server_state.tasks:
                task.cancel()
            await self.lifespan.shutdown()

    async def _leave(self) -> None:
        self._close_connections_after_use()
        if self._entrance is not None:
            self._entrance.leave()
        has_balancer = self._captured_signals[:1] != [signal.SIGINT]  # a person at a terminal has none
        if has_balancer:
            await self._until(lambda: False, self._delay_s)
        await self._close_the_door()
        tasks = self.server_state.tasks
        await self._until(lambda: not tasks, self._limit_s)
        if has_balancer:
            await self._until(self._deserted(min(UNUSED_S, self._delay_s)), self._limit_s)
        self.departure.over = True
        for task in tasks:
            task.cancel()
        await self._until(lambda: not tasks, LAST_WORDS_S)

    def _deserted(self, unused_s: float) -> Callable[[], bool]:
        """Whether nothing runs, and nobody has used a kept connection for so long. A used one closes, and is fewer."""
        state, clock = self.server_state, asyncio.get_running_loop().time
        kept, changed_s = len(state.connections), clock()

        def deserted() -> bool:
            nonlocal kept, changed_s
            if state.tasks or len(state.connections) != kept:
                kept, changed_s = len(state.connections), clock()
            return not state.tasks and (not kept or clock() - changed_s >= unused_s)

        return deserted

    def _close_connections_after_use(self) -> None:
        cast("type[LimitedProtocol]", self.config.http_protocol_class).leaving = True
        for connection in self.server_state.connections:
            cast(LimitedProtocol, connection).leave()

    async def _close_the_door(self) -> None:
        """Stop to listen when the queue of those who have connected is empty: closing resets the connections in it."""
        if (entrance := self._entrance) is not None:
            await self._until(lambda: entrance.closed, ENTRANCE_S)
            return
        listeners = cast("Sequence[Listener]", self.servers)
        for listener in listeners:
            for each in listener.sockets:
                with socket.fromfd(each.fileno(), each.family, each.type) as door:
                    door.listen(0)
        await asyncio.sleep(DOOR_S)
        for listener in listeners:
            listener.close()

    async def _until(self, done: Callable[[], bool], limit_s: float) -> None:
        """Wait, but no longer than `limit_s`, nor when told to be quick."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + limit_s
        while not (done() or self.force_exit) and loop.time() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)  # rare, and short
