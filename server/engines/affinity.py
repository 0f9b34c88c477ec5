"""The same picture goes to the same engine, which then has it in its caches; unless that engine has too much to do.

An engine that holds the picture is preferred. One that nobody holds goes where rendezvous hashing puts it, so that
several gateways put it to the same place without talking; an engine that holds much more than the others is passed
over. An engine whose load is far above the mean is passed over too: a picture that everybody asks about is shown to a
second one.
"""

from collections.abc import Sequence
from hashlib import blake2b

from server.engines.member import Member
from server.engines.work import Work
from server.seeing import metrics

LOAD_BOUND = 1.25
"""Most load that an engine may have for a picture to go there because it holds it, as a multiple of the mean."""
SLACK_TOKENS = 8192
"""A difference in load below it is no reason to leave a cache: one step of an engine's prefill."""
HELD_BOUND = 1.1
"""Most that an engine may hold of new pictures, as a multiple of the mean."""


def score(name: str, url: str) -> bytes:
    """The engine with the highest score is a picture's own.

    >>> score("a cat", "http://10.0.0.7:8100") == score("a cat", "http://10.0.0.7:8100")
    True
    """
    return blake2b(name.encode(), key=url.encode()[-64:], digest_size=8).digest()


def choose(members: Sequence[Member], work: Work, now_s: float) -> Member | None:
    """Where the pictures of `work` should go; None where only the load should decide."""
    burdens = {member: member.burden(0, now_s) for member in members}
    mean = (sum(burdens.values()) + work.weight) / len(members)
    most = max(LOAD_BOUND * mean, mean + SLACK_TOKENS)
    held = {member: member.held.of(work.media) for member in members}
    best = max(held.values())
    if best:
        member = min((each for each in members if held[each] == best), key=burdens.__getitem__)
        fits = burdens[member] <= most
        metrics.AFFINITY.add(("hit" if fits else "overloaded",))
        return member if fits else None
    metrics.AFFINITY.add(("new",))
    name = next(iter(work.media))
    most_held = HELD_BOUND * (sum(member.held.tokens for member in members) + sum(work.media.values())) / len(members)
    for member in sorted(members, key=lambda each: score(name, each.url), reverse=True):
        if burdens[member] <= most and member.held.tokens < most_held:
            return member
    return None
