"""A few processes that decode pictures and clips, each doing one job at a time.

A job that crashes its process, or takes longer than it may, costs that job alone: the process is killed if it still
lives, and another takes its place. Processes are started afresh (not forked): a fork would take locks, sockets and
secrets along.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, BinaryIO

from server.errors import MediaUnreadable
from server.media.jobs import Part, Unpacker, error_from_json, pack, receive

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
"""Where the package `server` lies, for a process that starts with an empty environment."""
MALLOC = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "MALLOC_TOP_PAD_": str(16 << 20),
}
"""For glibc: keep the memory of one picture for the next. Faulting it in anew costs 12 ms for 12 megapixels."""
GRACE_S = 0.5
"""A job whose caller has left may finish for so long; killing it at once would cost a new process for every picture."""
Answer = tuple[dict[str, Any], str]
"""Facts, and the URL for the engine."""


class Workers:
    """The pool. `run` raises what the decoder raised, or MediaUnreadable if it crashed or took too long."""

    def __init__(self, count: int, *, memory_bytes: int, timeout_s: float) -> None:
        self._count = count
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(count)
        # Clips take seconds: they leave one process to pictures, where there is more than one.
        self._clip_places = asyncio.Semaphore(max(1, count - 1))
        self._idle: list[_Process] = []
        self._busy: dict[asyncio.Task[Answer], _Process] = {}
        self._jobs: set[asyncio.Task[Answer]] = set()
        self._endings: set[asyncio.Future[int]] = set()

    def start(self) -> None:
        """Starts every process, so that the first job finds one that has imported what it needs."""
        while len(self._idle) + len(self._busy) < self._count:
            self._idle.append(_Process(self._memory_bytes))

    async def close(self) -> None:
        """Kills every process, busy or not; jobs under way are cancelled."""
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        while self._idle:
            self._end(self._idle.pop())
        await asyncio.gather(*self._endings)

    async def run(self, kind: str, options: Mapping[str, Any], file: BinaryIO, parts: Sequence[Part]) -> Answer:
        """One job. The file stays the caller's to close, at any time; cancelling the caller abandons the job."""
        header = pack({"kind": kind, "options": options, "parts": [astuple(part) for part in parts]})
        descriptor = os.dup(file.fileno())
        job = asyncio.create_task(self._do(header, descriptor, options))
        self._jobs.add(job)
        job.add_done_callback(self._forget)
        # Not in the job: one that is cancelled before its first step never comes to its end.
        job.add_done_callback(lambda _: os.close(descriptor))
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(GRACE_S if job in self._busy else 0, job.cancel)
            raise

    async def _do(self, header: bytes, descriptor: int, options: Mapping[str, Any]) -> Answer:
        if options["noun"] == "video":
            async with self._clip_places, self._places:
                return await self._ask(header, descriptor, options)
        async with self._places:
            return await self._ask(header, descriptor, options)

    async def _ask(self, header: bytes, descriptor: int, options: Mapping[str, Any]) -> Answer:
        process = self._take()
        try:
            async with asyncio.timeout(self._timeout_s):
                reply, url = await process.ask(header, descriptor)
        except TimeoutError as exc:
            self._replace(process)
            raise _unreadable(options, f"took longer to decode than {self._timeout_s:g} s") from exc
        except (OSError, ValueError) as exc:
            self._replace(process)
            logger.error("a decode process ended at a job, exit status %s", process.child.poll())
            raise _unreadable(options, "could not be decoded safely") from exc
        except asyncio.CancelledError:
            self._replace(process)
            raise
        self._idle.append(process)
        if reply.get("trace"):
            logger.warning("a decoder failed:\n%s", reply["trace"])
        if "error" in reply:
            raise error_from_json(reply["error"])
        return reply["facts"], url

    def _take(self) -> "_Process":
        """An idle process that lives, or a new one; it is this task's until it is given back."""
        process = self._idle.pop() if self._idle else _Process(self._memory_bytes)
        if process.child.poll() is not None:
            self._end(process)
            process = _Process(self._memory_bytes)
        job = asyncio.current_task()
        assert job is not None
        self._busy[job] = process
        return process

    def _replace(self, process: "_Process") -> None:
        self._end(process)
        self._idle.append(_Process(self._memory_bytes))

    def _end(self, process: "_Process") -> None:
        """Kills it; waits in a thread, because freeing gigabytes takes a while."""
        process.kill()
        ending = asyncio.get_running_loop().run_in_executor(None, process.child.wait)
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    def _forget(self, job: asyncio.Task[Answer]) -> None:
        self._jobs.discard(job)
        self._busy.pop(job, None)
        if not job.cancelled():
            job.exception()  # a caller who has left does not ask


class _Process:
    """One child and the socket to it."""

    def __init__(self, memory_bytes: int) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        with theirs:
            self.child = subprocess.Popen(  # noqa: S603  our own interpreter and module
                [sys.executable, "-P", "-s", "-m", "server.media.worker", str(memory_bytes)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", **MALLOC},
                start_new_session=True,
            )

    async def ask(self, header: bytes, descriptor: int) -> tuple[dict[str, Any], str]:
        """The reply's header and URL. Raises OSError if the child dies over it."""
        loop = asyncio.get_running_loop()
        # A header is kilobytes and the child reads before it answers: it fits the socket's buffer whole.
        socket.send_fds(self._socket, [header], [descriptor])
        replied: asyncio.Future[tuple[dict[str, Any], str]] = loop.create_future()
        with Unpacker() as unpacker:
            loop.add_reader(self._socket, self._on_readable, unpacker, replied)
            try:
                return await replied
            finally:
                loop.remove_reader(self._socket)

    def kill(self) -> None:
        self.child.kill()
        self._socket.close()

    def _on_readable(self, unpacker: Unpacker, replied: "asyncio.Future[tuple[dict[str, Any], str]]") -> None:
        if replied.done():
            return
        try:
            data, files = receive(self._socket)
            if not data:
                raise ConnectionResetError("the decode process is gone")
            reply = unpacker.feed(data, files)
            if reply is not None:
                replied.set_result((reply, _url(unpacker) if "facts" in reply else ""))
        except BlockingIOError:
            return
        except (OSError, ValueError) as exc:
            replied.set_exception(exc)


def _url(unpacker: Unpacker) -> str:
    """Read and not mapped: a child gone wrong could shorten the file under a map, which would kill us."""
    with unpacker.take_file() as file:
        file.seek(0)
        return file.read().decode("ascii")


def _unreadable(options: Mapping[str, Any], why: str) -> MediaUnreadable:
    return MediaUnreadable(f"{options['param']} {why}", param=options["param"], code=f"{options['noun']}_unreadable")
