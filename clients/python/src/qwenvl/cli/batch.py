"""One task over many files: some at a time, a line for each as it is done, and never the same one twice."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from qwenvl.async_client import AsyncClient
from qwenvl.calls import Call, R
from qwenvl.cli.exits import ANSWERED, INTERRUPTED, NO_SERVER, SOME_FAILED, USAGE, UsageError, give, say
from qwenvl.cli.files import expanded, overlay_path, read
from qwenvl.cli.options import Run, Server
from qwenvl.cli.progress import Progress
from qwenvl.cli.store import Store, fingerprint
from qwenvl.errors import (
    AuthenticationError,
    ConnectionFailedError,
    NotFoundError,
    PermissionDeniedError,
    QwenVLError,
    StatusError,
    TimedOutError,
)
from qwenvl.inputs import MediaInput
from qwenvl.results import Document, Extraction, Result


@dataclass(frozen=True)
class Job(Generic[R]):
    """What a command asks of each file, and how its answer reads in words."""

    task: str
    call: Callable[[MediaInput], Call[R, Any]]
    words: Callable[[R], str]
    suffixes: frozenset[str]
    fields: dict[str, Any] = field(default_factory=dict)
    """What is asked, apart from the file."""


def run(job: Job[R], names: Sequence[str], server: Server, how: Run) -> int:
    """Do the job for every file; the exit code."""
    try:
        how.check()
        batch = Batch(job, expanded(names, job.suffixes), server, how)
    except (UsageError, OSError) as exc:
        say(f"qwenvl: {exc}")
        return USAGE
    with contextlib.closing(batch):
        try:
            return asyncio.run(batch.run())
        except KeyboardInterrupt:
            say(f"interrupted: {batch.told()}" + ("; the same command goes on from here" if how.out else ""))
            return INTERRUPTED


class Batch(Generic[R]):
    """A command at work."""

    def __init__(self, job: Job[R], files: Sequence[str], server: Server, how: Run) -> None:
        self._job, self._server, self._how = job, server, how
        self._asked = fingerprint(job.task, job.fields)
        self._store = Store(how.out, self._asked, overwrite=how.overwrite) if how.out else None
        done = self._store.done if self._store else set()
        self._files = [name for name in files if name not in done]
        self._several = len(files) > 1
        self._skipped = len(files) - len(self._files)
        self._answered = self._failed = 0
        self._began_s = time.monotonic()
        self._over: str | None = None

    async def run(self) -> int:
        """The exit code."""
        with ExitStack() as stack:
            progress = stack.enter_context(Progress(len(self._files), self._skipped, quiet=self._how.quiet))
            todo = iter(self._files)
            async with AsyncClient(**self._server.arguments()) as client:
                workers = [self._worker(client, todo, progress) for _ in range(min(self._how.jobs, len(self._files)))]
                await asyncio.gather(*workers)
        if self._over is not None:
            say(f"qwenvl: {self._over}; {self.told()}")
            return NO_SERVER
        if not self._how.quiet and (self._several or self._skipped):
            say(self.told())
        return SOME_FAILED if self._failed else ANSWERED

    def told(self) -> str:
        """What was done, in words."""
        parts = [f"{self._answered} answered", f"{self._failed} failed"]
        parts += [f"{self._skipped} had their answer already"] if self._skipped else []
        return f"{', '.join(parts)}, in {time.monotonic() - self._began_s:.1f} s"

    def close(self) -> None:
        """Close the file of answers."""
        if self._store is not None:
            self._store.close()

    async def _worker(self, client: AsyncClient, todo: Iterator[str], progress: Progress) -> None:
        for name in todo:
            if self._over is not None:
                return
            await self._do(client, name)
            progress.step()

    async def _do(self, client: AsyncClient, name: str) -> None:
        try:
            result = await client.run(self._job.call(read(name)))
        except (QwenVLError, OSError) as exc:
            if _ends_all(exc):
                self._over = str(exc)
                return
            self._failed += 1
            say(f"{name}: {exc}")
            self._write(name, error=_error(exc))
            return
        overlay = await self._drawn(name, result)
        self._answered += 1
        self._write(name, result=result.model_dump(mode="json", exclude_unset=True), overlay=overlay)
        if self._how.text:
            words = self._job.words(result)
            give(f"{name}:\n{words}" if self._several else words)

    def _write(self, name: str, **found: Any) -> None:
        if self._store is None and self._how.text:
            return
        line = {"file": name, "task": self._job.task, "asked": self._asked}
        text = json.dumps(
            {**line, **{key: value for key, value in found.items() if value is not None}}, ensure_ascii=False
        )
        if self._store is not None:
            self._store.add(text)
        else:
            give(text)

    async def _drawn(self, name: str, result: Result) -> list[str] | None:
        """Paths of the overlays, if they are wanted and there is something to draw."""
        if self._how.overlay is None:
            return None
        path = overlay_path(self._how.overlay, name, f".{self._how.overlay_format}")
        try:
            paths = await asyncio.to_thread(_save_overlays, result, path)
        except (ImportError, OSError, QwenVLError, ValueError) as exc:
            say(f"{name}: answered, but not drawn: {exc}")
            return None
        return [str(each) for each in paths] or None


def _save_overlays(result: Result, path: Path) -> list[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(result, Document):
        return result.save_overlays(path.with_suffix(""), path.suffix)
    if isinstance(result, Extraction):
        pages = [result.on_page(page.page) for page in result.pages] if result.evidence else []
        return [page.save_overlay(path.with_suffix(f".{page.page.page}{path.suffix}")) for page in pages]
    save = getattr(result, "save_overlay", None)
    return [save(path)] if save else []


def _ends_all(exc: Exception) -> bool:
    """Whether every other file would fail the same way."""
    if isinstance(exc, ConnectionFailedError):
        return not isinstance(exc, TimedOutError)
    return isinstance(exc, AuthenticationError | PermissionDeniedError | NotFoundError)


def _error(exc: Exception) -> dict[str, Any]:
    if isinstance(exc, StatusError):
        return {"status": exc.status, "request_id": exc.request_id, **exc.error}
    return {"message": str(exc), "code": type(exc).__name__}
