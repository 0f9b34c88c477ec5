"""What stands before every request that costs something: a key, what the key is for, what it may still ask, a place.

`caller`, then `arrive` before the body is read, then `admit` once it is known what the request weighs; the `Visit` is
left when the answer is out.
"""

from server.callers.admission import Admission, Visit
from server.callers.auth import Auth, check_task
from server.callers.keys import Caller
from server.callers.leases import Leases, is_leased
from server.callers.limits import Limiter
from server.callers.weighing import declared_bytes, places
from server.exchange import Exchange
from server.seeing import stages
from server.settings import Settings

TEXT_BYTES_PER_TOKEN = 4
"""For counting a prompt before the engine has; what it really was is settled when the answer is there."""


class Gate:
    """Auth, limits and admission, in this order."""

    decides_here = True
    """Whether a place can be had without asking another process."""

    def __init__(
        self,
        settings: Settings,
        auth: Auth,
        limiter: Limiter,
        admission: Admission | None = None,
        leases: Leases | None = None,
    ) -> None:
        """Without `admission` and `leases` they are another one's, which `server.workers.shared` asks."""
        self._settings = settings
        self._auth = auth
        self._limiter = limiter
        self._admission = admission
        self._leases = leases

    def caller(self, exchange: Exchange, task: str) -> Caller:
        """Who asks for `task`. Raises AuthenticationFailed, PermissionDenied."""
        caller = self._auth.caller(exchange.headers)
        exchange.caller = caller.name
        if caller.tasks is not None:
            check_task(caller, task)
        return caller

    async def arrive(self, exchange: Exchange, caller: Caller) -> Visit:
        """Count the request and its body, which is not read yet. Raises RateLimited, Overloaded."""
        if self._limiter.limits(caller):
            exchange.quota = await self._limiter.arrive(caller)
        visit = self._let_in(exchange, caller)
        if self._leases is not None and is_leased(caller, self._settings):
            try:
                await self._leases.take(visit)
            except BaseException:  # who asks may have left meanwhile
                visit.leave()
                raise
        return visit

    def at_once(self, exchange: Exchange, caller: Caller) -> Visit | None:
        """The same, if nobody need be asked; None where `arrive` must. Raises Overloaded."""
        return None if self._is_asked_for(caller) else self._let_in(exchange, caller)

    def _is_asked_for(self, caller: Caller) -> bool:
        """Whether somebody else decides too."""
        return self._limiter.limits(caller) or is_leased(caller, self._settings)

    def _let_in(self, exchange: Exchange, caller: Caller) -> Visit:
        assert self._admission is not None
        return self._admission.arrive(caller, declared_bytes(exchange.headers, self._settings.max_body_bytes))

    def admits(self, exchange: Exchange, visit: Visit, visual_tokens: int) -> bool:
        """Take the places that the request weighs, if nothing stands against it; else `admit` waits for them."""
        return exchange.quota is None and visit.enter(places(visual_tokens, visit.bytes, self._settings))

    async def admit(self, exchange: Exchange, visit: Visit, visual_tokens: int) -> None:
        """Take the places that the request weighs, when it is its turn. Raises RateLimited, Overloaded."""
        if exchange.quota is not None:
            text_tokens = 0 if visual_tokens else visit.bytes // TEXT_BYTES_PER_TOKEN
            await exchange.quota.spend(visual_tokens + text_tokens)
        weight = places(visual_tokens, visit.bytes, self._settings)
        if not visit.enter(weight):
            with stages.stage("queue"):
                await visit.wait(weight)
