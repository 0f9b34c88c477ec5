"""HTTP for those who use and who run the server: what was used, and how it goes."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from server import __version__
from server.callers.admission import Admission
from server.callers.auth import Auth, check_operator
from server.callers.keys import Caller
from server.engines.pool import Pool
from server.errors import AuthenticationFailed
from server.exchange import Exchange
from server.routes.basics import Caller as CallerOfKey
from server.routes.basics import Engines, exchange_of
from server.seeing.logs import now
from server.seeing.observer import SLOT_S, Seeing
from server.seeing.status_page import HEADERS, page

STARTED_S = time.monotonic()
BASIC = {"www-authenticate": 'Basic realm="status: any name, an operator\'s key as the password", charset="UTF-8"'}

operations_routes = APIRouter(tags=["operations"])


def operator_of(request: Request, exchange: Annotated[Exchange, Depends(exchange_of)]) -> Caller:
    """An operator; a browser is told to ask for the key. Raises AuthenticationFailed, PermissionDenied."""
    auth: Auth = request.app.state.auth
    try:
        caller = auth.caller(exchange.headers)
    except AuthenticationFailed as exc:
        raise AuthenticationFailed(exc.message, headers=BASIC) from exc
    exchange.caller = caller.name
    check_operator(caller)
    return caller


@operations_routes.get("/v1/usage")
async def usage(request: Request, caller: CallerOfKey, of: str | None = None) -> dict[str, Any]:
    """What your key has used, by day, path and model, since this server was started. Operators may ask `of` another."""
    seeing: Seeing = request.app.state.seeing
    if of is not None and of != caller.name:
        check_operator(caller)
    seeing.settle()
    report = seeing.ledger.report(of or caller.name)
    if caller.operator:
        report["callers"] = seeing.ledger.callers()
    return report


@operations_routes.get("/status", response_model=None)
async def status(
    request: Request, _: Annotated[Caller, Depends(operator_of)], pool: Engines, format: str = "html"
) -> Response:
    """How it goes, for people; `format=json` for programs. For operators, where keys are in use."""
    found = status_of(pool, request.app.state.gate.admission, request.app.state.seeing)
    if format == "json":
        return JSONResponse(found, headers={"cache-control": "no-store"})
    return HTMLResponse(page(found), headers=HEADERS)


def status_of(pool: Pool, admission: Admission, seeing: Seeing) -> dict[str, Any]:
    """Everything that the page shows."""
    seeing.settle()
    shares = sum(flow.share for flow in admission.present.values()) or 1
    return {
        "object": "status",
        "version": __version__,
        "time": now(),
        "uptime_s": round(time.monotonic() - STARTED_S),
        "engines": [
            {
                "engine": engine.url,
                "ready": engine.ready,
                "state": engine.state,
                "reason": engine.reason or None,
                "in_flight": engine.in_flight,
                "models": sorted(engine.engine.names),
            }
            for engine in pool.engines
        ],
        "places": {"taken": admission.taken, "all": admission.limit, "requests": admission.in_flight},
        "queue": {"waiting": admission.queued, "body_bytes": admission.bytes},
        "callers": [
            {
                "name": name,
                "priority": flow.caller.priority,
                "places": flow.taken,
                "waiting": len(flow.waiting),
                "share": round(flow.share / shares, 4),
            }
            for name, flow in sorted(admission.present.items())
        ],
        "pulse": {"slot_s": SLOT_S, "slots": seeing.pulse.slots(time.perf_counter())},
        "errors": [each._asdict() for each in reversed(seeing.errors)],
        "usage": [seeing.ledger.report(name) for name in seeing.ledger.callers()],
    }
