"""A vLLM engine over HTTP or a Unix socket, and whether it is alive.

Alive is more than `/health`: see `health`. An engine that lives but does not move is *stuck*: what waits for it is
asked of another one, and it comes back when it makes a step again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import orjson

from server.engines.answer import Answer
from server.engines.health import Heartbeat
from server.engines.wire import Wire
from server.errors import EngineFailed, EngineUnavailable, GatewayError
from server.settings import Settings

log = logging.getLogger(__name__)

PROBES_TO_EJECT = 2  # one slow probe is a long prefill or a busy machine; two in a row are not
POLL_AWAY_S = 0.25
"""An engine that is away is looked at so often: it costs next to nothing, and every request waits for it to be back."""
QUESTION_EVERY_S = 3.0
"""A stuck engine is asked for one token so often: with nothing to do it makes no steps to show that it moves again."""


class VllmEngine:
    """One vLLM server."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self.models: list[dict[str, Any]] = []
        self.names: frozenset[str] = frozenset()
        self.others = 0
        self.on_change: Callable[[], None] | None = None
        key = settings.engine_api_key.get_secret_value() if settings.engine_api_key else None
        self._wire = Wire(
            url,
            api_key=key,
            limit=settings.engine_connections,
            timeout_s=settings.engine_timeout_s,
            connect_timeout_s=settings.engine_connect_timeout_s,
        )
        self._probe_s = settings.engine_probe_timeout_s
        self._probes = Wire(url, api_key=key, limit=4, timeout_s=self._probe_s, connect_timeout_s=self._probe_s)
        """Connections of their own: an engine whose others are all taken is not dead."""
        self._poll_s = settings.engine_poll_s
        self._failures = 0
        self._reason = "not reached yet"
        self._stuck_since_s: float | None = None
        self._next_question_s = 0.0
        self._heartbeat = Heartbeat(settings.engine_stall_s)
        self._loop = asyncio.get_running_loop()
        self._look_now = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """See `Engine.ready`."""
        return not self._reason

    @property
    def reason(self) -> str:
        """See `Engine.reason`."""
        return self._reason

    @property
    def stuck_s(self) -> float | None:
        """See `Engine.stuck_s`."""
        return None if self._stuck_since_s is None else self._loop.time() - self._stuck_since_s

    async def start(self) -> None:
        """Look once, then watch in the background."""
        await self.look()
        self._watch = asyncio.create_task(self._watch_forever(), name=f"watch {self.url}")

    async def close(self) -> None:
        """See `Engine.close`."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        self._wire.close()
        self._probes.close()

    async def ask(self, method: str, path: str, body: bytes, headers: bytes) -> Answer:
        """See `Engine.ask`."""
        try:
            return await self._wire.request(method, path, body, headers)
        except (EngineUnavailable, EngineFailed) as exc:
            self.failed(exc)
            raise

    def ask_at_once(
        self, method: str, path: str, body: bytes, headers: bytes, on_ready: Callable[[], None]
    ) -> Answer | None:
        """See `Engine.ask_at_once`."""
        return self._wire.request_at_once(method, path, body, headers, on_ready)

    def failed(self, failure: BaseException) -> None:
        """See `Engine.failed`."""
        if isinstance(failure, EngineUnavailable):  # nobody listens: no need to wait for the next probe
            self._failures = PROBES_TO_EJECT
            self._say(failure.message)
        elif isinstance(failure, EngineFailed):
            self._look_now.set()

    def give_up(self) -> None:
        """See `Engine.give_up`."""
        self._wire.give_up(f"the engine is stuck: {self._reason}")

    async def _watch_forever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s if self.ready else min(self._poll_s, POLL_AWAY_S)):
                    await self._look_now.wait()
            self._look_now.clear()
            await self.look()

    # -- health -------------------------------------------------------------------------------------------------------
    async def look(self) -> None:
        """See `Engine.look`."""
        busy, began_s = self._wire.busy, self._loop.time()
        try:
            async with asyncio.timeout(self._probe_s):
                await self._probe("/health")
                metrics = await self._probe("/metrics")
                if not self.models or self._failures:  # it may have come back as another one
                    self.models = orjson.loads(await self._probe("/v1/models"))["data"]
                    self.names = frozenset(card["id"] for card in self.models)
        except EngineUnavailable as exc:
            self._failures = PROBES_TO_EJECT
            self._say(exc.message)
        except (GatewayError, TimeoutError, orjson.JSONDecodeError, KeyError, TypeError) as exc:
            self._fail_probe(exc, began_s)
        else:
            self._failures = 0
            reason = self._heartbeat.read(metrics, self._loop.time(), self._wire.silence_s())
            self.others = max(0, self._heartbeat.reported - max(busy, self._wire.busy))
            if reason and await self._answers_a_question():
                self._heartbeat.revive(self._loop.time())
                reason = ""
            self._say(reason, stuck=self._heartbeat.stuck)

    def _fail_probe(self, exc: Exception, began_s: float) -> None:
        """No answer in time, or one that cannot be read."""
        if self._wire.heard_s > began_s:  # busy, but its answers come
            return
        self._failures += 1
        if self._failures >= PROBES_TO_EJECT or not self.models:
            late = isinstance(exc, TimeoutError)
            reason = getattr(exc, "message", f"it did not answer a probe within {self._probe_s:g} s")
            self._say(reason, stuck=late and bool(self.models))

    async def _probe(self, path: str) -> bytes:
        answer = await self._probes.request("GET", path, b"", b"")
        try:
            if answer.status != 200:
                raise EngineUnavailable(f"its {path} answered {answer.status}")
            return answer.body()
        finally:
            answer.close()

    async def _answers_a_question(self) -> bool:
        """Whether an engine that is stuck makes a step when it is asked for one."""
        if self._reason == "" or self._loop.time() < self._next_question_s:
            return False  # it was only now found stuck, or asked a moment ago
        self._next_question_s = self._loop.time() + QUESTION_EVERY_S
        body = orjson.dumps({"model": next(iter(self.names), ""), "prompt": "1", "max_tokens": 1})
        with contextlib.suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(self._probe_s):
                answer = await self._probes.request(
                    "POST", "/v1/completions", body, b"content-type: application/json\r\n"
                )
            answer.close()
            return answer.status == 200
        return False

    def _say(self, reason: str, *, stuck: bool = False) -> None:
        if not stuck:
            self._stuck_since_s = None
        elif self._stuck_since_s is None:
            self._stuck_since_s = self._loop.time()
        if reason == self._reason or (reason and self._reason and stuck):  # the seconds in it grow
            self._reason = reason
            return
        self._reason = reason
        log.log(logging.WARNING if reason else logging.INFO, "engine %s: %s", self.url, reason or "ready")
        if self.on_change is not None:
            self.on_change()
