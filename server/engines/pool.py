"""Which engine takes a request, and what happens when it does not.

A request goes to the ready engine with the least in flight. Until an answer's first byte another engine may be tried;
after it nothing is repeated, because the caller may have seen it.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from server.engines import Engine, open_engine
from server.engines.wire import Answer
from server.errors import EngineFailed, EngineUnavailable, ModelNotFound, ServerError, quoted
from server.settings import Settings


class Pool:
    """All engines, and the names that callers may use for their models."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.engines: list[Engine] = []

    async def start(self, urls: Iterable[str]) -> None:
        """Open the engines at `urls`; those that are not up yet are watched until they are."""
        self.engines = [open_engine(url, self._settings) for url in urls]
        await asyncio.gather(*(engine.start() for engine in self.engines))

    async def look(self) -> None:
        """See now which engines are ready."""
        await asyncio.gather(*(engine.look() for engine in self.engines))

    async def close(self) -> None:
        """Close every engine."""
        await asyncio.gather(*(engine.close() for engine in self.engines))

    @property
    def ready(self) -> bool:
        """Whether any engine takes requests."""
        return any(engine.ready for engine in self.engines)

    async def ask(self, method: str, path: str, body: bytes, headers: bytes, model: str | None = None) -> Answer:
        """Send a request to an engine that serves `model`, to another one if the first gives no answer at all.

        Raises EngineUnavailable when none is ready, EngineFailed, EngineTimeout or Overloaded of the last one tried.
        """
        tried: list[Engine] = []
        failure: ServerError | None = None
        while (engine := self._choose(model, tried)) is not None:
            try:
                return await engine.ask(method, path, body, headers)
            except (EngineUnavailable, EngineFailed) as exc:
                tried.append(engine)
                failure = exc
        raise failure or self._none_ready()

    def _choose(self, model: str | None, tried: list[Engine]) -> Engine | None:
        best: Engine | None = None
        for engine in self.engines:
            if (
                engine.ready
                and (best is None or engine.in_flight < best.in_flight)
                and engine not in tried
                and (model is None or model in engine.names)
            ):
                best = engine
        return best

    def _none_ready(self) -> EngineUnavailable:
        reasons = "; ".join(sorted({engine.reason for engine in self.engines if engine.reason}))
        return EngineUnavailable(f"no engine is ready: {reasons or 'none is set up'}", headers={"retry-after": "5"})

    # -- models -------------------------------------------------------------------------------------------------------
    def models(self) -> list[dict[str, Any]]:
        """The cards of all served models, then one for each alias, without repeats."""
        cards = {card["id"]: card for engine in self.engines for card in engine.models}
        for alias, model in self._aliases(list(cards)).items():
            cards.setdefault(alias, {**cards[model], "id": alias, "root": model})
        return list(cards.values())

    def resolve(self, name: str) -> str:
        """The served model that `name` stands for. Raises ModelNotFound, or EngineUnavailable before any is known."""
        for engine in self.engines:
            if name in engine.names:
                return name
        served = [card["id"] for engine in self.engines for card in engine.models]
        if not served:
            raise self._none_ready()
        aliases = self._aliases(served)
        if name in aliases:
            return aliases[name]
        known = ", ".join(dict.fromkeys([*served, *aliases]))
        raise ModelNotFound(f"the model {quoted(name)} is not served here; there is: {known}", param="model")

    def _aliases(self, served: list[str]) -> dict[str, str]:
        """Alias -> served model; an alias without a model stands for the first one."""
        pairs = (entry.partition("=") for entry in self._settings.model_alias)
        found = {alias: model or (served[0] if served else "") for alias, _, model in pairs}
        return {alias: model for alias, model in found.items() if model in served}
