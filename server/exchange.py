"""One request as all rooms know it: the edge makes it, callers and hot path fill it in, who watches reads it."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.callers.limits import Quota
    from server.hot.counting import Tally
    from server.seeing.stages import Stage
    from server.seeing.trace import Trace

LEFT = 499  # nginx's code for a client that closed first; only ever seen in logs and metrics


class Exchange:
    """One request and what became of it."""

    __slots__ = (
        "caller",
        "code",
        "completion_tokens",
        "first_byte_s",
        "headers",
        "id",
        "method",
        "model",
        "over_s",
        "path",
        "prompt_tokens",
        "quota",
        "route",
        "stages",
        "started_s",
        "status",
        "tally",
        "trace",
        "visual_tokens",
    )

    def __init__(self, request_id: bytes, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        self.id = request_id
        self.method = method
        self.path = path
        self.route = "other"
        """The path as a metric label: one of ours, never what a caller made up."""
        self.headers = headers
        self.started_s = time.perf_counter()
        self.first_byte_s = 0.0
        self.over_s = 0.0
        self.status = 0
        self.caller = "-"
        self.code = ""
        """Of the error that was answered."""
        self.model = ""
        self.quota: Quota | None = None
        """The caller's limits, where there are any."""
        self.stages: Sequence[Stage] = ()
        """Where somebody wants to know them."""
        self.tally: Tally | None = None
        """Of a stream."""
        self.trace: Trace | None = None
        """Where traces are made."""
        self.visual_tokens = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0

    def count(self, prompt_tokens: int, completion_tokens: int) -> None:
        """The engine has said what an answer cost; a task asks several times."""
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens

    def trace_head(self) -> bytes:
        """Header lines that tell an engine which trace this is part of."""
        if self.trace is not None:
            return self.trace.head()
        found = self.headers.get(b"traceparent")
        return b"" if found is None else b"traceparent: %b\r\n" % found

    def begin(self, status: int) -> None:
        """The answer's first byte goes out."""
        self.status = status
        self.first_byte_s = time.perf_counter()
