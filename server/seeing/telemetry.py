"""Traces for OpenTelemetry: a span a request, its stages below it; the engine's own spans join by W3C's headers.

Off unless `otlp_endpoint` is set: then nothing of OpenTelemetry is imported, and a caller's own `traceparent` goes to
the engine as it came. On, a request costs 24 random bytes while it runs; its spans are made when it is over, from the
times that are noted anyway, and sent by a thread in batches. Attributes are names and numbers, no content, no key, no
query.
"""

import os
import time
from typing import TYPE_CHECKING, Any

from server import __version__
from server.exchange import Exchange
from server.seeing.trace import Trace
from server.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

NS = 1_000_000_000
SEND_EVERY_MS = 1000


class Tracer:
    """Makes spans of finished requests."""

    def __init__(self, processor: "SpanProcessor", share: float) -> None:
        """`processor` takes finished spans; `share` of the traces that begin here are kept."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._processor = processor
        self._share = share
        self._resource = Resource.create({"service.name": "qwenvl-server", "service.version": __version__})
        self._scope = InstrumentationScope("qwenvl-server", __version__)

    def begin(self, headers: dict[bytes, bytes]) -> Trace:
        """A request is here."""
        return Trace(headers, self._share)

    def finish(self, exchange: Exchange, duration_s: float) -> None:
        """A request is over."""
        trace = exchange.trace
        if trace is None or not trace.sampled:
            return
        to_epoch_ns = time.time_ns() - time.perf_counter_ns()

        def ns(at_s: float) -> int:
            return int(at_s * NS) + to_epoch_ns

        began_s = exchange.started_s
        for stage in exchange.stages:
            self._span(trace, stage.name, os.urandom(8).hex(), ns(stage.began_s), ns(stage.ended_s), root=False)
        name = f"{exchange.method} {exchange.route}"
        self._span(trace, name, trace.span_id, ns(began_s), ns(began_s + duration_s), root=True, exchange=exchange)

    def close(self) -> None:
        """Send what is left."""
        self._processor.shutdown()

    def _span(
        self,
        trace: Trace,
        name: str,
        span_id: str,
        began_ns: int,
        ended_ns: int,
        *,
        root: bool,
        exchange: Exchange | None = None,
    ) -> None:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        trace_id, flags = int(trace.trace_id, 16), TraceFlags(TraceFlags.SAMPLED)
        parent_id = trace.parent_id if root else int(trace.span_id, 16)
        parent = SpanContext(trace_id, parent_id, is_remote=root, trace_flags=flags) if parent_id else None
        failed = exchange is not None and exchange.status >= 500
        span: ReadableSpan = ReadableSpan(
            name,
            context=SpanContext(trace_id, int(span_id, 16), is_remote=False, trace_flags=flags),
            parent=parent,
            resource=self._resource,
            attributes=attributes(exchange) if exchange is not None else {},
            kind=SpanKind.SERVER if root else SpanKind.CLIENT if name in ("engine", "fetch") else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, exchange.code if exchange else "") if failed else Status(),
            start_time=began_ns,
            end_time=ended_ns,
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(span)


def attributes(exchange: Exchange) -> dict[str, str | int | float]:
    """A request's facts by OpenTelemetry's names, where it has one."""
    found: dict[str, Any] = {
        "http.request.method": exchange.method,
        "http.route": exchange.route,
        "http.response.status_code": exchange.status,
        "gen_ai.request.model": exchange.model,
        "gen_ai.usage.input_tokens": exchange.prompt_tokens,
        "gen_ai.usage.output_tokens": exchange.completion_tokens,
        "error.type": exchange.code,
        "qwenvl.caller": exchange.caller,
        "qwenvl.request_id": exchange.id.decode(),
        "qwenvl.visual_tokens": exchange.visual_tokens,
    }
    return {name: value for name, value in found.items() if value}


def open_tracer(settings: Settings) -> Tracer | None:
    """What `otlp_endpoint` asks for. Raises ValueError where OpenTelemetry is not installed."""
    if settings.otlp_endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as exc:
        raise ValueError("otlp_endpoint needs OpenTelemetry: pip install 'qwenvl-server[telemetry]'") from exc
    exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
    return Tracer(BatchSpanProcessor(exporter, schedule_delay_millis=SEND_EVERY_MS), settings.trace_share)
