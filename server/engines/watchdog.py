"""Starts an engine of our own anew when it has been stuck for too long: vLLM does not do it itself."""

import asyncio

from server.engines.launcher import EngineProcess
from server.engines.pool import Pool

LOOK_S = 1.0


async def restart_when_stuck(process: EngineProcess, pool: Pool, after_s: float) -> None:
    """Runs until cancelled. Once told to end, the engine takes its time, and is not told again."""
    told_at: int | None = None  # the count of restarts
    while True:
        await asyncio.sleep(min(LOOK_S, after_s))
        member = next((member for member in pool.engines if member.url == process.url), None)
        if member is None or process.state != "ready" or told_at == process.restarts:
            continue
        if (member.engine.stuck_s or 0) > after_s:
            told_at = process.restarts
            await process.restart(member.reason)
