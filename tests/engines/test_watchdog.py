"""An engine of our own that stands still is started anew."""

import asyncio
import os
import signal
import sys

from server.engines.guard import family
from server.engines.launcher import EngineProcess, Patience
from server.engines.pool import Pool
from server.engines.watchdog import restart_when_stuck
from server.settings import Settings
from tests.conftest import until

QUICK = Patience(start_timeout_s=20, stop_grace_s=0.2, first_backoff_s=0.05)


async def test_an_engine_that_stands_still_is_started_anew_once() -> None:
    command = [sys.executable, "-m", "benchmarks.overhead.mock"]
    process = EngineProcess(command, {}, patience=QUICK, on_log=lambda _: None)
    pool = Pool(Settings(engine_poll_s=0.05, engine_probe_timeout_s=0.2))

    def stuck(_: str) -> tuple[float, str]:
        return pool.engines[0].engine.stuck_s or 0, pool.engines[0].reason

    await process.start()
    try:
        await process.wait_ready()
        await pool.start([process.url])
        watchdog = asyncio.create_task(restart_when_stuck(process, stuck, after_s=0.2))
        assert pool.ready
        assert process.pid is not None
        for pid in family(process.pid):
            os.kill(pid, signal.SIGSTOP)
        await until(lambda: pool.engines[0].state == "stuck")
        await until(lambda: process.restarts == 1 and pool.ready, timeout_s=20)
        await asyncio.sleep(0.5)  # longer than it takes to be told again
        assert process.restarts == 1
        watchdog.cancel()
    finally:
        await pool.close()
        await process.stop()
