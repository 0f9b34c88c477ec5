"""Requests and tokens a minute for each key, with OpenAI's headers that say what is left.

Kept by the library `limits`: in this process's memory, or in a Redis that several gateways share. Requests are counted
in a sliding window, tokens in a fixed one: the prompt, as far as it is known before decoding, at once, and what the
answer turned out to cost when it is there. So tokens may go beyond the limit by what was under way, never by more.

If Redis does not answer, this gateway counts for itself until it does (`store`). So in the minute of a loss a key may
have its limit once from Redis, once from each gateway (all its workers count together), and once more if Redis comes
back empty. Keys and what they are for do not depend on it. Callers without limits cost nothing here.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

from server.callers.keys import Caller
from server.callers.store import Store, StoreAway
from server.errors import RateLimited
from server.seeing import metrics
from server.settings import Settings

T = TypeVar("T")
MINUTE_S = 60


@dataclass(slots=True)
class Left:
    """What is left of a limit."""

    limit: int
    remaining: int
    reset_s: float
    """Seconds until more is there."""


class Limiter:
    """Counts what callers ask for."""

    def __init__(self, settings: Settings, store: Store | None = None, own: "Counts | None" = None) -> None:
        """`own` counts where the store does not; None: in this process."""
        self._settings = settings
        self._own: Counts = own or Counters(MemoryStorage())
        self._store = store
        self._shared = None if store is None else Counters(store.storage)
        self._settling: set[asyncio.Task[None]] = set()
        self._by_default = bool(settings.max_requests_per_minute or settings.max_tokens_per_minute)

    def limits(self, caller: Caller) -> bool:
        """Whether the caller has limits at all."""
        return self._by_default or caller.requests_per_minute is not None or caller.tokens_per_minute is not None

    async def arrive(self, caller: Caller) -> "Quota":
        """Count a request. Raises RateLimited."""
        quota = Quota(self, caller)
        limit = caller.requests_per_minute or self._settings.max_requests_per_minute
        if limit:
            granted, left = await self.counted(lambda counters: counters.request(caller.name, limit))
            quota.requests = left
            if not granted:
                raise quota.refusal("requests", left)
        return quota

    def token_limit(self, caller: Caller) -> int:
        """Tokens a minute; 0: no limit."""
        return caller.tokens_per_minute or self._settings.max_tokens_per_minute

    async def counted(self, count: "Callable[[Counts], Awaitable[T]]") -> T:
        """Count in Redis if it is set and answers, else here."""
        shared = self._shared
        if self._store is not None and shared is not None:
            with contextlib.suppress(StoreAway):
                return await self._store.asked(lambda: count(shared))
        return await count(self._own)

    def later(self, work: Awaitable[None]) -> None:
        """Do it without keeping anybody waiting."""
        task = asyncio.ensure_future(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def close(self) -> None:
        """Finish counting."""
        await asyncio.gather(*self._settling, return_exceptions=True)


class Quota:
    """One request's part of its caller's limits."""

    __slots__ = ("_began_s", "_limiter", "_spent", "caller", "requests", "tokens")

    def __init__(self, limiter: Limiter, caller: Caller) -> None:
        self._limiter = limiter
        self.caller = caller
        self.requests: Left | None = None
        self.tokens: Left | None = None
        self._spent = 0
        self._began_s = time.monotonic()

    async def spend(self, tokens: int) -> None:
        """Count the prompt's tokens. Raises RateLimited."""
        name, limit = self.caller.name, self._limiter.token_limit(self.caller)
        if not limit:
            return
        granted, left = await self._limiter.counted(lambda counters: counters.spend(name, limit, tokens))
        self.tokens = left
        if not granted:
            raise self.refusal("tokens", left)
        self._spent = tokens

    def settle(self, tokens: int) -> None:
        """The request is over and cost so many tokens: count what was not counted, give back what was too much."""
        name, limit = self.caller.name, self._limiter.token_limit(self.caller)
        rest = tokens - self._spent
        if not limit or not rest or time.monotonic() - self._began_s > MINUTE_S:
            return
        self._limiter.later(self._limiter.counted(lambda counters: counters.settle(name, limit, rest)))

    def headers(self) -> dict[str, str]:
        """OpenAI's headers."""
        found = {}
        for kind, left in (("requests", self.requests), ("tokens", self.tokens)):
            if left is not None:
                found[f"x-ratelimit-limit-{kind}"] = str(left.limit)
                found[f"x-ratelimit-remaining-{kind}"] = str(left.remaining)
                found[f"x-ratelimit-reset-{kind}"] = f"{left.reset_s:.3g}s"
        return found

    def refusal(self, kind: str, left: Left) -> RateLimited:
        """What a caller is told who has used up a limit."""
        metrics.REFUSED.add((kind,))
        wait_s = max(1, math.ceil(left.reset_s))
        return RateLimited(
            f"the key {self.caller.name!r} may use {left.limit} {kind} a minute, and has; try again in {wait_s} s",
            headers={"retry-after": str(wait_s), **self.headers()},
            details={"limit": left.limit},
        )


class Counts(Protocol):
    """Where callers' requests and tokens are counted."""

    async def request(self, name: str, limit: int) -> tuple[bool, Left]:
        """Count one; whether it may be, and what is left."""

    async def spend(self, name: str, limit: int, tokens: int) -> tuple[bool, Left]:
        """Count these if any are left; whether there were, and what is left."""

    async def settle(self, name: str, limit: int, tokens: int) -> None:
        """Count these whatever is left, or, below 0, give them back."""


class Counters:
    """The windows of one storage."""

    def __init__(self, storage: Storage) -> None:
        self._requests = SlidingWindowCounterRateLimiter(storage)
        self._tokens = FixedWindowRateLimiter(storage)
        self._storage = storage

    async def request(self, name: str, limit: int) -> tuple[bool, Left]:
        """Count one; whether it may be, and what is left."""
        item = RateLimitItemPerMinute(limit, namespace="qvl-requests")
        granted = await self._requests.hit(item, name)
        stats = await self._requests.get_window_stats(item, name)
        return granted, Left(limit, stats.remaining, max(0.0, stats.reset_time - time.time()))

    async def spend(self, name: str, limit: int, tokens: int) -> tuple[bool, Left]:
        """Count these if any are left; whether there were, and what is left."""
        item = RateLimitItemPerMinute(limit, namespace="qvl-tokens")
        granted = await self._tokens.test(item, name, cost=min(max(tokens, 1), limit))
        if granted and tokens:
            await self._tokens.hit(item, name, cost=tokens)
        stats = await self._tokens.get_window_stats(item, name)
        return granted, Left(limit, min(limit, stats.remaining), max(0.0, stats.reset_time - time.time()))

    async def settle(self, name: str, limit: int, tokens: int) -> None:
        """Count these whatever is left, or, below 0, give them back.

        No more is given back than is counted: the minute in which they were counted may be over, or lost with a store.
        """
        key = RateLimitItemPerMinute(limit, namespace="qvl-tokens").key_for(name)
        if tokens < 0:
            tokens = -min(-tokens, await self._storage.get(key))
        if tokens:
            await self._storage.incr(key, MINUTE_S, amount=tokens)
