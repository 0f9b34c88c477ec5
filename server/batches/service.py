"""What a gateway has of batches: the database, its files, the worker. Nothing is made or opened before it is needed."""

import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from server.batches.batch import Batch
from server.batches.database import Database, open_database
from server.batches.files import Files
from server.batches.inner import App, Reply, ask
from server.batches.ledger import Ledger
from server.batches.worker import Worker
from server.callers.auth import Auth
from server.callers.keys import Caller
from server.errors import AuthenticationFailed
from server.settings import Settings

OFF = "off"


class Batches:
    """Raises ValueError for a store that cannot be."""

    def __init__(self, settings: Settings, auth: Auth, wake_worker: Callable[[], None] | None = None) -> None:
        """`wake_worker` where another process of this server works them off."""
        self._wake_worker = wake_worker
        self._settings = settings
        self._auth = auth
        self._app: App | None = None
        password = settings.batch_store_password
        self.database: Database = open_database(settings.batch_store, password.get_secret_value() if password else None)
        self.files = Files(
            self.database,
            max_bytes=settings.batch_file_max_bytes,
            max_bytes_of_owner=settings.batch_files_max_bytes,
            keep_s=settings.batch_keep_s,
        )
        self._name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.ledger = Ledger(self.database, self._name, keep_s=settings.batch_keep_s)
        self._worker = Worker(
            self.files,
            self.ledger,
            self._ask,
            parallel=settings.batch_parallel,
            most_requests=settings.batch_max_requests,
            is_dead=self._is_dead,
        )

    def bind(self, app: App) -> None:
        """What requests are asked of."""
        self._app = app

    def start(self) -> None:
        """Go on with what an earlier process left, if there is anything."""
        if self._wake_worker is not None:
            return
        store = self._settings.batch_store
        if "://" in store or (Path(store).expanduser() / "batches.sqlite3").exists():
            self._worker.start()

    def wake(self) -> None:
        """A batch is new, or cancelled."""
        if self._wake_worker is not None:
            self._wake_worker()
            return
        self._worker.start()
        self._worker.wake()

    async def close(self) -> None:
        """Put back what is under way."""
        await self._worker.close()
        await self.database.close()

    def _is_dead(self, worker: str) -> bool:
        """Whether a worker of this machine is gone. Of others nothing is known: their leases must run out."""
        host, pid, token = worker.rsplit(":", 2)
        my_host, my_pid, my_token = self._name.rsplit(":", 2)
        if host != my_host:
            return False
        return token != my_token if pid == my_pid else not Path(f"/proc/{pid}").exists()

    async def _ask(self, batch: Batch, request_id: str, body: bytes) -> Reply:
        """In the owner's name, behind all others. Raises AuthenticationFailed when the owner's keys are gone."""
        assert self._app is not None
        owner = self._auth.named(batch.owner)
        if owner is None:
            raise AuthenticationFailed(f"no key of {batch.owner!r} is known here any more")
        with self._auth.vouching(behind_others(owner)) as key:
            headers = {"authorization": f"Bearer {key}", "x-request-id": request_id}
            return await ask(self._app, batch.endpoint, body, headers)


def behind_others(owner: Caller) -> Caller:
    """The owner as admission sees a batch: of the lowest priority, and not counted with what the owner waits for.

    >>> behind_others(Caller("alice", priority="high")).name
    'alice:batch'
    """
    return replace(owner, name=f"{owner.name}:batch", priority="low")
