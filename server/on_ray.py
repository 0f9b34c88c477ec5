"""The server as a Ray Serve application: a replica is what `python -m server` is, a gateway with an engine of its own.

    serve run server.on_ray:build model=demo/checkpoint replicas=2
    serve deploy deploy/ray/serve.yaml

Ray finds machines and cards for replicas, restarts and scales them, and divides requests among them; all else is the
same app. Settings are those of `server.settings`, by name; with `engine_url` replicas start no engine.
What Serve's proxy takes away stands in deploy/README.md.
"""

import asyncio
import contextlib
import logging
import time
from typing import Any, cast

from ray import serve

from server.app import create_app
from server.edge.departure import Departure
from server.edge.middleware import Edge
from server.engines.launcher import EngineProcess, launch
from server.engines.pool import Pool
from server.engines.watchdog import restart_when_stuck
from server.settings import Settings

log = logging.getLogger(__name__)

AT_ONCE = 4096
"""Requests that Serve sends to one replica: more than its own admission lets in, which tells callers who wait."""
GONE_S = 120.0
"""A replica whose engine has been gone for so long is replaced. Engines are started anew within it by the replica."""


def build(arguments: dict[str, Any]) -> serve.Application:
    """The application for `serve run` and a Serve config's `args`.

    `replicas`, and of each its `gpus` and `cpus`, are for Ray; all others are settings. Raises pydantic's
    ValidationError for what is none.
    """
    settings = dict(arguments)
    options: dict[str, Any] = {"max_ongoing_requests": AT_ONCE}
    if "replicas" in settings:  # else a config's `deployments` say how many
        options["num_replicas"] = int(settings.pop("replicas"))
    options["ray_actor_options"] = {
        "num_gpus": float(settings.pop("gpus", 0)),
        "num_cpus": float(settings.pop("cpus", 1)),
    }
    Settings(**settings)
    return cast(serve.Deployment, Replica).options(**options).bind(settings)


@serve.deployment(name="Replica")
@serve.ingress()
class Replica:
    """One gateway, and its engine unless others are named."""

    async def __init__(self, chosen: dict[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits it
        """Returns when the engine answers; raises EngineUnavailable when it will not."""
        settings = Settings(**chosen)
        self._engine: EngineProcess | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._well_s = time.monotonic()
        urls = settings.engine_url
        if not (urls or settings.engine_dns):
            engine, settings = await asyncio.to_thread(launch, settings)
            self._engine = engine
            await engine.start()
            await engine.wait_ready()
            urls = [engine.url]
        self._pool = Pool(settings)
        shared = self._engine.shared if self._engine else None
        self._edge = create_app(settings, self._pool, urls, shared, Departure())
        if self._engine is not None:
            watching = restart_when_stuck(self._engine, self._pool.stuck, settings.engine_restart_s)
            self._watchdog = asyncio.create_task(watching, name="watchdog")

    def __serve_build_asgi_app__(self) -> Edge:
        """What Serve calls for every request."""
        return self._edge

    async def check_health(self) -> None:
        """Asked by Serve every ten seconds; raises RuntimeError when the replica should be replaced."""
        if self._pool.ready:
            self._well_s = time.monotonic()
        elif (gone_s := time.monotonic() - self._well_s) > GONE_S:
            raise RuntimeError(f"no engine has been ready for {gone_s:.0f} s")

    async def __del__(self) -> None:
        """Called by Serve when nothing is under way any more, after the app's own end."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watchdog
        if self._engine is not None:
            await self._engine.stop()
