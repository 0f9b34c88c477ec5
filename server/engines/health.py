"""How an engine is judged: by the steps it makes, by how long its answers are silent, by the requests it fails.

vLLM answers `/health` with 200 while its core is stuck (vllm #39863, #46811), and its gauges, which the core itself
sends, stand still with it: a core that got stuck while idle says for ever that it has no work. So what the gateway
waits for counts as work too.
"""

import re

GAUGE = re.compile(
    rb"^vllm:(num_requests_running|num_requests_waiting|iteration_tokens_total_count)\{[^}]*\} (\S+)", re.M
)


class Heartbeat:
    """Whether an engine that has work makes steps, from its /metrics and from what we wait for.

    >>> heart = Heartbeat(stall_s=6)
    >>> metrics = b'vllm:num_requests_running{engine="0"} %d\\nvllm:iteration_tokens_total_count{engine="0"} 7.0\\n'
    >>> heart.read(metrics % 3, now_s=0), heart.read(metrics % 3, now_s=9)
    ('', 'it has 3 requests and made no step for 9 s')

    Once stuck it stays so until it makes a step, or is seen to (`revive`): without the requests that waited on it, it
    would look idle.

    >>> heart.read(metrics % 0, now_s=10)
    'it has 0 requests and made no step for 10 s'
    >>> heart.revive(now_s=11); heart.read(metrics % 0, now_s=11)
    ''
    """

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._steps = -1.0
        self._stepped_s = 0.0
        self._work_since_s: float | None = None
        self.reported = 0
        """Requests that the engine said it had, its own callers' and others'."""
        self.stuck = False

    def read(self, metrics: bytes, now_s: float, silence_s: float = 0) -> str:
        """What is wrong, or "". `silence_s`: how long a request of ours has waited for its next byte."""
        values: dict[bytes, float] = {}
        for name, value in GAUGE.findall(metrics):  # one line for each engine core
            values[name] = values.get(name, 0) + float(value)
        self.reported = int(values.get(b"num_requests_running", 0) + values.get(b"num_requests_waiting", 0))
        steps = values.get(b"iteration_tokens_total_count")
        if steps is None:  # another make of engine: nothing to judge by
            return ""
        if steps != self._steps:
            self._steps = steps
            self.revive(now_s)
        if not self.reported:
            self._work_since_s = None
        elif self._work_since_s is None:
            self._work_since_s = now_s
        still_s = now_s - self._stepped_s
        waited_s = max(silence_s, 0 if self._work_since_s is None else now_s - self._work_since_s)
        self.stuck = self.stuck or min(still_s, waited_s) > self._stall_s
        return f"it has {self.reported} requests and made no step for {still_s:.0f} s" if self.stuck else ""

    def revive(self, now_s: float) -> None:
        """It was seen to make a step."""
        self._stepped_s = now_s
        self._work_since_s = None
        self.stuck = False


class Breaker:
    """Whether an engine that passes its probes keeps failing requests: then others are preferred.

    It opens when more than about half of the latest requests failed, four in a row at least. After a pause, longer each
    time, one request is its trial.

    >>> breaker = Breaker()
    >>> for _ in range(4): breaker.failed(now_s=0)
    >>> breaker.state(now_s=0.5), breaker.allows(now_s=0.5), breaker.state(now_s=1), breaker.allows(now_s=1)
    ('open', False, 'half-open', True)
    >>> breaker.begin(); breaker.allows(now_s=1)  # one trial at a time
    False
    >>> breaker.succeeded(); breaker.state(now_s=1)
    'closed'
    """

    FADE = 0.8
    OPENS_AT = 2.5
    FIRST_PAUSE_S = 1.0
    MOST_PAUSE_S = 30.0

    __slots__ = ("_failures", "_opened_s", "_pause_s", "_trial")

    def __init__(self) -> None:
        self._failures = 0.0
        """Failures, each request that follows one fading it."""
        self._pause_s = 0.0
        """0: closed."""
        self._opened_s = 0.0
        self._trial = False

    def state(self, now_s: float) -> str:
        """`closed`, `open` or `half-open`."""
        if not self._pause_s:
            return "closed"
        return "open" if now_s < self._opened_s + self._pause_s else "half-open"

    def allows(self, now_s: float) -> bool:
        """Whether a request may go there."""
        return not self._pause_s or (not self._trial and now_s >= self._opened_s + self._pause_s)

    def begin(self) -> None:
        """A request goes there."""
        self._trial = self._pause_s > 0

    def let_go(self) -> None:
        """A request ended for a reason that says nothing of the engine."""
        self._trial = False

    def succeeded(self) -> None:
        """A request was answered."""
        self._failures = 0.0 if self._pause_s else self._failures * self.FADE
        self._trial = False
        self._pause_s = 0.0

    def failed(self, now_s: float) -> None:
        """The engine failed a request."""
        if self._pause_s and not self._trial:  # one of those that were there when it opened
            return
        self._failures = self._failures * self.FADE + 1
        if self._pause_s or self._failures > self.OPENS_AT:
            self._pause_s = min(2 * self._pause_s or self.FIRST_PAUSE_S, self.MOST_PAUSE_S)
            self._opened_s = now_s
        self._trial = False
