"""Engines by DNS name: the addresses behind `name:port`, looked up again and again (a headless service has one for each
pod that is ready).

A lookup that fails changes nothing: a DNS server that is away must not take the engines along.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

from server.settings import Settings

log = logging.getLogger(__name__)

Met = Callable[[frozenset[str]], Awaitable[None]]
Resolve = Callable[[str], Awaitable[frozenset[str]]]


async def addresses(name: str) -> frozenset[str]:
    """URLs of the addresses of `host:port`. Raises OSError when there is none."""
    host, _, port = name.rpartition(":")
    found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    return frozenset(urls([str(address[0]) for *_, address in found], port))


def urls(hosts: Sequence[str], port: str) -> list[str]:
    """Engine URLs of IP addresses.

    >>> urls(["10.0.0.7", "fd00::7"], "8100")
    ['http://10.0.0.7:8100', 'http://[fd00::7]:8100']
    """
    return [f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}" for host in hosts]


class Discovery:
    """Tells `met` the URLs of all engines that the names have, at the start and every `engine_dns_s` seconds."""

    def __init__(self, settings: Settings, met: Met, resolve: Resolve = addresses) -> None:
        self._names = settings.engine_dns
        self._every_s = settings.engine_dns_s
        self._met = met
        self._resolve = resolve
        self._watch: asyncio.Task[None] | None = None
        self._known: dict[str, frozenset[str]] = {}
        self._unknown: set[str] = set()
        """Names whose last lookup failed."""

    async def start(self) -> None:
        """Look up once, then in the background."""
        await self.look()
        self._watch = asyncio.create_task(self._watch_forever(), name="discover engines")

    async def close(self) -> None:
        """Stop looking up."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch

    async def look(self) -> None:
        """Look up every name now."""
        for name in self._names:
            try:
                self._known[name] = await self._resolve(name)
                self._unknown.discard(name)
            except OSError as exc:
                if name not in self._unknown:  # once, not every few seconds
                    log.warning("engine_dns %s: %s", name, exc.strerror or exc)
                self._unknown.add(name)
        if self._known:
            await self._met(frozenset().union(*self._known.values()))

    async def _watch_forever(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except Exception:  # of one engine; the others must still be found
                log.exception("engine_dns: a lookup could not be followed")
