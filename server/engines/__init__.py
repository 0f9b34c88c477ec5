"""Engines answer; the gateway only asks. To add one: a file here that gives an `Engine`, and a line in `ENGINES`.

Engines never import media or tasks: what reaches them is OpenAI's JSON with `data:` URIs, and what they give back is
bytes.
"""

from collections.abc import Callable
from typing import Any, Protocol

from server.engines.answer import Answer
from server.engines.vllm import VllmEngine
from server.settings import Settings


class Engine(Protocol):
    """One place that runs a model."""

    url: str
    models: list[dict[str, Any]]
    """What its /v1/models lists, as it stands; empty until it has been reached once."""
    names: frozenset[str]
    """The models' names."""
    others: int
    """Requests that it works on and that are not ours, as of the last look."""
    on_change: Callable[[], None] | None
    """Called when it becomes ready, or no longer is."""

    @property
    def ready(self) -> bool:
        """Whether requests may go to it: it answers, and when it has work it makes steps."""

    @property
    def reason(self) -> str:
        """Why it is not ready, in words; "" when it is."""

    @property
    def stuck_s(self) -> float | None:
        """For how long it has lived without moving: no steps, or no word at all. None when it moves, or is gone."""

    async def ask(self, method: str, path: str, body: bytes, headers: bytes) -> Answer:
        """Send one request. Raises EngineUnavailable, EngineFailed, EngineTimeout or Overloaded."""

    def ask_at_once(
        self, method: str, path: str, body: bytes, headers: bytes, on_ready: Callable[[], None]
    ) -> Answer | None:
        """Send one request if a connection is there for it, else None. `on_ready` is called when `ask` would return;
        the answer's `failure` is what `ask` would raise.
        """

    def failed(self, failure: BaseException) -> None:
        """A request that was asked at once came to this."""

    async def start(self) -> None:
        """Begin to watch its health."""

    async def look(self) -> None:
        """See now whether it is ready, without waiting for the next regular look."""

    def give_up(self) -> None:
        """Break off, with EngineFailed, what another engine can do instead."""

    async def close(self) -> None:
        """Stop watching; cut every connection."""


ENGINES: dict[str, Callable[[str, Settings], Engine]] = {
    "http": VllmEngine,
    "unix": VllmEngine,
}
"""URL scheme -> what opens it."""


def open_engine(url: str, settings: Settings) -> Engine:
    """The engine at `url`. Raises ValueError naming the schemes there are: a wrong URL is the operator's mistake."""
    scheme = url.partition(":")[0]
    if scheme not in ENGINES:
        raise ValueError(f"engine_url {url!r}: the scheme must be one of {', '.join(ENGINES)}")
    return ENGINES[scheme](url, settings)
