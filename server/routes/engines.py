"""HTTP for operators: take an engine out of use, and put it back. Each gateway has to be told."""

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from server.errors import NotFound, quoted
from server.routes.basics import Sees
from server.routes.operations import operator_of
from server.sight import Sights

engines_routes = APIRouter(prefix="/v1/engines", tags=["operations"], dependencies=[Depends(operator_of)])


class EngineNamed(BaseModel):
    """One engine."""

    engine: str
    """Its URL, as `/status` and `/v1/engines` have it."""


@engines_routes.get("")
async def engines(sight: Sees) -> dict[str, Any]:
    """The engines, how they are, and what they are working on for this gateway."""
    return {"object": "list", "data": [_card(engine) for engine in await sight.engines()]}


@engines_routes.post("/drain")
async def drain(named: EngineNamed, sight: Sees) -> dict[str, Any]:
    """Send it nothing new; what it works on it finishes. It is empty when `in_flight` is 0."""
    return await _set(sight, named.engine, drained=True)


@engines_routes.post("/undrain")
async def undrain(named: EngineNamed, sight: Sees) -> dict[str, Any]:
    """Send it requests again."""
    return await _set(sight, named.engine, drained=False)


async def _set(sight: Sights, url: str, *, drained: bool) -> dict[str, Any]:
    if not await sight.drain(url, drained):
        raise NotFound(f"there is no engine {quoted(url)}", param="engine")
    return _card(next(engine for engine in await sight.engines() if engine["engine"] == url))


def _card(engine: dict[str, Any]) -> dict[str, Any]:
    return {"object": "engine", **engine}
