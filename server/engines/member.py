"""One engine as the pool sees it: what it carries for us, how it did lately, what it holds in its caches."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial

from server.engines import Engine
from server.engines.answer import Answer
from server.engines.health import Breaker
from server.engines.work import PLAIN_TOKENS, Work
from server.errors import EngineFailed, EngineTimeout

HELD_TOKENS = 250_000
"""Visual tokens that an engine is taken to remember: vLLM's cache of processed pictures has 4 GiB, and one token's
pixels take 4 patches x 1,176 values x 4 bytes of it."""
STATES = ("ready", "warming", "tripped", "drained", "leaving", "stuck", "down")
"""Ready; ready, with less work than others; failing requests; wanted empty; no longer named; alive and still; gone."""
LEAST_SHARE = 0.1
"""Of a full share of the work, for an engine that has just come."""


class Member:
    """An engine in the pool."""

    def __init__(self, engine: Engine, slow_start_s: float, *, warm: bool) -> None:
        self.engine = engine
        self.in_flight = 0
        """Requests of ours that it has not finished."""
        self.load = 0
        """What they weigh, in visual tokens."""
        self.turn = 0
        """When it was last chosen, as a count of choices."""
        self.held = Held()
        self.breaker = Breaker()
        self.drained = False
        """An operator wants nothing new to go there."""
        self.gone = False
        """Its name is no longer in the DNS: it goes when its last request is done."""
        self._slow_start_s = slow_start_s
        self._loop = asyncio.get_running_loop()
        self._came_s = -slow_start_s if warm else self._loop.time()
        self._was_ready = engine.ready

    @property
    def url(self) -> str:
        return self.engine.url

    @property
    def ready(self) -> bool:
        """Whether requests may go to it."""
        return self.engine.ready and not self.drained and not self.gone

    @property
    def reason(self) -> str:
        """Why it is not ready, in words; "" when it is."""
        if self.gone:
            return "its name is no longer in the DNS"
        return self.engine.reason or ("it is drained" if self.drained else "")

    @property
    def state(self) -> str:
        """In one word, of STATES."""
        if self.gone:
            return "leaving"
        if not self.engine.ready:
            return "down" if self.engine.stuck_s is None else "stuck"
        if self.drained:
            return "drained"
        if self.breaker.state(self._loop.time()) != "closed":
            return "tripped"
        return "warming" if self.share(self._loop.time()) < 1 else "ready"

    def serves(self, model: str | None) -> bool:
        """Whether it has the model; None is any."""
        return model is None or model in self.engine.names

    def share(self, now_s: float) -> float:
        """How much of a full share of the work it gets, above 0 to 1: less while it warms up."""
        age_s = now_s - self._came_s
        return 1.0 if age_s >= self._slow_start_s else max(LEAST_SHARE, age_s / self._slow_start_s)

    def burden(self, weight: int, now_s: float) -> float:
        """What it would carry with `weight` more, for its share; others' requests count as plain ones."""
        return (self.load + weight + self.engine.others * PLAIN_TOKENS) / self.share(now_s)

    def changed(self) -> None:
        """Its engine became ready, or no longer is."""
        if self.engine.ready and not self._was_ready:
            self._came_s = self._loop.time()
        elif not self.engine.ready and self.engine.stuck_s is None:
            self.held = Held()  # it comes back with empty caches
        self._was_ready = self.engine.ready

    async def ask(self, method: str, path: str, body: bytes, headers: bytes, work: Work) -> Answer:
        """Send one request. Raises what `Engine.ask` raises."""
        self._enter(work)
        try:
            answer = await self.engine.ask(method, path, body, headers)
        except BaseException as exc:
            self._leave(work)
            self.judge(exc)
            raise
        return self._taken(answer, work)

    def ask_at_once(
        self, method: str, path: str, body: bytes, headers: bytes, work: Work, on_ready: Callable[[], None]
    ) -> Answer | None:
        """The same without waiting: see `Engine.ask_at_once`."""
        answer = self.engine.ask_at_once(method, path, body, headers, on_ready)
        if answer is None:
            return None
        self._enter(work)
        return self._taken(answer, work)

    def _taken(self, answer: Answer, work: Work) -> Answer:
        answer.origin = self.url
        answer.on_close = partial(self._finish, answer, work)
        return answer

    def judge(self, failure: BaseException | None) -> None:
        """What a request's end says of the engine: nothing where it was the client's or ours."""
        if failure is None:
            self.breaker.succeeded()
        elif isinstance(failure, (EngineFailed, EngineTimeout)):
            self.breaker.failed(self._loop.time())
        else:
            self.breaker.let_go()

    def _finish(self, answer: Answer, work: Work) -> None:
        self._leave(work)
        if answer.failure is not None and answer.is_stale:
            self.breaker.let_go()
        elif answer.refused is not None:
            self.judge(answer.refused)
        elif answer.complete or isinstance(answer.failure, (EngineFailed, EngineTimeout)):
            self.judge(answer.failure)
        else:
            self.breaker.let_go()

    def _enter(self, work: Work) -> None:
        self.in_flight += 1
        self.load += work.weight
        self.breaker.begin()

    def _leave(self, work: Work) -> None:
        self.in_flight -= 1
        self.load -= work.weight


class Held:
    """Pictures and clips that an engine was shown last, as far as its caches reach.

    >>> held = Held(limit_tokens=1000)
    >>> held.show({"a": 600}); held.show({"b": 300}); held.show({"a": 600}); held.show({"c": 300})
    >>> held.of({"a": 600, "b": 300}), held.tokens  # b was shown longest ago
    (600, 900)
    """

    def __init__(self, limit_tokens: int = HELD_TOKENS) -> None:
        self.tokens = 0
        self._limit_tokens = limit_tokens
        self._pictures: OrderedDict[str, int] = OrderedDict()

    def of(self, media: Mapping[str, int]) -> int:
        """Visual tokens of `media` that it holds."""
        return sum(tokens for name, tokens in media.items() if name in self._pictures)

    def show(self, media: Mapping[str, int]) -> None:
        """It is shown these now."""
        for name, tokens in media.items():
            self.tokens += tokens - self._pictures.pop(name, 0)
            self._pictures[name] = tokens
        while self.tokens > self._limit_tokens and len(self._pictures) > 1:
            self.tokens -= self._pictures.popitem(last=False)[1]
