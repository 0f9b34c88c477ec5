"""HTTP for operators: take an engine out of use, and put it back. Each gateway has to be told."""

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from server.engines.member import Member
from server.engines.pool import Pool
from server.errors import NotFound, quoted
from server.routes.basics import Engines
from server.routes.operations import operator_of

engines_routes = APIRouter(prefix="/v1/engines", tags=["operations"], dependencies=[Depends(operator_of)])


class EngineNamed(BaseModel):
    """One engine."""

    engine: str
    """Its URL, as `/status` and `/v1/engines` have it."""


@engines_routes.get("")
async def engines(pool: Engines) -> dict[str, Any]:
    """The engines, how they are, and what they are working on for this gateway."""
    return {"object": "list", "data": [_card(member) for member in pool.engines]}


@engines_routes.post("/drain")
async def drain(named: EngineNamed, pool: Engines) -> dict[str, Any]:
    """Send it nothing new; what it works on it finishes. It is empty when `in_flight` is 0."""
    return _set(pool, named.engine, drained=True)


@engines_routes.post("/undrain")
async def undrain(named: EngineNamed, pool: Engines) -> dict[str, Any]:
    """Send it requests again."""
    return _set(pool, named.engine, drained=False)


def _set(pool: Pool, url: str, *, drained: bool) -> dict[str, Any]:
    if not pool.drain(url, drained):
        raise NotFound(f"there is no engine {quoted(url)}", param="engine")
    return _card(next(member for member in pool.engines if member.url == url))


def _card(member: Member) -> dict[str, Any]:
    return {
        "engine": member.url,
        "object": "engine",
        "ready": member.ready,
        "state": member.state,
        "reason": member.reason or None,
        "in_flight": member.in_flight,
        "models": sorted(member.engine.names),
    }
