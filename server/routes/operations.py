"""HTTP for those who use and who run the server: what was used, and how it goes."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from server import __version__
from server.callers.auth import Auth, check_operator
from server.callers.keys import Caller
from server.errors import AuthenticationFailed
from server.exchange import Exchange
from server.routes.basics import Caller as CallerOfKey
from server.routes.basics import Sees, exchange_of
from server.seeing.logs import now
from server.seeing.observer import SLOT_S
from server.seeing.status_page import HEADERS, page
from server.sight import View

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
async def usage(caller: CallerOfKey, sight: Sees, of: str | None = None) -> dict[str, Any]:
    """What your key has used, by day, path and model, since this server was started. Operators may ask `of` another."""
    if of is not None and of != caller.name:
        check_operator(caller)
    ledger = (await sight.view()).ledger
    report = ledger.report(of or caller.name)
    if caller.operator:
        report["callers"] = ledger.callers()
    return report


@operations_routes.get("/status", response_model=None)
async def status(_: Annotated[Caller, Depends(operator_of)], sight: Sees, format: str = "html") -> Response:
    """How it goes, for people; `format=json` for programs. For operators, where keys are in use."""
    found = status_of(await sight.view())
    if format == "json":
        return JSONResponse(found, headers={"cache-control": "no-store"})
    return HTMLResponse(page(found), headers=HEADERS)


def status_of(view: View) -> dict[str, Any]:
    """Everything that the page shows."""
    return {
        "object": "status",
        "version": __version__,
        "time": now(),
        "uptime_s": round(view.uptime_s),
        "engines": view.engines,
        **view.places,
        "pulse": {"slot_s": SLOT_S, "slots": view.pulse.slots(time.perf_counter())},
        "errors": [each._asdict() for each in reversed(list(view.errors))],
        "usage": [view.ledger.report(name) for name in view.ledger.callers()],
    }
