"""API keys: what is kept of them, what each may do, and the file they are in.

A key is 32 random bytes in base64, made by `python -m server keys new` and shown once. The file holds its SHA-256
alone. A slow hash (scrypt, argon2) protects secrets that people choose, which can be guessed; 256 random bits cannot,
and 50 ms a check would be a way to stop the server. So a key of one's own making belongs nowhere but in `--api-key`'s
variable, if anywhere.

The file is TOML, a table a key; the same name may stand several times, which is how a key is replaced without a gap:

    [[key]]
    name = "alice"
    hash = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    tasks = ["chat", "detect"]     # left out: all
    models = ["qwen2.5-vl"]        # left out: all
    requests_per_minute = 600
"""

import hashlib
import os
import secrets
import time
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from datetime import time as clock
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.errors import quoted

PREFIX = "sk-qvl-"
"""Of keys made here, for people and for programs that look for secrets in places where none should be."""
HASH_PREFIX = "sha256:"
Priority = Literal["high", "normal", "low"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")]
AtLeastOne = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may."""

    name: str
    """Safe to log; callers of the same name share limits, usage and the engine's cache."""
    tasks: frozenset[str] | None = None
    """What may be asked for: task names, `chat`, `completions`, `responses`, `tokenize`; None: everything."""
    models: frozenset[str] | None = None
    priority: Priority = "normal"
    share: float = 1
    concurrent: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    operator: bool = False
    """May see the status page and everyone's usage."""
    expires_s: float | None = None
    cache_salt: str = ""
    """Keeps the engine's prefix cache apart from other callers'; empty where no keys are in use."""


ANYONE = Caller("anyone", operator=True)
"""The caller where no keys are in use."""


class KeyRow(BaseModel):
    """A key as the file has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    hash: Annotated[str, Field(pattern=rf"^{HASH_PREFIX}[0-9a-f]{{64}}$")]
    tasks: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    priority: Priority = "normal"
    share: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1
    concurrent: AtLeastOne | None = None
    requests_per_minute: AtLeastOne | None = None
    tokens_per_minute: AtLeastOne | None = None
    operator: bool = False
    expires: date | datetime | None = None

    def caller(self) -> Caller:
        """Who presents this key."""
        return Caller(
            name=self.name,
            tasks=None if self.tasks is None else frozenset(self.tasks),
            models=None if self.models is None else frozenset(self.models),
            priority=self.priority,
            share=self.share,
            concurrent=self.concurrent,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            operator=self.operator,
            expires_s=None if self.expires is None else _timestamp(self.expires),
            cache_salt=cache_salt(self.name),
        )


def _timestamp(expires: date) -> float:
    """The end of a day, or the moment; without a time zone it is UTC's.

    >>> _timestamp(date(1970, 1, 1)), _timestamp(datetime(1970, 1, 1, 1))
    (86400.0, 3600.0)
    """
    if isinstance(expires, datetime):
        return (expires if expires.tzinfo else expires.replace(tzinfo=UTC)).timestamp()
    return datetime.combine(expires, clock(), UTC).timestamp() + 86400


def cache_salt(name: str) -> str:
    """What vLLM mixes into the hashes of a caller's prefixes, the same on every gateway.

    It need not be secret: a request's own `cache_salt` never reaches the engine (`rewrite.STRIPPED`).
    """
    return hashlib.blake2b(name.encode(), digest_size=16, person=b"cache salt").hexdigest()


def new_key() -> str:
    """A key that nobody can guess."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: bytes) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key).digest()


def hashed(key: str) -> str:
    """A key as the file and the environment may hold it.

    >>> hashed("abc")[:23]
    'sha256:ba7816bf8f01cfea'
    """
    return HASH_PREFIX + digest(key.encode()).hex()


def is_plain(entry: str) -> bool:
    """Whether an entry of `--api-key` is a key itself, and not the hash of one.

    >>> is_plain("sk-1"), is_plain(hashed("sk-1")), is_plain("alice=" + hashed("sk-1"))
    (True, False, False)
    """
    return not entry.rpartition("=")[2].startswith(HASH_PREFIX)


def given(entries: Iterable[str]) -> dict[bytes, Caller]:
    """The keys of `--api-key`: each a key, its hash, or `name=hash`. They may do everything.

    Raises ValueError for a hash that is none, without repeating it.
    """
    found = {}
    for place, entry in enumerate(entries):
        if is_plain(entry):
            name, hash_bytes = "", digest(entry.encode())
        else:
            name, _, text = entry.rpartition("=")
            hash_bytes = _hash_bytes(text, f"api_key {place + 1}")
        name = name or hash_bytes.hex()[:12]
        found[hash_bytes] = Caller(name, operator=True, cache_salt=cache_salt(name))
    return found


def _hash_bytes(text: str, what: str) -> bytes:
    try:
        found = bytes.fromhex(text.removeprefix(HASH_PREFIX))
    except ValueError:
        found = b""
    if len(found) != 32:
        raise ValueError(f"{what}: after {HASH_PREFIX} must come 64 hexadecimal digits")
    return found


def read_rows(text: str) -> list[KeyRow]:
    """The rows of a key file. Raises ValueError in words that name the place and never repeat a value.

    >>> read_rows('[[key]]\\nname = "alice"\\nhash = "secret"')
    Traceback (most recent call last):
    ValueError: key 1, hash: String should match pattern '^sha256:[0-9a-f]{64}$'
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ValueError(f"not TOML: {exc}") from None
    unknown = document.keys() - {"key"}
    if unknown:
        raise ValueError(f"{quoted(sorted(unknown)[0])} is no table of a key file; keys are [[key]]")
    tables = document.get("key", [])
    if not isinstance(tables, list):
        raise ValueError("keys are written [[key]], with two brackets")
    return [_row(table, place) for place, table in enumerate(tables)]


def _row(table: Any, place: int) -> KeyRow:
    try:
        return KeyRow.model_validate(table)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"key {place + 1}, {where}: {first['msg']}") from None


def callers(rows: Iterable[KeyRow], tasks: frozenset[str]) -> dict[bytes, Caller]:
    """Digest -> who presents it. Raises ValueError for a task that is not among `tasks`, or a hash given twice."""
    found: dict[bytes, Caller] = {}
    for row in rows:
        unknown = sorted(set(row.tasks or ()) - tasks)
        if unknown:
            known = ", ".join(sorted(tasks))
            raise ValueError(f"key {row.name!r} names the task {quoted(unknown[0])}; there are {known}")
        hash_bytes = bytes.fromhex(row.hash.removeprefix(HASH_PREFIX))
        if hash_bytes in found:
            raise ValueError(f"key {row.name!r} has the same hash as {found[hash_bytes].name!r}")
        found[hash_bytes] = row.caller()
    return found


class KeyFile:
    """The keys of a file, read again when it changes."""

    def __init__(self, path: Path, tasks: frozenset[str]) -> None:
        self.path = path
        self._tasks = tasks
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> Mapping[bytes, Caller] | None:
        """The keys; None when the file is as it was. Raises OSError and ValueError, each once for one state of it."""
        status = os.stat(self.path)  # noqa: PTH116  # of the file behind a link: Kubernetes swaps the link
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen == self._seen:
            return None
        self._seen = seen
        return callers(read_rows(self.path.read_text()), self._tasks)


def is_expired(caller: Caller) -> bool:
    """Whether the key's time is over."""
    return caller.expires_s is not None and time.time() >= caller.expires_s
