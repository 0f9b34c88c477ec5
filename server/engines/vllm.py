"""A vLLM engine over HTTP or a Unix socket, and whether it is alive.

Alive is more than `/health`: vLLM answers it with 200 while its core is stuck (vllm #39863, #46811). So the step
counter `vllm:iteration_tokens_total_count` is read, and an engine that has work and makes no step is not ready.
"""

import asyncio
import contextlib
import logging
import re
from typing import Any

import orjson

from server.engines.wire import Answer, Wire
from server.errors import EngineUnavailable, GatewayError
from server.settings import Settings

log = logging.getLogger(__name__)

GAUGE = re.compile(
    rb"^vllm:(num_requests_running|num_requests_waiting|iteration_tokens_total_count)\{[^}]*\} (\S+)", re.M
)
PROBE_TIMEOUT_S = 5
PROBES_TO_EJECT = 2  # one slow probe is a long prefill or a busy machine; two in a row are not


class VllmEngine:
    """One vLLM server."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self.models: list[dict[str, Any]] = []
        self.names: frozenset[str] = frozenset()
        self.in_flight = 0
        key = settings.engine_api_key
        self._wire = Wire(
            url,
            api_key=key.get_secret_value() if key else None,
            limit=settings.engine_connections,
            timeout_s=settings.engine_timeout_s,
            connect_timeout_s=settings.engine_connect_timeout_s,
        )
        self._poll_s = settings.engine_poll_s
        self._stall_s = settings.engine_stall_s
        self._failures = 0
        self._reason = "not reached yet"
        self._heartbeat = Heartbeat(settings.engine_stall_s)
        self._watch: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """See `Engine.ready`."""
        return not self._reason

    @property
    def reason(self) -> str:
        """See `Engine.reason`."""
        return self._reason

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

    async def ask(self, method: str, path: str, body: bytes, headers: bytes) -> Answer:
        """See `Engine.ask`."""
        self.in_flight += 1
        try:
            answer = await self._wire.request(method, path, body, headers)
        except BaseException as exc:
            self.in_flight -= 1
            if isinstance(exc, EngineUnavailable):  # nobody listens: no need to wait for the next probe
                self._failures = PROBES_TO_EJECT
                self._say(exc.message)
            raise
        answer.on_close = self._finished
        return answer

    def _finished(self) -> None:
        self.in_flight -= 1

    async def _watch_forever(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            await self.look()

    async def look(self) -> None:
        """See `Engine.look`."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self._probe("/health")
                metrics = await self._probe("/metrics")
                if not self.models or self._failures:  # it may have come back as another one
                    self.models = orjson.loads(await self._probe("/v1/models"))["data"]
                    self.names = frozenset(card["id"] for card in self.models)
        except (GatewayError, TimeoutError, orjson.JSONDecodeError, KeyError) as exc:
            self._failures += 1
            if self._failures >= PROBES_TO_EJECT or not self.models:
                self._say(getattr(exc, "message", f"it did not answer a probe within {PROBE_TIMEOUT_S} s"))
            return
        self._failures = 0
        self._say(self._heartbeat.read(metrics, asyncio.get_running_loop().time()))

    async def _probe(self, path: str) -> bytes:
        answer = await self._wire.request("GET", path, b"", b"")
        try:
            if answer.status != 200:
                raise EngineUnavailable(f"its {path} answered {answer.status}")
            return answer.body()
        finally:
            answer.close()

    def _say(self, reason: str) -> None:
        if reason != self._reason:
            self._reason = reason
            log.log(logging.WARNING if reason else logging.INFO, "engine %s: %s", self.url, reason or "ready")


class Heartbeat:
    """Whether an engine that has work makes steps, from what its /metrics says.

    >>> heart = Heartbeat(stall_s=20)
    >>> busy = b'vllm:num_requests_running{engine="0"} 3.0\\nvllm:iteration_tokens_total_count{engine="0"} 7.0\\n'
    >>> heart.read(busy, now_s=0), heart.read(busy, now_s=30)
    ('', 'it has 3 requests and made no step for 30 s')
    """

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._steps = -1.0
        self._moved_s = 0.0

    def read(self, metrics: bytes, now_s: float) -> str:
        """What is wrong, or ""."""
        values: dict[bytes, float] = {}
        for name, value in GAUGE.findall(metrics):  # one line for each engine core
            values[name] = values.get(name, 0) + float(value)
        work = values.get(b"num_requests_running", 0) + values.get(b"num_requests_waiting", 0)
        steps = values.get(b"iteration_tokens_total_count", 0)
        if steps != self._steps or not work:
            self._steps = steps
            self._moved_s = now_s
        idle_s = now_s - self._moved_s
        return f"it has {work:.0f} requests and made no step for {idle_s:.0f} s" if idle_s > self._stall_s else ""
