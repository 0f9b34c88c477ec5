"""Starts vLLM as a child, waits until it is ready, brings it back when it dies, takes it down with us.

    engine, settings = launch(settings, on_progress=print)  # chooses model and flags; the model's pixel limits hold
    await engine.start()  # returns at once; the engine will be at `engine.url`
    await engine.wait_ready()  # raises EngineUnavailable with the reason if it was given up
    await engine.stop()

Between us and vLLM stands `guard.py`, so that nothing is left behind whoever is killed. Standard library only.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from server.engines import guard
from server.engines.checkpoints import fitted, problem
from server.engines.deaths import Death, why
from server.engines.hardware import detect_gpus
from server.engines.logs import Progress, is_noise, lines_of
from server.engines.profiles import choose_model, profile
from server.engines.unix import is_healthy, new_folder
from server.errors import EngineUnavailable
from server.settings import Settings

log = logging.getLogger(__name__)

State = Literal["starting", "ready", "failed", "stopped"]
LOG_TAIL_LINES = 400
POLL_S = 0.2
PROGRESS_S = 10.0
CPU_STALL_S = 30.0
"""`engine_stall_s` on a CPU, where one step of a large prompt can take long."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, and how often to try."""

    start_timeout_s: float = 1800
    stop_grace_s: float = 10
    first_backoff_s: float = 1
    most_backoff_s: float = 60
    steady_s: float = 60
    """An engine that lived so long after it was ready starts the backoff anew."""
    first_tries: int = 3
    """An engine that was never ready is given up after so many deaths."""


class EngineProcess:
    """One vLLM on a Unix socket, kept alive. Not safe to share between event loops."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        name: str = "engine",
        patience: Patience | None = None,
        on_progress: Callable[[str], None] = log.info,
        on_log: Callable[[str], None] | None = None,
    ) -> None:
        """`command` starts the engine; `--uds PATH` and the folder that it may take pictures from are added.
        `environment` fills in what ours does not set.
        """
        self.name = name
        self.state: State = "stopped"
        self.reason: str | None = None
        """Why it is not ready, or why it last died; None if it never did."""
        self.restarts = 0
        self.folder = new_folder()
        self.shared = self.folder / "shared"
        """Where it takes pictures from, by `file:` URLs; see `media/handover.py`."""
        self._command = [
            *command,
            *("--uds", str(self.folder / "engine.sock"), "--allowed-local-media-path", str(self.shared)),
        ]
        self._environment = dict(environment)
        self._patience = patience or Patience()
        self._on_progress = on_progress
        self.on_log = on_log or _to_stderr(name)
        self._tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)
        self._guard: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self._stopping = asyncio.Event()
        self._progress = Progress()

    @property
    def url(self) -> str:
        """`unix:/path`; the same across restarts, and known before the start."""
        return f"unix:{self.folder / 'engine.sock'}"

    @property
    def pid(self) -> int | None:
        """The guard's process id while there is one; vLLM's processes descend from it."""
        return self._guard.pid if self._guard is not None and self._guard.returncode is None else None

    async def start(self) -> None:
        """Begin; returns before the engine is ready."""
        assert self._supervisor is None, "start() is for once"
        self.folder.mkdir(mode=0o700)
        self.shared.mkdir()
        self.state = "starting"
        self._supervisor = asyncio.create_task(self._supervise(), name=f"supervise {self.name}")

    async def wait_ready(self) -> None:
        """Returns when the engine answers; raises EngineUnavailable when it was given up or stopped."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.state != "starting")
        if self.state != "ready":
            raise EngineUnavailable(f"{self.name}: {self.reason or 'it was stopped'}")

    async def restart(self, reason: str) -> None:
        """End the present process, stuck perhaps, so that the next one starts."""
        self._on_progress(f"{self.name}: restarting it: {reason}")
        self._signal(signal.SIGTERM)

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after the grace; nothing of the engine is left when this returns."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        if self._supervisor is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        if self.state != "failed":
            await self._become("stopped")

    # -- one life after another -------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        deaths_in_a_row, was_ever_ready = 0, False
        try:
            while not self._stopping.is_set():
                await self._become("starting")
                ready_s, death = await self._live()
                if self._stopping.is_set():
                    return
                was_ever_ready |= ready_s > 0
                deaths_in_a_row = 1 if ready_s > self._patience.steady_s else deaths_in_a_row + 1
                self.reason = death.reason
                if not was_ever_ready and (death.lasts or deaths_in_a_row >= self._patience.first_tries):
                    await self._become("failed")
                    return
                self.restarts += 1
                await self._back_off(deaths_in_a_row)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _back_off(self, deaths_in_a_row: int) -> None:
        wait_s = min(self._patience.first_backoff_s * 2 ** (deaths_in_a_row - 1), self._patience.most_backoff_s)
        await self._become("starting")
        self._on_progress(f"{self.name}: {self.reason}; starting it again in {wait_s:g} s")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), wait_s)

    async def _live(self) -> tuple[float, Death]:
        """From start to death: how many seconds it was ready, and why it died."""
        self._tail.clear()
        self._progress = Progress()
        (self.folder / "engine.sock").unlink(missing_ok=True)
        started = time.monotonic()
        process = self._guard = await self._spawn()
        reader = asyncio.create_task(self._read_log(process))
        ended = asyncio.create_task(process.wait())
        too_slow = None
        try:
            ready_at = await self._until_ready(ended, started)
            if ready_at is None and not ended.done():
                self._signal(signal.SIGTERM)
                if not self._stopping.is_set():
                    too_slow = f"it was not ready within {self._patience.start_timeout_s:g} s"
            status = await self._until_ended(process, ended)
            await self._become("starting")
            guard.end_family(process.pid)  # the guard has done it, unless it was killed itself
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader, 2)
        finally:
            reader.cancel()
            if process.returncode is None:
                process.kill()
            guard.end_family(process.pid)
        death = (
            Death(too_slow, lasts=False) if too_slow else why(self._tail, status, while_serving=ready_at is not None)
        )
        return (time.monotonic() - ready_at if ready_at else 0.0), death

    async def _spawn(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", guard.__file__, "--parent", str(os.getpid())),
            *("--scratch", str(self.folder / "tmp"), "--also-remove", str(self.folder)),
            *(word for name, value in self._environment.items() for word in ("--env", f"{name}={value}")),
            *("--grace", str(self._patience.stop_grace_s), "--", *self._command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in a terminal reaches us; the engine is stopped by us, in order
        )

    async def _until_ready(self, ended: asyncio.Task[int], started: float) -> float | None:
        """The moment it became ready; None if it ended, took too long, or is to stop."""
        next_progress, told = started + PROGRESS_S, ""
        while not ended.done() and not self._stopping.is_set():
            if await is_healthy(self.folder / "engine.sock"):
                await self._become("ready")
                self._on_progress(f"{self.name}: ready, {time.monotonic() - started:.0f} s")
                return time.monotonic()
            now = time.monotonic()
            if now - started > self._patience.start_timeout_s:
                return None
            phase = self._progress.phase
            if phase != told or now > next_progress:
                self._on_progress(f"{self.name}: {phase}, {now - started:.0f} s")
                next_progress, told = now + PROGRESS_S, phase
            await asyncio.wait([ended], timeout=POLL_S)
        return None

    async def _until_ended(self, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> int:
        """The exit status as a shell counts it. A guard that does not end in time after a stop is killed."""
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            await asyncio.wait([ended], timeout=self._patience.stop_grace_s + guard.END_S + 1)
            if not ended.done():
                process.kill()
        status = await ended
        return status if status >= 0 else 128 - status

    # -- small parts ------------------------------------------------------------------------------------------------

    async def _become(self, state: State) -> None:
        async with self._changed:
            self.state = state
            self._changed.notify_all()

    def _signal(self, number: int) -> None:
        if self._guard is not None and self._guard.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._guard.send_signal(number)

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in lines_of(process.stdout):
            self._tail.append(line)
            self._progress.read(line)
            if not is_noise(line) and not self._stopping.is_set():  # ended by us, it complains at length
                self.on_log(line)


def launch(settings: Settings, on_progress: Callable[[str], None] = log.info) -> tuple[EngineProcess, Settings]:
    """The engine that these settings ask for, not yet started, and the settings with pixel limits that its model keeps.

    Raises EngineUnavailable for what cannot start at all. Asks nvidia-smi, which can take a second.
    """
    gpus = detect_gpus()
    model, reason = (settings.model, "as asked") if settings.model else choose_model(gpus)
    if trouble := problem(settings, model):
        raise EngineUnavailable(trouble)
    settings = fitted(settings, model)
    if not gpus and "engine_stall_s" not in settings.model_fields_set:
        settings = settings.model_copy(update={"engine_stall_s": CPU_STALL_S})
    chosen = profile(model, gpus, settings)
    on_progress(f"engine: {model} ({reason})")
    for why_this in chosen.reasons:
        log.debug("engine: %s", why_this)
    engine = EngineProcess(
        [settings.engine_python, *chosen.args],
        chosen.env,
        patience=Patience(start_timeout_s=settings.engine_start_timeout_s),
        on_progress=on_progress,
    )
    return engine, settings


def _to_stderr(name: str) -> Callable[[str], None]:
    def write(line: str) -> None:
        sys.stderr.write(f"{name} | {line}\n")

    return write
