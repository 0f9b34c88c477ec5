"""A request that waits for nothing but an engine's whole answer, served without a task: asked in one call, and answered
in the call that brings the answer's last byte.

That is most requests that have no picture and are not streamed. With a task, the coroutines in it and the loop's turns
between them each costs an eighth more (`benchmarks.overhead.run`: 74 us, 65 without). What has to wait for anything
else is `Chat.serve`'s: for a body that is not here yet, pictures, a place, limits that are counted, a connection; and
whatever has its stages noted, which a task's context holds. What one engine fails is asked of another in a task.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from server.callers.admission import Visit
from server.edge.http import Link
from server.engines.answer import Answer
from server.engines.pool import Errand, is_answer
from server.engines.work import PLAIN
from server.exchange import LEFT, Exchange
from server.hot.rewrite import Prepared
from server.seeing import stages

if TYPE_CHECKING:
    from server.hot.chat import Chat

MOST_BYTES = 65536
"""Of a body: what is longer is likely to hold a picture."""
STREAM = b'"stream"'
"""In a body it is likely to be asked for."""


class AtOnce:
    """One such request, from its head to its end."""

    __slots__ = (
        "_answer",
        "_asked_s",
        "_chat",
        "_errand",
        "_exchange",
        "_finish",
        "_link",
        "_notes",
        "_over",
        "_prepared",
        "_visit",
    )

    _answer: Answer
    _errand: Errand
    _prepared: Prepared

    def __init__(self, chat: "Chat", link: Link, exchange: Exchange, finish: Callable[[Exchange], None]) -> None:
        """`finish` is called when it is over."""
        self._chat = chat
        self._link = link
        self._exchange = exchange
        self._finish = finish
        self._visit: Visit | None = None
        self._notes = b""
        self._asked_s = 0.0
        self._over = False

    def begin(self) -> bool:
        """Send it to an engine, or answer it; False if it is not such a request: then nothing is done."""
        raw = self._link.whole_body() if self._chat.gate.decides_here else None
        if raw is None or len(raw) > MOST_BYTES or STREAM in raw:
            return False
        try:
            begun = self._asked(raw)
        except Exception as failure:
            self._chat.fail(self._link, self._exchange, failure)
            self._leave()
            return True
        if not begun:
            if self._visit is not None:
                self._visit.leave()
            return False
        self._link.began(self)
        self._link.watch(self._left)
        return True

    def _asked(self, raw: bytearray) -> bool:
        chat, exchange = self._chat, self._exchange
        caller = chat.caller(exchange)
        visit = self._visit = chat.gate.at_once(exchange, caller)
        if visit is None:
            return False
        visit.settle(len(raw))
        prepared, model = chat.prepared(raw, exchange, caller)
        if prepared.media or prepared.stream or not chat.gate.admits(exchange, visit, 0):
            return False
        self._prepared = prepared
        payload = chat.payload(exchange, prepared, raw, caller, asks_usage=False)
        self._errand = Errand("POST", exchange.path, payload, chat.headers(exchange), model, PLAIN)
        self._asked_s = time.perf_counter()
        answer = chat.pool.ask_at_once(self._errand, self._answered)
        if answer is None:
            return False
        self._answer = answer
        self._notes = chat.notes(exchange, prepared)
        return True

    def _answered(self) -> None:
        answer, link = self._answer, self._link
        if answer.is_stream or not is_answer(answer):
            task = asyncio.get_running_loop().create_task(self._go_on())
            link.ended(self)
            link.began(task)
            task.add_done_callback(link.ended)
            link.on_leave = task.cancel
            return
        try:
            self._chat.tell(answer, self._prepared, link, self._exchange, self._notes)
        except Exception as failure:
            self._chat.fail(link, self._exchange, failure)
        self._end()

    async def _go_on(self) -> None:
        """Ask another engine, and serve what it answers as `Chat.serve` would."""
        try:
            await self._chat.watched(self._link, self._delivered())
        except Exception as failure:
            self._chat.fail(self._link, self._exchange, failure)
        finally:
            self._end()

    async def _delivered(self) -> None:
        if not is_answer(self._answer):
            self._answer = await self._chat.pool.ask_again(self._errand, self._answer)
        await self._chat.deliver(self._answer, self._errand, self._prepared, self._link, self._exchange, self._notes)

    def _left(self) -> None:
        """The client is gone."""
        self._exchange.status = LEFT
        self._end()

    def cancel(self, msg: object = None) -> None:
        """The server is leaving, and waits no longer. In the loop's next turn, as a task has it."""
        asyncio.get_running_loop().call_soon(self._cut_off)

    def _cut_off(self) -> None:
        if not self._over:
            self._chat.fail(self._link, self._exchange, self._chat.departure.failure())
            self._end()

    def _end(self) -> None:
        self._over = True
        self._answer.close()
        stages.add("engine", self._asked_s, time.perf_counter())
        self._link.ended(self)
        self._leave()

    def _leave(self) -> None:
        if self._visit is not None:
            self._visit.leave()
        self._link.over()
        self._finish(self._exchange)
