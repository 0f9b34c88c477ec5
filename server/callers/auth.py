"""Who calls: a bearer key, or anyone where no key is set; and what they may ask for.

Guards every path but health and metrics. Does not guard against a stolen key until it is taken out of the file, which
holds from the next look at it (`RELOAD_S`) on; requests that are under way by then finish.

Keys are looked up by their SHA-256: how long a wrong key takes tells of the digest of the guess and not of any key,
because nobody can choose a digest. So there is no byte-by-byte comparison that could be timed. A header with a good key
is looked up as it came from then on, by Python's hash of it, which has a secret of this process in it.
"""

import asyncio
import base64
import contextlib
import ipaddress
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from server.callers.keys import ANYONE, Caller, KeyFile, digest, given, is_expired, new_key
from server.errors import AuthenticationFailed, PermissionDenied, quoted
from server.settings import Settings

log = logging.getLogger(__name__)

RELOAD_S = 1.0
"""Between two looks at the key file."""
BEARER = {"www-authenticate": "Bearer"}
MOST_SEEN = 1024
"""Headers that are remembered, of those that are no longer than a key needs: there are many ways to write one key."""
LONGEST_SEEN_BYTES = 256


class Keys(NamedTuple):
    """The keys that hold at one time. One object, so that what is remembered goes with the keys it was found by."""

    known: Mapping[bytes, Caller]
    """By digest."""
    seen: dict[bytes, Caller]
    """By `Authorization` header: a digest of each request's would cost it 1 us."""


class Auth:
    """Checks the key of a request.

    >>> auth = Auth(["sk-1"])
    >>> auth.caller({b"authorization": b"Bearer sk-1"}).name
    '0f2c10bf3d12'
    >>> Auth([]).caller({}).name
    'anyone'
    """

    def __init__(self, keys: Iterable[str], file: KeyFile | None = None) -> None:
        """Raises OSError or ValueError for a file that cannot be read."""
        self._given = given(keys)
        self._file = file
        self._keys = Keys(self._given, {})
        self._vouched: dict[bytes, Caller] = {}
        self._watch: asyncio.Task[None] | None = None
        self.enabled = bool(self._given) or file is not None
        """Whether a key is asked for. A file without keys in it lets nobody in."""
        if file is not None:
            self.reload()

    def caller(self, headers: Mapping[bytes, bytes]) -> Caller:
        """Whose key it is. Raises AuthenticationFailed."""
        if not self.enabled and not self._vouched:
            return ANYONE
        return self._of_key(headers) if self.enabled else self._vouched_for(headers) or ANYONE

    def _vouched_for(self, headers: Mapping[bytes, bytes]) -> Caller | None:
        _, _, key = headers.get(b"authorization", b"").partition(b" ")
        return self._vouched.get(digest(key))

    def _of_key(self, headers: Mapping[bytes, bytes]) -> Caller:
        keys = self._keys  # which another thread may replace meanwhile
        authorization = headers.get(b"authorization", b"")
        known = keys.seen.get(authorization)
        if known is None:
            known = keys.known.get(digest(_key(authorization)))
            if known is None:
                known = self._vouched_for(headers)
            elif len(keys.seen) < MOST_SEEN and len(authorization) <= LONGEST_SEEN_BYTES:
                keys.seen[authorization] = known
        if known is None:
            raise AuthenticationFailed("the API key is not known here", headers=BEARER)
        if known.expires_s is not None and is_expired(known):
            raise AuthenticationFailed("the API key has expired", headers=BEARER)
        return known

    def named(self, name: str) -> Caller | None:
        """A caller by name, for work that goes on without a request; None when none of his keys is good any more."""
        if not self.enabled:
            return ANYONE
        mine = (known for known in self._keys.known.values() if known.name == name)
        return next((known for known in mine if known.expires_s is None or not is_expired(known)), None)

    @contextlib.contextmanager
    def vouching(self, caller: Caller) -> Iterator[str]:
        """A key that is `caller`'s for as long as the `with` lasts: for what this process asks of itself."""
        key = new_key()
        self._vouched[digest(key.encode())] = caller
        try:
            yield key
        finally:
            del self._vouched[digest(key.encode())]

    def reload(self) -> None:
        """Look at the key file. Raises OSError or ValueError if it cannot be read; the keys stay as they were."""
        if self._file is None:
            return
        read = self._file.read()
        if read is not None:
            self._keys = Keys({**read, **self._given}, {})

    def start(self) -> None:
        """Read the file again whenever it changes, until `close`."""
        if self._file is not None:
            self._watch = asyncio.create_task(self._watch_forever(self._file), name="watch the key file")

    async def close(self) -> None:
        """Stop looking."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch

    async def _watch_forever(self, file: KeyFile) -> None:
        said = ""
        while True:
            await asyncio.sleep(RELOAD_S)
            before = self._keys
            try:
                await asyncio.to_thread(self.reload)
            except (OSError, ValueError) as exc:
                said, before_said = f"{file.path}: {exc}; the keys stay as they were", said
                if said != before_said:
                    log.error("%s", said)
                continue
            said = ""
            if self._keys is not before:
                log.info("%s was read again: %d keys", file.path, len(self._keys.known))


def _key(authorization: bytes) -> bytes:
    """The key in the header. Raises AuthenticationFailed if none is there."""
    scheme, _, key = authorization.partition(b" ")
    scheme = scheme.lower()
    if scheme == b"basic":  # what a browser sends; the name is not looked at
        return _password(key).strip()
    if scheme != b"bearer":
        raise AuthenticationFailed("no API key; send it as 'Authorization: Bearer KEY'", headers=BEARER)
    return key.strip()


def _password(credentials: bytes) -> bytes:
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except ValueError:
        return b""


def check_task(caller: Caller, task: str) -> None:
    """Raises PermissionDenied for a task that the key is not for.

    >>> check_task(Caller("alice", tasks=frozenset({"chat"})), "detect")
    Traceback (most recent call last):
    server.errors.PermissionDenied: the key 'alice' is not for the task 'detect'; it is for chat
    """
    if caller.tasks is not None and task not in caller.tasks:
        raise _denied(caller, "task", task, caller.tasks)


def check_model(caller: Caller, *names: str) -> None:
    """Raises PermissionDenied for a model that the key is not for; one of its `names` (an alias, its own) is enough."""
    if caller.models is not None and caller.models.isdisjoint(names):
        raise _denied(caller, "model", names[0], caller.models)


def check_operator(caller: Caller) -> None:
    """Raises PermissionDenied unless the key is an operator's."""
    if not caller.operator:
        raise PermissionDenied(f"the key {caller.name!r} is not for operators", details={"scope": "operator"})


def _denied(caller: Caller, kind: str, asked: str, allowed: frozenset[str]) -> PermissionDenied:
    those = ", ".join(sorted(allowed)) or "none"
    return PermissionDenied(
        f"the key {caller.name!r} is not for the {kind} {quoted(asked)}; it is for {those}",
        param="model" if kind == "model" else None,
        details={"scope": f"{kind}s"},
    )


def open_auth(settings: Settings, tasks: Iterable[str]) -> Auth:
    """The keys of `settings`. Raises ValueError in words where they cannot be read, or where what is set would let in
    whoever can reach the port without the operator having said so.
    """
    file = KeyFile(Path(settings.keys_file), frozenset(tasks)) if settings.keys_file else None
    try:
        auth = Auth((key.get_secret_value() for key in settings.api_key), file)
    except (OSError, ValueError) as exc:
        raise ValueError(f"keys_file {settings.keys_file}: {exc}" if file else str(exc)) from None
    if settings.auth == "keys" and not auth.enabled:
        raise ValueError("--auth keys needs keys: give --keys-file, or QVL_API_KEY in the environment")
    if settings.auth == "none" and auth.enabled:
        raise ValueError("--auth none and keys are both given; leave one out")
    if not auth.enabled and not is_loopback(settings.host) and not settings.auth_none_anywhere:
        raise ValueError(
            f"host {settings.host} can be reached from other machines and no key is asked for: give --keys-file, or "
            "QVL_API_KEY in the environment; or say --auth-none-anywhere if something else keeps strangers out"
        )
    return auth


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is this machine's alone.

    >>> is_loopback("localhost"), is_loopback("127.0.0.9"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
