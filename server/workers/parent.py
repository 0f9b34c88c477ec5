"""Starts the workers, brings back those that die, hands them connections, decides for them what they share, and takes
them down in order.
"""

import asyncio
import contextlib
import logging
import math
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from server.callers.places import expose
from server.seeing import metrics
from server.settings import Settings
from server.workers.desk import Office
from server.workers.line import Handlers, LineEnded
from server.workers.parts import Part, left_by, parent_part, stuck
from server.workers.process import Process
from server.workers.reception import Reception, bind

log = logging.getLogger(__name__)

FIRST_BACKOFF_S, MOST_BACKOFF_S = 0.5, 30.0
STEADY_S = 30.0
"""A worker that lived so long starts the backoff anew."""
FIRST_TRIES = 3
"""Where no worker was ever ready, one that was killed so often is given up, and with it the server; one that ends by
itself at once: it would again."""
WATCH_S = 1.0
QUIET_S = 6.0
"""A worker that says nothing for so long, though it reports every two seconds, gets no connections while others do."""
HUNG_S = 60.0
"""And after so long it is killed: another one takes its place."""
PART_S = 2.0
"""Longest wait for a worker to tell of itself; of one that does not, what it told last counts."""
ANSWER_S = 5.0
"""And for it to do something."""
LAST_STEPS_S = 15.0
"""What a worker has beyond `leave_limit_s`, to put batches back and to write what is left."""


class Parent:
    """The first process of several. `serve` runs until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        engine_urls: Sequence[str],
        shared: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """As `create_server` has them; `environment` is that of the workers, None: our own."""
        self.started = False
        self.listening = asyncio.Event()
        self._settings = settings
        self._begun_s = time.monotonic()
        self._office = Office(settings)
        self._orders = {
            "settings": orders(settings, len(os.sched_getaffinity(0))),
            "engine_urls": list(engine_urls),
            "shared": None if shared is None else str(shared),
        }
        self._environment = environment
        self._drained: set[str] = set()
        self._processes: dict[int, Process] = {}
        self._gone: Part = left_by([])
        """What those have counted that are gone."""
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._signals: list[signal.Signals] = []
        expose(self._office.admission)
        metrics.WORKERS.read = lambda: iter([((), sum(each.ready for each in self._processes.values()))])

    @property
    def should_exit(self) -> bool:
        """Whether it is told to stop."""
        return self._stopping.is_set()

    @should_exit.setter
    def should_exit(self, stop: bool) -> None:
        if stop:
            self._stopping.set()

    async def serve(self) -> None:
        """Listen, until told to stop; nothing of the workers is left when this returns."""
        try:
            sockets = bind(self._settings.host, self._settings.port)
        except OSError as exc:
            log.error("cannot listen on %s:%d: %s", self._settings.host, self._settings.port, exc)
            return
        self._reception = Reception(sockets, self._takers)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._told, number)
        keepers = [asyncio.create_task(self._keep(place)) for place in range(self._settings.workers)]
        for keeper in keepers:
            keeper.add_done_callback(lambda _: self._stopping.set())
        watch = asyncio.create_task(self._watch())
        try:
            await self._stopping.wait()
            await self._leave(keepers)
        finally:
            watch.cancel()
            await self._office.close()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def look(self) -> None:
        """Let every worker see now which engines are ready."""
        await self._ask_all("look")

    def stuck(self, url: str) -> tuple[float, str]:
        """For how long an engine is stuck, as a worker sees it who gets no answers, and why; 0 where it is not."""
        return stuck((process.part for process in self._processes.values() if process.part), url)

    # -- workers that come and go -------------------------------------------------------------------------------------
    async def _keep(self, place: int) -> None:
        """One worker after another."""
        deaths_in_a_row = 0
        while not self._stopping.is_set():
            begun_s = time.monotonic()
            process = self._processes[place] = Process(place, self._office, self._handlers)
            its_orders = {**self._orders, "place": place, "drained": sorted(self._drained)}
            await process.start(its_orders, self._environment)
            if self._stopping.is_set():
                process.tell_to_leave(signal.SIGTERM)
            status = await process.wait()
            del self._processes[place]
            self._gone = left_by([self._gone, process.part] if process.part else [self._gone])
            if self._stopping.is_set():
                return
            deaths_in_a_row = 1 if time.monotonic() - begun_s > STEADY_S else deaths_in_a_row + 1
            if not self.started and (status > 0 or deaths_in_a_row >= FIRST_TRIES):
                log.error("worker %d cannot start; the log above says why", place)
                self.should_exit = True
                return
            wait_s = min(FIRST_BACKOFF_S * 2 ** (deaths_in_a_row - 1), MOST_BACKOFF_S)
            metrics.WORKER_DEATHS.add()
            why = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            log.error("worker %d (process %d) %s; another starts in %g s", place, process.pid, why, wait_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_s)

    async def _watch(self) -> None:
        """Kill workers that hang, but not those that were held together with us: a container may be paused."""
        loop = asyncio.get_running_loop()
        looked_s = patient_until_s = loop.time()
        while True:
            await asyncio.sleep(WATCH_S)
            if loop.time() - looked_s > QUIET_S:
                patient_until_s = loop.time() + QUIET_S
            looked_s = loop.time()
            if looked_s < patient_until_s:
                continue
            for process in tuple(self._processes.values()):
                if process.ready and self._silence_s(process) > HUNG_S:
                    log.error("worker %d says nothing for %g s; it is killed", process.place, HUNG_S)
                    process.tell_to_leave(signal.SIGKILL)

    def _takers(self) -> list[Process]:
        ready = [process for process in self._processes.values() if process.ready]
        return sorted(ready, key=lambda each: (self._silence_s(each) > QUIET_S, each.burden, each.handed_s))

    def _silence_s(self, process: Process) -> float:
        return asyncio.get_running_loop().time() - process.line.heard_s

    # -- leaving ------------------------------------------------------------------------------------------------------
    def _told(self, number: signal.Signals) -> None:
        """By a signal: the workers get the same one, the second like the first."""
        if self.should_exit and number == signal.SIGINT:
            self._hurry.set()
        self._signals.append(number)
        self.should_exit = True
        for process in self._processes.values():
            process.tell_to_leave(number)

    async def _leave(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        """As `server.edge.leaving` has it; the doors stay open until everybody who has connected is handed over."""
        settings = self._settings
        if not self._signals:
            self._told(signal.SIGTERM)
        if self._signals[0] != signal.SIGINT:  # a person at a terminal has no load balancer
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), settings.leave_delay_s)
        await self._reception.close()
        for process in self._processes.values():
            process.close_door()
        await asyncio.wait(keepers, timeout=settings.leave_limit_s + LAST_STEPS_S)
        for process in self._processes.values():
            process.tell_to_leave(signal.SIGKILL)
        await asyncio.gather(*keepers)

    # -- what workers ask ---------------------------------------------------------------------------------------------
    def _handlers(self, process: Process) -> Handlers:
        return {
            "ready": lambda: self._became_ready(process),
            "leaving": lambda: self._is_leaving(process),
            "closed": lambda: self._closed(process),
            "report": lambda part: self._reported(process, part),
            "parts": self._parts,
            "drain": self._drain,
            "wake batches": self._wake_batches,
        }

    def _became_ready(self, process: Process) -> None:
        process.ready = True
        if self.should_exit:
            return
        self.started = True
        self._reception.open()
        if sum(each.ready for each in self._processes.values()) == self._settings.workers:
            self.listening.set()

    def _is_leaving(self, process: Process) -> None:
        if not self.should_exit:  # told by somebody else: another one will take its place
            process.close_door()

    def _closed(self, process: Process) -> None:
        process.connections -= 1

    def _reported(self, process: Process, part: Part) -> None:
        process.part = part

    async def _parts(self) -> list[Part]:
        """Of all, the dead among them."""

        async def ask(process: Process) -> None:
            with contextlib.suppress(LineEnded, TimeoutError):
                async with asyncio.timeout(PART_S):
                    process.part = await process.line.call("part")

        await asyncio.gather(*(ask(process) for process in self._processes.values() if process.ready))
        told = [process.part for process in self._processes.values() if process.part]
        return [parent_part(self._office.admission, self._begun_s), self._gone, *told]

    async def _drain(self, url: str, drained: bool) -> bool:
        (self._drained.add if drained else self._drained.discard)(url)
        found = any(await self._ask_all("drain", url, drained))
        if not found:
            self._drained.discard(url)
        return found

    def _wake_batches(self) -> None:
        if (first := self._processes.get(0)) is not None and first.ready:
            first.line.tell("wake batches")

    async def _ask_all(self, name: str, *values: Any) -> list[Any]:
        """What every worker answers that does in time."""

        async def ask(process: Process) -> Any:
            async with asyncio.timeout(ANSWER_S):
                return await process.line.call(name, *values)

        ready = [process for process in self._processes.values() if process.ready]
        answers = await asyncio.gather(*map(ask, ready), return_exceptions=True)
        return [answer for answer in answers if not isinstance(answer, BaseException)]


def orders(settings: Settings, cores: int) -> dict[str, Any]:
    """The settings of one worker, as JSON: what cannot be shared is split.

    >>> split = orders(Settings(workers=4, engine_connections=10, api_key=["sk-1"]), cores=16)
    >>> split["workers"], split["media_workers"], split["engine_connections"], split["api_key"]
    (1, 4, 3, ['sk-1'])
    """
    values = {name: _revealed(value) for name, value in settings.model_dump().items()}
    return {
        **values,
        "workers": 1,
        "media_workers": math.ceil((settings.media_workers or cores) / settings.workers),
        "engine_connections": math.ceil(settings.engine_connections / settings.workers),
    }


def _revealed(value: Any) -> Any:
    if isinstance(value, list):
        return [_revealed(item) for item in value]
    return value.get_secret_value() if isinstance(value, SecretStr) else value
