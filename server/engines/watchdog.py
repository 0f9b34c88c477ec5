"""Starts an engine of our own anew when it has been stuck for too long: vLLM does not do it itself."""

import asyncio
from collections.abc import Callable

from server.engines.launcher import EngineProcess

LOOK_S = 1.0


async def restart_when_stuck(process: EngineProcess, stuck: Callable[[str], tuple[float, str]], after_s: float) -> None:
    """Runs until cancelled. Once told to end, the engine takes its time, and is not told again.

    `stuck` says of an engine's URL for how many seconds it is stuck, 0 where it is not, and why.
    """
    told_at: int | None = None  # the count of restarts
    while True:
        await asyncio.sleep(min(LOOK_S, after_s))
        if process.state != "ready" or told_at == process.restarts:
            continue
        stuck_s, reason = stuck(process.url)
        if stuck_s > after_s:
            told_at = process.restarts
            await process.restart(reason)
