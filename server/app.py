"""create_app and create_server: wire the parts; nothing else does."""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException

from server import __version__
from server.answering.idempotency import Idempotency
from server.batches.service import OFF, Batches
from server.callers.admission import Admission
from server.callers.auth import open_auth
from server.callers.gate import Gate
from server.callers.leases import Leases
from server.callers.limits import Limiter
from server.callers.places import expose
from server.callers.store import open_store
from server.edge.departure import Departure
from server.edge.http import protocol_class
from server.edge.leaving import Entrance, LeavingServer
from server.edge.middleware import Edge
from server.engines.pool import Pool
from server.errors import (
    GatewayError,
    InternalError,
    InvalidValue,
    MethodNotAllowed,
    MissingField,
    NotFound,
    field_path,
)
from server.hot.chat import SCOPES as CHAT_SCOPES
from server.hot.chat import Chat, openapi_paths
from server.media import MediaLoader
from server.routes.basics import keyed_routes, open_routes
from server.routes.batches import batch_routes
from server.routes.engines import engines_routes
from server.routes.operations import operations_routes
from server.routes.playground import playground_routes
from server.routes.sizing import sizing_routes
from server.routes.tasks import task_routes
from server.seeing import metrics
from server.seeing.observer import Seeing
from server.settings import Settings
from server.sight import Sight
from server.tasks import TASKS
from server.workers.crew import Crew
from server.workers.shared import SharedCounters, SharedGate

log = logging.getLogger(__name__)

SCOPES = frozenset({*CHAT_SCOPES.values(), *(task.name for task in TASKS)})
"""What a key can be for."""

FORM_BYTES = 65536
"""What a form has beside the file in it."""
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}  # `metrics` counts; once is enough


def create_app(
    settings: Settings,
    pool: Pool,
    engine_urls: Sequence[str],
    shared: Path | None = None,
    departure: Departure | None = None,
    crew: Crew | None = None,
) -> Edge:
    """The ASGI app. `engine_urls` are the engines that `pool` opens; they need not be up yet. `shared` is a folder that
    all of them take pictures from, `crew` the other workers where there are any.

    Raises ValueError for keys that cannot be read, or a door left open: see `open_auth`.
    """
    departure = departure or Departure()
    auth = open_auth(settings, SCOPES)
    media = MediaLoader(settings, shared)
    idempotency = Idempotency(crew.claim if crew else None)
    wake_batches = crew.wake_batches if crew and not crew.works_off_batches else None
    batches = Batches(settings, auth, wake_batches) if settings.batch_store != OFF else None

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        auth.start()
        await media.start()
        await pool.start(engine_urls)
        if batches:
            batches.start()
        if crew:
            crew.start()
        try:
            yield
        finally:
            if batches:
                await batches.close()
            await idempotency.close()
            await pool.close()
            await media.close()
            await auth.close()
            await leases.close()
            await limiter.close()
            if store is not None:
                await store.close()
            await asyncio.to_thread(seeing.close)
            if crew:
                await crew.close()

    api = Api(
        title="Qwen2.5-VL server",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load their scripts from elsewhere
        redoc_url=None,
        telemetry=NO_TELEMETRY,
        redirect_slashes=False,
    )
    api.state.auth = auth
    api.state.pool = pool
    api.state.settings = settings
    api.state.departure = departure
    api.include_router(open_routes)
    api.include_router(keyed_routes)
    api.include_router(operations_routes)
    api.include_router(engines_routes)
    api.include_router(sizing_routes(TASKS))
    api.include_router(task_routes(TASKS))
    if batches:
        api.state.batches = batches
        api.include_router(batch_routes([*CHAT_SCOPES, *(task.path for task in TASKS)]))
    if settings.playground:
        api.include_router(playground_routes())
    api.add_exception_handler(GatewayError, _gateway_error)
    api.add_exception_handler(RequestValidationError, _validation_error)
    api.add_exception_handler(HTTPException, _http_error)
    api.add_exception_handler(Exception, _unforeseen)
    seeing = Seeing(settings)
    store = open_store(settings)
    leases = Leases(settings, store)
    gate: Gate
    if crew is None:
        admission = Admission(settings)
        expose(admission)
        limiter = Limiter(settings, store)
        gate = Gate(settings, auth, limiter, admission, leases)
        api.state.sight = Sight(seeing, pool, admission)
    else:
        limiter = Limiter(settings, store, SharedCounters(crew.line))
        gate = SharedGate(settings, auth, limiter, crew.line)
        api.state.sight = crew
        crew.bind(seeing, pool, idempotency, batches)
    api.state.media = media
    api.state.idempotency = idempotency
    api.state.gate = gate
    metrics.begin(CHAT_SCOPES, [task.path for task in TASKS])
    metrics.ENGINE_READY.read = lambda: (((engine.url,), engine.ready) for engine in pool.engines)
    metrics.ENGINE_IN_FLIGHT.read = lambda: (((engine.url,), engine.in_flight) for engine in pool.engines)
    metrics.ENGINE_STATE.read = lambda: (((engine.url, engine.state), 1) for engine in pool.engines)
    chat = Chat(settings, pool, media, gate, departure)
    edge = Edge(
        api,
        chat,
        max_body_bytes=settings.max_body_bytes,
        observer=seeing,
        departure=departure,
        uploads={"/v1/files": settings.batch_file_max_bytes + FORM_BYTES},
    )
    if batches:
        batches.bind(edge)
    return edge


class Api(FastAPI):
    """FastAPI, whose OpenAPI names the hot paths too, though it does not serve them."""

    def openapi(self) -> dict[str, Any]:
        schema = super().openapi()
        schema["paths"].update(openapi_paths())
        return schema


class Server(LeavingServer):
    """uvicorn's, but a signal only ends `serve()`: uvicorn raises it again, and SIGTERM would then end the process
    before the engine is stopped.
    """

    def __init__(
        self,
        pool: Pool,
        config: uvicorn.Config,
        departure: Departure,
        settings: Settings,
        entrance: Entrance | None = None,
    ) -> None:
        delay_s, limit_s = settings.leave_delay_s, settings.leave_limit_s
        super().__init__(config, departure, delay_s=delay_s, limit_s=limit_s, entrance=entrance)
        self.pool = pool
        self.listening = asyncio.Event()

    async def look(self) -> None:
        """See now which engines are ready."""
        await self.pool.look()

    def stuck(self, url: str) -> tuple[float, str]:
        """For how many seconds the engine at `url` is stuck, and why; 0 where it is not."""
        return self.pool.stuck(url)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def create_server(
    settings: Settings, engine_urls: Sequence[str], *, shared: Path | None = None, crew: Crew | None = None
) -> Server:
    """The app behind a socket, with the limits of `settings`; `await server.serve()` runs it.

    `shared` and `crew` are as `create_app` has them; with a crew, connections come from its parent.
    """
    pool = Pool(settings)
    departure = Departure()
    app = create_app(settings, pool, engine_urls, shared, departure, crew)
    http = protocol_class(settings)
    return Server(
        pool,
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=crew.entrance.counting(http) if crew else http,
            ws="none",
            loop="none",
            lifespan="on",
            log_config=None,
            log_level=settings.log_level,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=2048,
            timeout_keep_alive=settings.idle_timeout_s,
            timeout_graceful_shutdown=1,  # for those that do not heed `Departure`
        ),
        departure,
        settings,
        crew.entrance if crew else None,
    )


async def _gateway_error(request: Request, failure: Exception) -> JSONResponse:
    assert isinstance(failure, GatewayError)
    request.scope["exchange"].code = failure.code
    return JSONResponse(failure.body(), failure.status, failure.headers)


async def _validation_error(request: Request, failure: Exception) -> JSONResponse:
    """The first thing that pydantic found, with the field's path as `param`."""
    assert isinstance(failure, RequestValidationError)
    first: dict[str, Any] = dict(failure.errors()[0])
    where, *steps = first["loc"]
    path = field_path(steps, failure.body) if where == "body" else ".".join(map(str, steps))
    kind = MissingField if first["type"] == "missing" else InvalidValue
    return await _gateway_error(request, kind(f"{path or 'body'}: {first['msg']}", param=path or None))


async def _http_error(request: Request, failure: Exception) -> JSONResponse:
    assert isinstance(failure, HTTPException)
    path = request.url.path[:200]
    if failure.status_code == 405:
        error: GatewayError = MethodNotAllowed(
            f"{path} does not take {request.method}", headers=dict(failure.headers or {})
        )
    elif failure.status_code == 404:
        error = NotFound(f"there is nothing at {path}")
    else:
        error = InvalidValue(str(failure.detail))
    return await _gateway_error(request, error)


async def _unforeseen(request: Request, failure: Exception) -> JSONResponse:
    log.error("request %s failed", request.scope["exchange"].id.decode(), exc_info=failure)
    return await _gateway_error(request, InternalError("the server made a mistake; its log has the request id"))
