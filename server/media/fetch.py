"""Fetching media from the Internet on a caller's word, without becoming the caller's way into our own network.

Guards: only http and https, only the ports that are set; a host is resolved once, every address of the answer must be
public (`addresses.py`) or opened by setting, and the connection goes to the very address that was checked, so that a
second answer of the name server changes nothing; each redirect is checked like the first URL; no user names in URLs, no
cookies, no proxy from the environment, no compression; time, bytes and redirects are capped. The host's name stays in
the TLS handshake and the Host header.

Does not guard: a public host that is itself a door to a private network; what a caller learns from how long an answer
takes; DNS itself, which is asked for whatever name the caller gives. The bytes are for the decode processes, which
trust no declared type.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, BinaryIO, NoReturn

import httpcore2
import httpx2

from server.errors import InvalidValue, MediaTooLarge, UrlForbidden, UrlUnreachable
from server.media.addresses import is_allowed, is_odd_number
from server.media.jobs import write_all
from server.settings import Settings

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) -> its addresses. Raises OSError if it has none."""

LOOKUPS_AT_ONCE = 64
_resolvers = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="resolve")  # starts threads when they are needed
REDIRECTS = (301, 302, 303, 307, 308)
DEFAULT_PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"[A-Za-z0-9._:\-]+")
"""After names in other scripts were put in their ASCII form."""
HEADERS = [
    (b"user-agent", b"qwenvl-server"),
    (b"accept", b"image/*, video/*, */*;q=0.5"),
    (b"accept-encoding", b"identity"),
]
NETWORK_ERRORS = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError)


async def resolve_by_system(host: str, port: int) -> list[str]:
    """As the operating system resolves it; numeric addresses stand for themselves.

    In threads of its own: a name whose server is silent holds one for as long as the system waits, and the event
    loop's own few would soon be gone.
    """
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    answers = await asyncio.get_running_loop().run_in_executor(_resolvers, look_up)
    return [str(answer[4][0]) for answer in answers]


class Fetcher:
    """Fetches URLs into files. `resolve` is a seam for tests: what a name server answers."""

    def __init__(self, settings: Settings, *, resolve: Resolve = resolve_by_system) -> None:
        self._settings = settings
        self._resolve = resolve
        self._ssl_context: ssl.SSLContext | None = None

    async def fetch(self, url: str, file: BinaryIO, limit_bytes: int, *, param: str, noun: str) -> int:
        """Writes what the URL gives into the file; gives its length in bytes.

        Raises UrlForbidden, UrlUnreachable, MediaTooLarge, and InvalidValue for something that is no URL.
        """
        timeout_s = self._settings.fetch_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await _Fetch(self._settings, self._pool(param), file, limit_bytes, param, noun).run(url)
        except TimeoutError as exc:
            raise UrlUnreachable(f"{param} was not fetched within {timeout_s:g} s", param=param) from exc

    def _pool(self, param: str) -> httpcore2.AsyncConnectionPool:
        """One for each fetch: nothing of one caller's is kept for the next."""
        if self._ssl_context is None:
            self._ssl_context = httpcore2.default_ssl_context()
        backend = GuardedBackend(self._settings, self._resolve, param)
        return httpcore2.AsyncConnectionPool(ssl_context=self._ssl_context, network_backend=backend)


class _Fetch:
    """One URL and the redirects that follow."""

    def __init__(
        self,
        settings: Settings,
        pool: httpcore2.AsyncConnectionPool,
        file: BinaryIO,
        limit_bytes: int,
        param: str,
        noun: str,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._file = file
        self._limit_bytes = limit_bytes
        self._param = param
        self._noun = noun

    async def run(self, address: str) -> int:
        most = self._settings.fetch_max_redirects
        url = self._checked(address, None)
        async with self._pool:
            for _ in range(most + 1):
                try:
                    outcome = await self._get(url)
                except NETWORK_ERRORS as exc:
                    why = str(exc) or type(exc).__name__
                    raise self._unreachable(f"cannot be fetched from {url.host}: {why}") from exc
                if isinstance(outcome, int):
                    return outcome
                url = self._checked(outcome, url)
        raise self._unreachable(f"leads over more than {most} redirects")

    async def _get(self, url: httpx2.URL) -> int | str:
        """The length of the file that was written, or where the answer redirects to."""
        port = _port(url)
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=port, target=url.raw_path)
        async with self._pool.stream("GET", target, headers=HEADERS) as response:
            headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
            if response.status in REDIRECTS and b"location" in headers:
                return headers[b"location"]
            if response.status != 200:
                raise self._unreachable(f"is answered with status {response.status} by {url.host}")
            encoding = headers.get(b"content-encoding", "identity").strip().lower()
            if encoding not in ("identity", ""):
                raise self._unreachable(f"is sent by {url.host} with content-encoding {encoding}, unasked")
            declared = headers.get(b"content-length", "")
            if declared.isdecimal():
                self._check_length(int(declared))
            return await self._write(response)

    async def _write(self, response: httpcore2.Response) -> int:
        length = 0
        async for piece in response.aiter_stream():
            length += len(piece)
            self._check_length(length)
            write_all(self._file, piece)
        return length

    def _checked(self, address: str, base: httpx2.URL | None) -> httpx2.URL:
        """The URL, if its scheme, host and port are such that we follow it; relative to `base`, if it redirects."""
        try:
            url = httpx2.URL(address) if base is None else base.join(address)
            host = url.raw_host.decode("ascii")
        except (httpx2.InvalidURL, UnicodeError, ValueError) as exc:
            raise InvalidValue(f"{self._param} is not a URL that can be read", param=self._param) from exc
        if url.scheme not in DEFAULT_PORTS:
            raise self._forbidden(f"leads to the scheme {url.scheme}:; taken are http: and https:")
        if not HOST.fullmatch(host):
            raise InvalidValue(f"{self._param} is a URL without a host that can be read", param=self._param)
        if url.userinfo:
            raise self._forbidden("has a user name or password in its URL")
        if is_odd_number(host):
            raise self._forbidden(f"leads to {host}, which is not an address in its usual form")
        ports = self._settings.fetch_allow_port
        if (port := _port(url)) not in ports:
            raise self._forbidden(f"leads to port {port}; allowed are {', '.join(map(str, ports))}")
        return url

    def _check_length(self, length: int) -> None:
        if length > self._limit_bytes:
            code = f"{self._noun}_too_large"
            raise MediaTooLarge(self._param, value=length, limit=self._limit_bytes, unit="bytes", code=code)

    def _forbidden(self, why: str) -> UrlForbidden:
        return UrlForbidden(f"{self._param} {why}", param=self._param)

    def _unreachable(self, why: str) -> UrlUnreachable:
        return UrlUnreachable(f"{self._param} {why}", param=self._param)


def _port(url: httpx2.URL) -> int:
    return DEFAULT_PORTS[url.scheme] if url.port is None else url.port


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that were checked, and to nothing else. Raises UrlForbidden."""

    def __init__(self, settings: Settings, resolve: Resolve, param: str) -> None:
        self._allowed = [ipaddress.ip_network(network) for network in settings.fetch_allow_network]
        self._resolve = resolve
        self._param = param
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """The first of the host's addresses that takes the connection; all of them must be allowed."""
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in await self._checked_addresses(host, port):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as exc:
                failure = exc
        raise failure

    async def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> NoReturn:
        raise UrlForbidden(f"{self._param} leads to a local socket", param=self._param)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)

    async def _checked_addresses(self, host: str, port: int) -> list[str]:
        try:
            answers = await self._resolve(host, port)
        except (OSError, UnicodeError) as exc:
            raise UrlUnreachable(f"{self._param} leads to {host}, which has no address", param=self._param) from exc
        addresses = list(dict.fromkeys(answers))
        for address in addresses:
            if not is_allowed(ipaddress.ip_address(address), self._allowed):
                # The address stays out of the message: it would tell a caller how our network is laid out.
                raise UrlForbidden(
                    f"{self._param} leads to {host}, which is not on the public Internet", param=self._param
                )
        return addresses
