"""Tokens and events of an answer, counted as its bytes go by: nothing is parsed on the way.

An engine says what an answer cost in its `usage`; in a stream that is its last event, and only where `include_usage`
was asked for. Where we ask for it and the client did not, that event is kept from the client.
"""

import re

from server.protocol import AS_VLLM, USAGE

WITHOUT_CHOICES = b'"choices":[]'
PROMPT = re.compile(rb'"(?:prompt|input)_tokens":\s?(\d+)')
COMPLETION = re.compile(rb'"(?:completion|output)_tokens":\s?(\d+)')
ENVELOPE_EVENTS = 2
"""Events of a stream that hold no token: who speaks, and [DONE]."""


def usage_in(data: bytes) -> tuple[int, int] | None:
    """(prompt tokens, completion tokens) of the last usage in an answer's bytes; None if it has none.

    >>> usage_in(b'{"id":"1","usage":{"prompt_tokens":9,"total_tokens":12,"completion_tokens":3}}')
    (9, 3)
    >>> usage_in(b'data: {"usage":null}')
    """
    at = data.rfind(USAGE)
    if at < 0:
        return None
    found = AS_VLLM.match(data, at)
    if found is not None:
        return int(found[1]), int(found[2])
    prompt, completion = PROMPT.search(data, at), COMPLETION.search(data, at)
    return (int(prompt[1]) if prompt else 0), (int(completion[1]) if completion else 0)


class Tally:
    """What goes to the client in one stream.

    >>> tally = Tally(hide_usage=True)
    >>> tally.feed(b'data: {"choices":[{}]}\\n\\ndata: {"choices":[],"usage":{"prompt_tokens":2}}\\n\\n')
    b'data: {"choices":[{}]}\\n\\n'
    >>> tally.events, tally.usage()
    (2, (2, 0))
    """

    __slots__ = ("_last", "events", "hide_usage")

    def __init__(self, *, hide_usage: bool) -> None:
        self.hide_usage = hide_usage
        """Whether the client did not ask for the event that holds nothing but the usage."""
        self.events = 0
        self._last = b""

    def feed(self, data: bytes) -> bytes:
        """Count what is about to go out; what of it shall."""
        self.events += data.count(b"\n\n")
        if USAGE in data:
            self._last = data
            if self.hide_usage:
                return b"\n\n".join(event for event in data.split(b"\n\n") if not _is_usage(event))
        return data

    def usage(self) -> tuple[int, int]:
        """(prompt tokens, completion tokens); where the engine did not say, an event counts as a token."""
        return usage_in(self._last) or (0, max(0, self.events - ENVELOPE_EVENTS))


def _is_usage(event: bytes) -> bool:
    return WITHOUT_CHOICES in event and USAGE in event
