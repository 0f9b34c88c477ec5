"""A database in a thread: SQLite by default, Postgres where several gateways share one. Plain SQL that both take.

    database = open_database(".cache/batches")          # a folder; or postgresql://user@host/name
    rows = await database.run(lambda sql: sql("SELECT id FROM files WHERE owner = ?", "alice"))

`run` hands its function to one thread, inside one transaction. A connection that is lost is made anew once; what was
not committed is then done again, so functions must do nothing but SQL.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from server.errors import InternalError

log = logging.getLogger(__name__)

T = TypeVar("T")
Row = tuple[Any, ...]
Sql = Callable[..., list[Row]]
"""sql(statement, *values) -> rows."""
BUSY_S = 30
"""How long another process may hold SQLite's file."""

TABLES = (
    """CREATE TABLE IF NOT EXISTS files (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL, purpose TEXT NOT NULL, filename TEXT NOT NULL,
        bytes BIGINT NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT, is_whole INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS chunks (
        file_id TEXT NOT NULL, place INTEGER NOT NULL, data {blob} NOT NULL, PRIMARY KEY (file_id, place))""",
    """CREATE TABLE IF NOT EXISTS batches (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL, status TEXT NOT NULL, endpoint TEXT NOT NULL,
        input_file_id TEXT NOT NULL, completion_window TEXT NOT NULL, metadata TEXT NOT NULL, keep_s BIGINT,
        created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, times TEXT NOT NULL, errors TEXT NOT NULL,
        output_file_id TEXT, error_file_id TEXT, model TEXT,
        total INTEGER NOT NULL, completed INTEGER NOT NULL, failed INTEGER NOT NULL,
        tokens_in BIGINT NOT NULL, tokens_out BIGINT NOT NULL, lease_until DOUBLE PRECISION NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS requests (
        batch_id TEXT NOT NULL, place INTEGER NOT NULL, custom_id TEXT NOT NULL, first_byte BIGINT NOT NULL,
        bytes BIGINT NOT NULL, state TEXT NOT NULL, worker TEXT NOT NULL, lease_until DOUBLE PRECISION NOT NULL,
        not_before DOUBLE PRECISION NOT NULL, tries INTEGER NOT NULL, is_ok INTEGER NOT NULL, answer {blob},
        PRIMARY KEY (batch_id, place))""",
    "CREATE INDEX IF NOT EXISTS requests_by_state ON requests (batch_id, state, place)",
    "CREATE INDEX IF NOT EXISTS files_by_owner ON files (owner, id)",
    "CREATE INDEX IF NOT EXISTS batches_by_owner ON batches (owner, id)",
)


class Kind(Protocol):
    """What differs between databases."""

    lost: tuple[type[Exception], ...]
    """What a broken connection raises."""

    def connect(self) -> Any:
        """A DB-API connection with the tables in it."""

    def begin(self, connection: Any) -> None:
        """Start a transaction that no other overtakes in writing."""


class Sqlite:
    """A file in a folder, which is made when it is first needed."""

    lost: tuple[type[Exception], ...] = ()

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def connect(self) -> sqlite3.Connection:
        """See `Kind.connect`."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        connection = sqlite3.connect(
            self._folder / "batches.sqlite3", timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        # What is committed survives this process at any moment; a power cut may cost the last seconds.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        for table in TABLES:
            connection.execute(table.format(blob="BLOB"))
        return connection

    def begin(self, connection: sqlite3.Connection) -> None:
        """See `Kind.begin`."""
        connection.execute("BEGIN IMMEDIATE")


class Postgres:
    """A database that several gateways share, through pg8000."""

    def __init__(self, url: str, password: str | None) -> None:
        """Raises ValueError without pg8000."""
        try:
            import pg8000.dbapi as driver
        except ImportError:
            raise ValueError("batch_store is Postgres, which needs pg8000: install the extra `postgres`") from None
        driver.paramstyle = "qmark"
        self._driver = driver
        self.lost: tuple[type[Exception], ...] = (driver.InterfaceError, OSError)
        parts = urlsplit(url)
        self._where = {
            "user": parts.username,
            "password": password,
            "host": parts.hostname,
            "port": parts.port or 5432,
            "database": parts.path.lstrip("/"),
        }

    def connect(self) -> Any:
        """See `Kind.connect`."""
        connection = self._driver.connect(**self._where, timeout=BUSY_S)
        cursor = connection.cursor()
        cursor.execute("SELECT pg_advisory_xact_lock(7126490)")  # two gateways that make the tables at once collide
        for table in TABLES:
            cursor.execute(table.format(blob="BYTEA"))
        connection.commit()
        return connection

    def begin(self, connection: Any) -> None:
        """See `Kind.begin`: the driver starts one by itself."""


class Database:
    """One connection and the thread that has it; made when it is first used."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._connection: Any = None

    async def run(self, work: Callable[[Sql], T]) -> T:
        """What `work(sql)` returns; all of it happens, or nothing. Raises InternalError where the database is away."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    async def close(self) -> None:
        """Let the last one finish."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown()

    def _run(self, work: Callable[[Sql], T]) -> T:
        try:
            return self._try(work)
        except self._kind.lost as exc:
            log.warning("the database's connection was lost (%s); trying again", type(exc).__name__)
            self._drop()
        try:
            return self._try(work)
        except self._kind.lost as exc:
            self._drop()
            raise _away(exc) from exc

    def _try(self, work: Callable[[Sql], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._kind.connect()
        except (OSError, sqlite3.Error) as exc:
            raise _away(exc) from exc
        with self._transaction() as sql:
            return work(sql)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Sql]:
        connection = self._connection
        self._kind.begin(connection)
        cursor = connection.cursor()

        def sql(statement: str, *values: Any) -> list[Row]:
            cursor.execute(statement, values)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

        try:
            yield sql
        except BaseException:
            with contextlib.suppress(*self._kind.lost, sqlite3.Error):
                connection.rollback()
            raise
        connection.commit()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


def _away(exc: Exception) -> InternalError:
    log.error("the database of files and batches cannot be used: %s", exc)
    return InternalError("files and batches cannot be reached now; the server's log says why")


def open_database(store: str, password: str | None = None) -> Database:
    """The database that `batch_store` names. Raises ValueError for one that cannot be.

    >>> open_database("postgresql://me:secret@host/name")
    Traceback (most recent call last):
    ValueError: batch_store holds a password; give it as batch_store_password
    """
    if store.startswith(("postgresql://", "postgres://")):
        if urlsplit(store).password:
            raise ValueError("batch_store holds a password; give it as batch_store_password")
        return Database(Postgres(store, password))
    return Database(Sqlite(Path(store).expanduser()))
