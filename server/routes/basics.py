"""HTTP in, HTTP out, for everything that is not the hot path: health, metrics, models.

Adding a task never edits this file.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from server.callers import keys
from server.callers.auth import Auth, check_model
from server.edge.departure import Departure
from server.engines.pool import Pool
from server.errors import EngineUnavailable, ModelNotFound, quoted
from server.exchange import Exchange
from server.sight import Sights
from server.sizing.cards import card_of


def exchange_of(request: Request) -> Exchange:
    """The request's `Exchange`, set by `middleware.Edge`."""
    exchange: Exchange = request.scope["exchange"]
    exchange.route = getattr(request.scope.get("route"), "path", "other")
    return exchange


def pool_of(request: Request) -> Pool:
    """The engines."""
    pool: Pool = request.app.state.pool
    return pool


def caller_of(request: Request, exchange: Annotated[Exchange, Depends(exchange_of)]) -> keys.Caller:
    """Who asks. Raises AuthenticationFailed."""
    auth: Auth = request.app.state.auth
    caller = auth.caller(exchange.headers)
    exchange.caller = caller.name
    return caller


def sight_of(request: Request) -> Sights:
    """What can be told of this server."""
    sight: Sights = request.app.state.sight
    return sight


Engines = Annotated[Pool, Depends(pool_of)]
Sees = Annotated[Sights, Depends(sight_of)]
Caller = Annotated[keys.Caller, Depends(caller_of)]

open_routes = APIRouter(dependencies=[Depends(exchange_of)])
"""Paths that a load balancer or Prometheus asks for, without a key."""
keyed_routes = APIRouter(dependencies=[Depends(caller_of)])


@open_routes.get("/healthz", tags=["operations"])
async def healthz() -> dict[str, str]:
    """This process answers. Says nothing of engines."""
    return {"status": "ok"}


@open_routes.get("/readyz", tags=["operations"])
async def readyz(pool: Engines, request: Request) -> dict[str, Any]:
    """An engine takes requests: it answers, and when it has work it makes steps. 503 otherwise, with the reasons, and
    as soon as the server is stopping.
    """
    departure: Departure = request.app.state.departure
    if departure.began:
        raise departure.failure()
    engines = [
        {
            "engine": place,
            "ready": engine.ready,
            "state": engine.state,
            "reason": engine.reason or None,
            "in_flight": engine.in_flight,
        }
        for place, engine in enumerate(pool.engines)
    ]
    if not pool.ready:
        reasons = "; ".join(str(engine["reason"]) for engine in engines)
        raise EngineUnavailable(
            f"no engine is ready: {reasons or 'none is set up'}",
            headers={"retry-after": "5"},
            details={"engines": engines},
        )
    return {"status": "ready", "engines": engines}


@open_routes.get("/metrics", tags=["operations"])
async def prometheus(sight: Sees) -> Response:
    """Counters and histograms in Prometheus' text format."""
    return Response(await sight.exposition(), media_type=CONTENT_TYPE_LATEST)


@keyed_routes.get("/v1/models", tags=["models"])
async def models(pool: Engines, caller: Caller) -> dict[str, Any]:
    """The models that the key may ask, aliases included."""
    return {"object": "list", "data": [_card(card) for card in pool.models() if _may_ask(caller, card)]}


@keyed_routes.get("/v1/models/{model:path}", tags=["models"])
async def model(model: str, pool: Engines, caller: Caller) -> dict[str, Any]:
    """One model."""
    cards = {card["id"]: card for card in pool.models()}
    if model not in cards:
        pool.resolve(model)  # raises the same error as a chat request
        raise ModelNotFound(f"the model {quoted(model)} is not served here", param="model")
    if caller.models is not None:
        check_model(caller, model, str(cards[model].get("root")))
    known = card_of(model, cards[model].get("root"))
    return _card(cards[model]) | ({"card": known.public()} if known else {})


def _may_ask(caller: keys.Caller, card: dict[str, Any]) -> bool:
    return caller.models is None or not caller.models.isdisjoint((card["id"], card.get("root")))


def _card(card: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's four fields, and what vLLM knows beyond them that is of use."""
    kept = ("id", "object", "created", "owned_by", "root", "parent", "max_model_len")
    return {name: card[name] for name in kept if card.get(name) is not None}
