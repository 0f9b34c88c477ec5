"""How the mock engine behaves: fast or slow, how long an answer, which fault.

Set for one request by `?chunks=3` in its URL, by a header `x-mock: chunks=3&fault=die`, or by a field
`"mock": {"chunks": 3}` in its body, which survives gateways that forward neither; set for the requests to come by the
flags of `python -m benchmarks.overhead.mock` and by `POST /mock/behaviour`. The narrower one wins.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

FAULTS = ("", "refuse", "status", "die", "stall", "error_event", "no_end")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What one request meets.

    `refuse` closes without a byte; `status` answers with `status` before anything else; `die`, `stall` and
    `error_event` strike after `after` content chunks: the socket closes, nothing more comes, or vLLM's error event
    and `[DONE]` come inside the 200. `no_end` closes a stream when all is said but its usage and `[DONE]`. An answer
    that is not streamed dies in the middle of its body, and never comes when stalled.
    """

    json_ms: float = 0
    """Wait before an answer that is not streamed."""
    ttft_ms: float = 0
    """Wait between a stream's status line and its first chunk."""
    picture_ms: float = 0
    """Further wait for each picture or clip that this engine has not been shown before."""
    interval_ms: float = 0
    """Between two chunks of a stream; streams of the same interval tick together. 0: all at once."""
    chunks: int = 0
    """Content chunks of an answer; 0: what the request's max_tokens says, 16 without it."""
    answer: str = ""
    """What to say; without it, numbered words."""
    own_words: bool = False
    """Number the request's tag (`user`, else `seed`) instead of "token": no two requests are answered alike."""
    stamp: bool = False
    """Say the time of writing instead: CLOCK_MONOTONIC in nanoseconds, 16 hexadecimal digits a chunk."""
    fault: str = ""
    """One of FAULTS."""
    after: int = 0
    """Content chunks before the fault."""
    status: int = 500
    """Of the fault `status`."""

    def overlaid(self, changes: Mapping[str, Any]) -> "Behaviour":
        """This behaviour with some fields changed; values may be strings, as in a URL.

        Raises ValueError for a field, a value or a fault that there is not: a misspelt fault tests nothing.

        >>> changed = Behaviour().overlaid({"chunks": "3", "fault": "die"})
        >>> changed.chunks, changed.fault
        (3, 'die')
        >>> Behaviour().overlaid({"fault": "explode"})
        Traceback (most recent call last):
        ValueError: fault is 'explode'; known are refuse, status, die, stall, error_event, no_end
        """
        if not changes:
            return self
        changed = replace(self, **{name: _read(name, value) for name, value in changes.items()})
        if changed.fault not in FAULTS:
            raise ValueError(f"fault is {changed.fault!r}; known are {', '.join(FAULTS[1:])}")
        return changed


_TYPES = {field.name: field.type for field in fields(Behaviour)}


def _read(name: str, value: Any) -> Any:
    kind = _TYPES.get(name)
    if kind is None:
        raise ValueError(f"{name} is no behaviour of the mock; known are {', '.join(_TYPES)}")
    if kind is bool and isinstance(value, str):
        return value.lower() in ("1", "true", "yes")
    assert isinstance(kind, type)
    return kind(value)
