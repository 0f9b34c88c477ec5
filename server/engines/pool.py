"""Which engine takes a request, and what happens when it does not.

A request with pictures goes where they are cached (`affinity`), any other to the engine with the least to do, weighed
by visual tokens. Until an answer's first byte another engine may be tried; after it nothing is repeated, because the
caller may have seen it (`server.hot.resume` goes on instead). A caller's mistake is not repeated, and a request that
two engines broke off at is not given to a third: it may be what breaks them.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from server.engines import affinity, open_engine
from server.engines.answer import Answer
from server.engines.catalogue import Catalogue
from server.engines.discovery import Discovery, Resolve, addresses
from server.engines.member import Member
from server.engines.work import PLAIN, Work
from server.errors import EngineFailed, EngineUnavailable, GatewayError, Overloaded, ServerError
from server.protocol import engine_error, first_event_error
from server.seeing import metrics
from server.settings import Settings

MOST_DEATHS = 2
LOOK_S = 0.1


@dataclass(slots=True)
class Errand:
    """A request on its way to an answer."""

    method: str
    path: str
    body: bytes
    headers: bytes
    model: str | None
    work: Work
    tried: list[Member] = field(default_factory=list)
    deaths: int = 0
    """Engines that broke off at it."""
    failure: ServerError | None = None
    """Of the last engine."""

    def fail(self, failure: ServerError) -> None:
        self.failure = failure
        self.deaths += isinstance(failure, EngineFailed)


class Pool:
    """All engines, and the names that callers may use for their models."""

    def __init__(self, settings: Settings, resolve: Resolve = addresses) -> None:
        self._settings = settings
        self.engines: list[Member] = []
        self._catalogue = Catalogue(settings.model_alias, self.engines)
        self._fixed: frozenset[str] = frozenset()
        self._choices = 0
        self._random = random.Random()  # noqa: S311  # spreads load
        self._discovery = Discovery(settings, self._meet, resolve) if settings.engine_dns else None

    async def start(self, urls: Sequence[str]) -> None:
        """Open the engines at `urls`; those that are not up yet are watched until they are."""
        self._fixed = frozenset(urls)
        await self._open(dict.fromkeys(urls), warm=True)
        if self._discovery is not None:
            await self._discovery.start()

    async def look(self) -> None:
        """See now which engines are ready."""
        await asyncio.gather(*(member.engine.look() for member in self.engines))

    async def close(self) -> None:
        """Close every engine."""
        if self._discovery is not None:
            await self._discovery.close()
        await asyncio.gather(*(member.engine.close() for member in self.engines))

    @property
    def ready(self) -> bool:
        """Whether any engine takes requests."""
        return any(member.ready for member in self.engines)

    def stuck(self, url: str) -> tuple[float, str]:
        """For how many seconds the engine at `url` is stuck, and why; 0 where it is not."""
        found = (member for member in self.engines if member.url == url)
        return next(((member.engine.stuck_s or 0, member.reason) for member in found), (0.0, ""))

    def drain(self, url: str, drained: bool = True) -> bool:
        """Send nothing new to the engine at `url`, or, with False, send it requests again; whether there is one."""
        found = [member for member in self.engines if member.url == url]
        for member in found:
            member.drained = drained
        self._share_out()
        return bool(found)

    # -- asking -------------------------------------------------------------------------------------------------------
    async def ask(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: bytes,
        model: str | None = None,
        work: Work = PLAIN,
        *,
        last: str = "",
    ) -> Answer:
        """Send a request to an engine that serves `model`, to another one if the first gives no answer.

        The engine at the URL `last` is asked only when there is no other: it has broken off at this already.
        Raises EngineUnavailable when none is ready, Overloaded when all have as much as they may, and EngineFailed,
        EngineTimeout or Overloaded of the last one tried. An answer that says so itself (429, 5xx) is given back when
        no engine is left. A request that has lost its engine, and finds no other, waits for one (`engine_wait_s`).
        """
        errand = Errand(method, path, body, headers, model, work)
        return await self._answered(errand, [member for member in self.engines if member.url == last] if last else [])

    async def ask_for(self, errand: Errand) -> Answer:
        """`ask`."""
        return await self._answered(errand, [])

    def ask_at_once(self, errand: Errand, on_ready: Callable[[], None]) -> Answer | None:
        """Send a request if an engine has a connection for it, else None; then nothing is done, and `ask` may wait.

        `on_ready` is called when the answer has come, or failed: `is_answer` tells. Raises Overloaded.
        """
        member = self._choose(errand, ())
        if member is None:
            return None
        answer = member.ask_at_once(errand.method, errand.path, errand.body, errand.headers, errand.work, on_ready)
        if answer is not None:
            errand.tried.append(member)
        return answer

    async def ask_again(self, errand: Errand, answer: Answer) -> Answer:
        """As `ask`, after `ask_at_once` gave an answer that is none, which is closed."""
        member = errand.tried[-1]
        answer.refused = refusal(answer)
        answer.close()
        failure = answer.failure or answer.refused
        if answer.is_stale:
            errand.tried.clear()
        elif isinstance(failure, (EngineUnavailable, EngineFailed)) or answer.refused:
            assert isinstance(failure, ServerError)
            if answer.failure is not None:
                member.engine.failed(answer.failure)
            errand.fail(failure)
        elif failure is not None:
            raise failure
        return await self._answered(errand, [])

    async def _answered(self, errand: Errand, avoided: list[Member]) -> Answer:
        answer = await self._tried(errand, avoided)
        if answer is None and errand.tried and errand.deaths < MOST_DEATHS and await self._is_back(errand):
            errand.tried.clear()
            answer = await self._tried(errand, avoided)
        if answer is not None:
            return answer
        raise errand.failure or self._none_ready(errand.model)

    async def _tried(self, errand: Errand, avoided: list[Member]) -> Answer | None:
        """The answer of the first engine that gives one, else one that says what is wrong; None if there is neither."""
        refused: Answer | None = None
        while errand.deaths < MOST_DEATHS:
            member = self._choose(errand, errand.tried + avoided) if avoided else None
            member = member or self._choose(errand, errand.tried)
            if member is None:
                break
            if errand.tried:
                metrics.RETRIES.add((errand.failure.code if errand.failure else "",))
            errand.tried.append(member)
            if refused is not None:
                refused.close()
                refused = None
            try:
                answer = await member.ask(errand.method, errand.path, errand.body, errand.headers, errand.work)
            except (EngineUnavailable, EngineFailed) as exc:
                errand.fail(exc)
                continue
            answer.refused = refusal(answer)
            if answer.refused is None:
                return answer
            errand.fail(answer.refused)
            refused = answer
        return refused

    async def _is_back(self, errand: Errand) -> bool:
        """Whether an engine is ready before `engine_wait_s` is over; who has lost one is worth a wait."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._settings.engine_wait_s
        while loop.time() < deadline_s:
            if any(member.ready and member.serves(errand.model) for member in self.engines):
                return True
            await asyncio.sleep(LOOK_S)
        return False

    def _choose(self, errand: Errand, excluded: Sequence[Member]) -> Member | None:
        """None when no engine is left; Overloaded when those that are have as much as they may."""
        model = errand.model
        ready = [each for each in self.engines if each.ready and each.serves(model) and each not in excluded]
        now_s = asyncio.get_running_loop().time() if len(ready) > 1 else 0.0  # one alone is not compared
        # Nor is one alone spared while it fails: each request is a trial, and the first answer closes its breaker.
        sound = [member for member in ready if member.breaker.allows(now_s)] if len(ready) > 1 else ready
        most = self._settings.engine_connections
        free = [member for member in sound or ready if member.in_flight < most]
        if not free:
            if ready and not excluded:
                raise Overloaded(
                    f"every engine has {most} requests; the limit is {most} for each (engine_connections)",
                    headers={"retry-after": "1"},
                )
            return None
        chosen = free[0] if len(free) == 1 else self._best(free, errand.work, now_s)
        self._choices += 1
        chosen.turn = self._choices
        if errand.work.media:
            chosen.held.show(errand.work.media)
        return chosen

    def _best(self, members: list[Member], work: Work, now_s: float) -> Member:
        if work.media and (found := affinity.choose(members, work, now_s)):
            return found
        if len(members) > 2 and any(member.engine.others for member in members):
            # Other gateways ask them too, and all would run to the one that was idlest at the last look.
            members = self._random.sample(members, 2)
        return min(members, key=lambda member: (member.burden(work.weight, now_s), member.turn))

    def _none_ready(self, model: str | None) -> EngineUnavailable:
        members = [member for member in self.engines if member.serves(model)]
        reasons = "; ".join(sorted({member.reason for member in members or self.engines if member.reason}))
        return EngineUnavailable(f"no engine is ready: {reasons or 'none is set up'}", headers={"retry-after": "5"})

    # -- coming and going ---------------------------------------------------------------------------------------------
    async def _open(self, urls: Iterable[str], *, warm: bool) -> None:
        engines = [open_engine(url, self._settings) for url in urls]
        await asyncio.gather(*(engine.start() for engine in engines))
        for engine in engines:
            member = Member(engine, self._settings.engine_slow_start_s, warm=warm)
            engine.on_change = partial(self._changed, member)
            self.engines.append(member)
        self._share_out()

    def _changed(self, member: Member) -> None:
        member.changed()
        if not member.engine.ready:
            metrics.EJECTIONS.add((member.state,))
        self._share_out()

    def _share_out(self) -> None:
        """What waits for an engine that is stuck is given up there, if there is another one to ask."""
        for stuck in self.engines:
            if stuck.engine.stuck_s is not None and any(
                other.ready and other.engine.names & stuck.engine.names for other in self.engines
            ):
                stuck.engine.give_up()

    async def _meet(self, urls: frozenset[str]) -> None:
        """The engines that the DNS names now: new ones join, others leave when their last request is done."""
        for member in self.engines:
            member.gone = member.url not in urls and member.url not in self._fixed
        await self._open(urls - {member.url for member in self.engines}, warm=not self.engines)
        over = [member for member in self.engines if member.gone and not member.in_flight]
        for member in over:
            self.engines.remove(member)
        await asyncio.gather(*(member.engine.close() for member in over))

    # -- models -------------------------------------------------------------------------------------------------------
    def models(self) -> list[dict[str, Any]]:
        """The cards of all served models, then one for each alias, without repeats."""
        return self._catalogue.cards()

    def resolve(self, name: str) -> str:
        """The served model that `name` stands for. Raises ModelNotFound, or EngineUnavailable before any is known."""
        model = self._catalogue.resolve(name)
        if model is None:
            raise self._none_ready(None)
        return model


def is_answer(answer: Answer) -> bool:
    """Whether an engine's answer is one, and not a failure that another engine may mend."""
    return answer.failure is None and refusal(answer) is None


def refusal(answer: Answer) -> ServerError | None:
    """The engine's failure that an answer tells of; None where it is an answer, or the caller's mistake."""
    failure: GatewayError | None = None
    if answer.status >= 429:
        failure = engine_error(answer.status, answer.body())
    elif answer.is_stream:
        failure = first_event_error(answer.body())
    return failure if isinstance(failure, ServerError) else None
