"""`Idempotency-Key`: the same request under the same key is worked on once, however often it is sent.

A caller whose connection broke sends it again and gets the answer of the first try, which goes on without a listener.
Only answers are kept, not failures; in this process's memory alone, for `ttl_s`, and no more than `most_bytes` of them.
The workers of one server ask each other (`Claim`). What this does not do: keys are not shared between gateways, and are
lost with the process.
"""

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from server.errors import InvalidValue

KEY = re.compile(r"[\x21-\x7e]{1,255}")
TTL_S = 3600
MOST_BYTES = 64 * 1024 * 1024
MOST_KEYS = 10_000


Claim = Callable[[str, str, str], Awaitable[bytes | None]]
"""claim(caller, key, fingerprint) -> the answer of another process, which worked on it first; None: this one is to."""


@dataclass(slots=True)
class _Entry:
    fingerprint: str
    answer: "asyncio.Task[tuple[bytes, bool]]"
    """The answer, and whether another process gave it."""
    until_s: float
    size_bytes: int = 0


class Idempotency:
    """Answers by caller and key."""

    def __init__(self, claim: Claim | None = None, *, ttl_s: float = TTL_S, most_bytes: int = MOST_BYTES) -> None:
        """`claim` asks the other processes of this server, where there are any."""
        self._claim = claim
        self._ttl_s, self._most_bytes = ttl_s, most_bytes
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        """Oldest first."""
        self._kept_bytes = 0

    async def once(
        self, caller: str, key: str, request: bytes, work: Callable[[], Awaitable[bytes]]
    ) -> tuple[bytes, bool]:
        """(The answer, whether it is that of an earlier try). `request` is what tells two requests apart.

        Cancelling this leaves the work under way. Raises InvalidValue for a key that is none, or was used for another
        request; and what `work` raises.
        """
        if not KEY.fullmatch(key):
            raise InvalidValue("Idempotency-Key must be 1 to 255 visible ASCII characters", param="Idempotency-Key")
        self._forget_old()
        fingerprint = hashlib.blake2b(request, digest_size=16).hexdigest()
        entry = self._entries.get((caller, key))
        replayed = entry is not None
        if entry is None:
            answer = asyncio.create_task(self._run(work, caller, key, fingerprint))
            entry = _Entry(fingerprint, answer, time.monotonic() + self._ttl_s)
            self._entries[caller, key] = entry
            entry.answer.add_done_callback(lambda _: self._done((caller, key), entry))
        else:
            _check(entry, fingerprint)
        body, is_anothers = await asyncio.shield(entry.answer)
        return body, replayed or is_anothers

    async def answer_of(self, caller: str, key: str, fingerprint: str) -> bytes | None:
        """What another process asks that has been sent the same: the answer, now or when it is there; None where
        nothing is known of it. Raises as `once`.
        """
        self._forget_old()
        entry = self._entries.get((caller, key))
        if entry is None:
            return None
        _check(entry, fingerprint)
        return (await asyncio.shield(entry.answer))[0]

    async def close(self) -> None:
        """Stop what is under way."""
        running = [entry.answer for entry in self._entries.values()]
        for answer in running:
            answer.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(
        self, work: Callable[[], Awaitable[bytes]], caller: str, key: str, fingerprint: str
    ) -> tuple[bytes, bool]:
        anothers = None if self._claim is None else await self._claim(caller, key, fingerprint)
        return (await work(), False) if anothers is None else (anothers, True)

    def _done(self, name: tuple[str, str], entry: _Entry) -> None:
        if entry.answer.cancelled() or entry.answer.exception() is not None:
            if self._entries.get(name) is entry:
                del self._entries[name]  # a failure may be tried again
            return
        entry.size_bytes = len(entry.answer.result()[0])
        self._kept_bytes += entry.size_bytes

    def _forget_old(self) -> None:
        """Looks no further than the first answer that may stay, and past those still under way."""
        now_s = time.monotonic()
        gone: list[tuple[str, str]] = []
        for name, entry in self._entries.items():
            if not entry.answer.done():
                continue
            full = self._kept_bytes > self._most_bytes or len(self._entries) - len(gone) >= MOST_KEYS
            if not full and entry.until_s >= now_s:
                break
            self._kept_bytes -= entry.size_bytes
            gone.append(name)
        for name in gone:
            del self._entries[name]


def _check(entry: _Entry, fingerprint: str) -> None:
    if entry.fingerprint != fingerprint:
        raise InvalidValue(
            "this Idempotency-Key was used for another request",
            param="Idempotency-Key",
            code="idempotency_key_reused",
        )
