"""How much is worked on at once, and whose turn it is: before anything of a request is decoded.

The server has `max_in_flight` places. A request takes one, and more for its visual tokens and its bytes
(`weighing.py`). When all are taken it waits, up to `queue_timeout_s`, among at most `max_queue`. A place that comes
free goes to the caller who has the least of his share, in the order of his own requests; so however much one caller
sends, another who stays within his share waits for the next place and not for the first one's queue. A share is the
key's, times four for each step of priority, against those of all callers that are there.

Callers with more than their share leave the last eighth of the places to those with less: else a burst that fills the
server would make the next caller wait until its slowest request is done. Where only one caller is there he has it all.

Everything here is arithmetic on one event loop. Without contention a request costs two comparisons and five additions,
whatever the number of callers.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator

from server.callers.keys import Caller, Priority
from server.errors import GatewayError, Overloaded, RateLimited
from server.seeing import metrics
from server.settings import Settings

STEPS: dict[Priority, float] = {"high": 16, "normal": 4, "low": 1}
"""Priority -> what a key's share is multiplied with."""
PRESENT_S = 10
"""A caller counts as there for so long after the last request began."""
RESERVE = 8
"""One place in so many is left to callers below their share; one byte in so many too."""
HELD_S = 1.0
"""How long a place is held, until it is known better: for `Retry-After`."""


class Flow:
    """What one caller has here."""

    __slots__ = ("bytes", "caller", "seen_s", "share", "taken", "visits", "waiting")

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.share = 0.0
        self.seen_s = 0.0
        self.visits = 0
        """Requests that are here, with a place or without."""
        self.taken = 0
        """Places."""
        self.bytes = 0
        """Of the bodies of all visits."""
        self.waiting: deque[Waiter] = deque()


class Waiter:
    """A request that waits for its places."""

    __slots__ = ("since_s", "turn", "weight")

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.since_s = time.monotonic()
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Visit:
    """One request's stay; `leave` it in the end."""

    __slots__ = ("_admission", "bytes", "caller", "entered_s", "flow", "on_leave", "weight")

    def __init__(self, admission: "Admission", flow: Flow, caller: Caller, body_bytes: int, now_s: float) -> None:
        self._admission = admission
        self.flow = flow
        self.caller = caller
        """Of this request: the flow is that of all keys of the same name."""
        self.bytes = body_bytes
        self.weight = 0
        """Places that it has."""
        self.entered_s = now_s
        """When it came, or when its turn did."""
        self.on_leave: Callable[[], None] | None = None
        """Also to be done when it leaves."""

    def settle(self, body_bytes: int) -> None:
        """The body is here and has so many bytes."""
        self._admission.bytes += body_bytes - self.bytes
        self.flow.bytes += body_bytes - self.bytes
        self.bytes = body_bytes

    def enter(self, weight: int) -> bool:
        """Take places if there are any and nobody waits for them."""
        return self._admission.enter(self, weight)

    async def wait(self, weight: int) -> float:
        """Take places when it is this one's turn; the seconds until then. Raises Overloaded or RateLimited."""
        return await self._admission.wait(self, weight)

    def leave(self) -> None:
        """Give everything back."""
        self._admission.leave(self)
        if self.on_leave is not None:
            self.on_leave()


class Admission:
    """The door.

    >>> door = Admission(Settings(max_in_flight=1, max_queue=0))
    >>> from server.callers.keys import ANYONE
    >>> first, second = door.arrive(ANYONE, 100), door.arrive(ANYONE, 100)
    >>> first.enter(1), second.enter(1), door.in_flight, door.bytes
    (True, False, 1, 200)
    >>> first.leave(); second.enter(1)
    True
    """

    def __init__(self, settings: Settings) -> None:
        self.limit = settings.max_in_flight
        self.taken = 0
        """Places."""
        self.in_flight = 0
        """Requests that have places."""
        self.bytes = 0
        self.queued = 0
        self.present: dict[str, Flow] = {}
        """By name, callers that are here or were a moment ago."""
        self._settings = settings
        self._most = _most(self.limit)
        self._limit_bytes = settings.max_in_flight_bytes
        self._most_bytes = _most(self._limit_bytes)
        self._concurrent = settings.max_concurrent
        self._shares = 0.0
        self._swept_s = 0.0
        self._held_s = HELD_S

    # -- coming and going ---------------------------------------------------------------------------------------------
    def arrive(self, caller: Caller, body_bytes: int) -> Visit:
        """A request is here, with a body of so many bytes that is not read yet.

        Raises RateLimited when the caller has as many as he may, Overloaded when there is no room for the body.
        """
        flow = self.present.get(caller.name)
        if flow is None or flow.caller is not caller:
            flow = self._meet(caller)
        flow.seen_s = now_s = time.monotonic()
        if now_s - self._swept_s > 1:
            self._sweep(now_s)
        concurrent = caller.concurrent or self._concurrent
        if concurrent and flow.visits >= concurrent:
            raise too_many(caller, flow.visits, concurrent)
        limit, after = self._limit_bytes, self.bytes + body_bytes
        if after > self._most_bytes and (after > limit or not self._is_within(flow, flow.bytes + body_bytes, limit)):
            raise _refused(
                Overloaded(
                    f"the bodies of requests under way have {self.bytes} bytes, this one {body_bytes}; the limit is "
                    f"{limit} (max_in_flight_bytes)",
                    headers={"retry-after": str(self.retry_after_s())},
                ),
                "bytes",
            )
        flow.visits += 1
        flow.bytes += body_bytes
        self.bytes = after
        return Visit(self, flow, caller, body_bytes, now_s)

    def enter(self, visit: Visit, weight: int) -> bool:
        """See `Visit.enter`."""
        flow = visit.flow
        if self.queued or self.taken + weight > self._most:
            weight = min(weight, self.limit)
            if (self.queued and not self._goes_first(flow)) or not self._fits(flow, weight):
                return False
        flow.taken += weight
        self.taken += weight
        self.in_flight += 1
        visit.weight = weight
        return True

    async def wait(self, visit: Visit, weight: int) -> float:
        """See `Visit.wait`."""
        flow = visit.flow
        weight = min(weight, self.limit)
        self._make_room(flow)
        waiter = Waiter(weight)
        flow.waiting.append(waiter)
        self.queued += 1
        self._call_up()
        timer = asyncio.get_running_loop().call_later(self._settings.queue_timeout_s, self._give_up, flow, waiter)
        try:
            await waiter.turn
        except BaseException:
            if waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.exception() is None:
                self._untake(flow, weight)  # its turn came in the moment in which it was given up
            else:
                self._forget(flow, waiter)
                self._call_up()
            raise
        finally:
            timer.cancel()
        visit.weight = weight
        visit.entered_s = time.monotonic()
        waited_s = visit.entered_s - waiter.since_s
        metrics.QUEUE_S.observe(flow.caller.priority, waited_s)
        return waited_s

    def leave(self, visit: Visit) -> None:
        """See `Visit.leave`."""
        flow = visit.flow
        flow.visits -= 1
        flow.bytes -= visit.bytes
        self.bytes -= visit.bytes
        if visit.weight:
            if self.queued:  # else nobody is told how long to wait
                self._held_s += (time.monotonic() - visit.entered_s - self._held_s) / 32
            self._untake(flow, visit.weight)

    # -- places -------------------------------------------------------------------------------------------------------
    def _count(self, flow: Flow, weight: int) -> None:
        flow.taken += weight
        self.taken += weight
        self.in_flight += 1

    def _untake(self, flow: Flow, weight: int) -> None:
        flow.taken -= weight
        self.taken -= weight
        self.in_flight -= 1
        if self.queued:
            self._call_up()

    def _goes_first(self, flow: Flow) -> bool:
        """Whether it would be this caller's turn before that of all who wait."""
        return all(flow.taken / flow.share < other.taken / other.share for other in self._waiting_flows())

    def _fits(self, flow: Flow, weight: int) -> bool:
        after = self.taken + weight
        if after > self.limit:
            return False
        return after <= self._most or self.taken == 0 or self._is_within(flow, flow.taken + weight, self.limit)

    def _is_within(self, flow: Flow, amount: int, limit: int) -> bool:
        """Whether a caller who has `amount` of `limit` is within his share. Alone he always is."""
        return len(self.present) < 2 or amount * self._shares <= limit * flow.share

    def _call_up(self) -> None:
        """Give the places that are free to those whose turn it is."""
        while self.queued:
            for flow in sorted(self._waiting_flows(), key=_turn):
                waiter = flow.waiting[0]
                if waiter.turn.done():  # its client has left
                    self._forget(flow, waiter)
                    break
                if self._fits(flow, waiter.weight):
                    flow.waiting.popleft()
                    self.queued -= 1
                    self._count(flow, waiter.weight)
                    waiter.turn.set_result(None)
                    break
                if self.taken + waiter.weight > self.limit:
                    return  # the next free places are for this one, else many small ones would keep a big one out
            else:
                return  # what is left is for callers below their share

    def _waiting_flows(self) -> Iterator[Flow]:
        return (flow for flow in self.present.values() if flow.waiting)

    # -- the queue ----------------------------------------------------------------------------------------------------
    def _make_room(self, flow: Flow) -> None:
        """Raises where the queue is full, unless another caller has more of it: then his last one goes."""
        if self.queued < self._settings.max_queue:
            return
        longest = max(self._waiting_flows(), key=_queue_length, default=flow)
        if longest is flow or _queue_length(longest) <= (len(flow.waiting) + 1) / flow.share:
            raise self._turned_away(flow)
        waiter = longest.waiting[-1]
        if not waiter.turn.done():
            waiter.turn.set_exception(self._turned_away(longest))
        self._forget(longest, waiter)

    def _give_up(self, flow: Flow, waiter: Waiter) -> None:
        if not waiter.turn.done():
            waited_s = self._settings.queue_timeout_s
            waiter.turn.set_exception(self._turned_away(flow, f"waited {waited_s:g} s for a place (queue_timeout_s)"))
            self._forget(flow, waiter)
            self._call_up()  # it may have been a big one that others waited behind

    def _forget(self, flow: Flow, waiter: Waiter) -> None:
        if waiter in flow.waiting:
            flow.waiting.remove(waiter)
            self.queued -= 1

    def _turned_away(self, flow: Flow, why: str = "") -> GatewayError:
        """What a request is told that gets no place: 429 where its caller has his share already, 503 where not."""
        headers = {"retry-after": str(self.retry_after_s())}
        waiting = len(flow.waiting)
        if len(self.present) > 1 and not self._is_within(flow, flow.taken + waiting + 1, self.limit):
            share = f"the key {flow.caller.name!r} has {flow.taken} places and {waiting} requests waiting"
            return _refused(RateLimited(f"{share}; {why or 'that is more than its share'}", headers=headers), "share")
        full = (
            f"{self.in_flight} requests are in flight and {self.queued} wait; the limits are {self.limit} places "
            f"(max_in_flight) and {self._settings.max_queue} (max_queue)"
        )
        return _refused(Overloaded(f"{why}; {full}" if why else full, headers=headers), "full")

    def retry_after_s(self) -> int:
        """When a place may be free, in seconds, by how long they are held."""
        return max(1, min(60, math.ceil(self._held_s * (self.queued + 1) / self.limit)))

    # -- callers ------------------------------------------------------------------------------------------------------
    def _meet(self, caller: Caller) -> Flow:
        """The caller's flow, new or with what the caller may have now."""
        flow = self.present.get(caller.name)
        if flow is None:
            flow = self.present[caller.name] = Flow(caller)
        self._shares -= flow.share
        flow.caller = caller
        flow.share = caller.share * STEPS[caller.priority]
        self._shares += flow.share
        return flow

    def _sweep(self, now_s: float) -> None:
        """Forget callers who have been away for `PRESENT_S`."""
        self._swept_s = now_s
        for name, other in list(self.present.items()):
            if not other.visits and now_s - other.seen_s > PRESENT_S:
                del self.present[name]
        self._shares = sum(each.share for each in self.present.values())


def too_many(caller: Caller, under_way: int, limit: int) -> GatewayError:
    """What a caller is told who has as many requests under way as he may."""
    return _refused(
        RateLimited(
            f"the key {caller.name!r} has {under_way} requests under way; it may have {limit}",
            headers={"retry-after": "1"},
            details={"limit": limit, "value": under_way},
        ),
        "concurrent",
    )


def _refused(failure: GatewayError, reason: str) -> GatewayError:
    metrics.REFUSED.add((reason,))
    return failure


def _most(limit: int) -> int:
    """What callers beyond their share may fill."""
    return limit - limit // RESERVE


def _turn(flow: Flow) -> tuple[float, float]:
    return flow.taken / flow.share, flow.waiting[0].since_s


def _queue_length(flow: Flow) -> float:
    return len(flow.waiting) / flow.share
