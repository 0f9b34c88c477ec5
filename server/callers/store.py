"""The Redis in which several gateways count together, and what becomes of them while it does not answer.

A gateway that gets no answer counts for itself and leaves Redis alone for some seconds: a limit is there to be fair,
and not worth an outage.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from limits.aio.storage import Storage
from limits.errors import StorageError
from limits.storage import storage_from_string

from server.seeing import metrics
from server.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")
Script = Callable[[Sequence[str], Sequence[Any]], Awaitable[Any]]
"""script(keys, arguments) -> what Redis answers."""
TIMEOUT_S = 0.5
AGAIN_S = 5
"""After a failure Redis is left alone for so long."""


class StoreAway(Exception):
    """It does not answer, or did not a moment ago."""


class Store:
    """A connection or more to it, made when it is first asked."""

    def __init__(self, storage: Storage) -> None:
        """`open_store` makes one."""
        self.storage = storage
        """As `limits` has it."""
        theirs = storage.base_exceptions
        self._failures: tuple[type[BaseException], ...] = (
            StorageError,
            OSError,  # TimeoutError is one
            *(theirs if isinstance(theirs, tuple) else (theirs,)),
        )
        self._from_s = 0.0

    async def asked(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` gets of it. Raises StoreAway, at once where it failed a moment ago."""
        if time.monotonic() < self._from_s:
            raise StoreAway
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await work()
        except self._failures as exc:
            if time.monotonic() >= self._from_s:  # of many that failed together one tells
                self._from_s = time.monotonic() + AGAIN_S
                metrics.REFUSED.add(("limit store",))
                log.warning("limits are counted here alone for %g s: %s", AGAIN_S, type(exc).__name__)
            raise StoreAway from exc

    def script(self, text: str) -> Script:
        """Lua that Redis runs in one piece, sent once and then named by its digest."""
        script: Script = self._client.register_script(text)
        return script

    async def close(self) -> None:
        """Give back the connections; they are made anew if it is asked again."""
        await self._client.aclose()

    @property
    def _client(self) -> Any:
        return self.storage.bridge.storage  # type: ignore[attr-defined]


def open_store(settings: Settings) -> Store | None:
    """None where none is set. Raises ValueError for a URL that is none, or where its client is not installed.

    >>> open_store(Settings()) is None
    True
    """
    if settings.redis_url is None:
        return None
    url = settings.redis_url.get_secret_value()
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("redis_url must begin with redis://, rediss:// or unix://")
    scheme, _, rest = url.partition("://")
    uri = f"async+{'redis+unix' if scheme == 'unix' else scheme}://{rest}"
    try:
        storage = storage_from_string(uri, implementation="redispy", wrap_exceptions=True, socket_timeout=TIMEOUT_S)
    except Exception as exc:
        raise ValueError(f"redis_url: {type(exc).__name__}; its client is in the extra 'redis'") from exc
    assert isinstance(storage, Storage)
    return Store(storage)
