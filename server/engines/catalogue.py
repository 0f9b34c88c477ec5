"""The models that the engines serve, and the names that callers may use for them."""

from collections.abc import Sequence
from typing import Any

from server.engines.member import Member
from server.errors import ModelNotFound, quoted


class Catalogue:
    """Names of models. `engines` is the pool's own list, as it stands at each look."""

    def __init__(self, aliases: Sequence[str], engines: Sequence[Member]) -> None:
        self._pairs = [entry.partition("=") for entry in aliases]
        self._engines = engines

    def cards(self) -> list[dict[str, Any]]:
        """The cards of all served models, then one for each alias, without repeats."""
        cards = {card["id"]: card for member in self._engines for card in member.engine.models}
        for alias, model in self._aliases(list(cards)).items():
            cards.setdefault(alias, {**cards[model], "id": alias, "root": model})
        return list(cards.values())

    def resolve(self, name: str) -> str | None:
        """The served model that `name` stands for; None before any is known. Raises ModelNotFound."""
        for member in self._engines:
            if name in member.engine.names:
                return name
        served = [card["id"] for member in self._engines for card in member.engine.models]
        if not served:
            return None
        aliases = self._aliases(served)
        if name in aliases:
            return aliases[name]
        known = ", ".join(dict.fromkeys([*served, *aliases]))
        raise ModelNotFound(f"the model {quoted(name)} is not served here; there is: {known}", param="model")

    def _aliases(self, served: list[str]) -> dict[str, str]:
        """Alias -> served model; an alias without a model stands for the first one."""
        found = {alias: model or (served[0] if served else "") for alias, _, model in self._pairs}
        return {alias: model for alias, model in found.items() if model in served}
