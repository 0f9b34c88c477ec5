"""A request's place in a trace, by W3C's trace context (`traceparent`, `tracestate`)."""

import os
import random
import re

TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
SAMPLED = 1
NO_ID = 0


class Trace:
    """One request's place in a trace."""

    __slots__ = ("parent_id", "sampled", "span_id", "state", "trace_id")

    def __init__(self, headers: dict[bytes, bytes], share: float) -> None:
        """Goes on with the caller's trace if `headers` name one, else begins one; of those `share` are kept."""
        found = TRACEPARENT.fullmatch(headers.get(b"traceparent", b""))
        if found is not None and int(found[1], 16) and int(found[2], 16):
            self.trace_id, self.parent_id = found[1].decode(), int(found[2], 16)
            self.sampled = bool(int(found[3], 16) & SAMPLED)
            self.state = headers.get(b"tracestate", b"")
        else:
            self.trace_id, self.parent_id = os.urandom(16).hex(), NO_ID
            self.sampled = share >= 1 or random.random() < share  # noqa: S311  # which to keep is no secret
            self.state = b""
        self.span_id = os.urandom(8).hex()

    def head(self) -> bytes:
        """Header lines for the engine: its spans are children of ours.

        >>> trace = Trace({b"traceparent": b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"}, share=0)
        >>> trace.head() == b"traceparent: 00-%b-%b-01\\r\\n" % (b"a" * 32, trace.span_id.encode())
        True
        """
        state = b"tracestate: %b\r\n" % self.state if self.state else b""
        parts = (self.trace_id.encode(), self.span_id.encode(), int(self.sampled), state)
        return b"traceparent: 00-%b-%b-%02x\r\n%b" % parts
