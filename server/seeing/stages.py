"""Where a request's time goes: `with stage("decode"):` around what it waits for.

Counted for all requests together in `qvl_stage_seconds`, and, where somebody wants to know, noted for the request at
hand, whose log line and trace show it, wherever in its tasks the stage was.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

from server.seeing import metrics

Name = Literal["queue", "fetch", "decode", "engine", "read"]
MOST_STAGES = 256
"""Noted of one request; a document of many pages has more, which are counted alone."""


class Stage(NamedTuple):
    """A stretch of a request's life, in seconds of `time.perf_counter`."""

    name: Name
    began_s: float
    ended_s: float


_noted: ContextVar[list[Stage] | None] = ContextVar("stages", default=None)


def noted() -> list[Stage]:
    """Where the stages of this task, and of those that it starts, will be noted."""
    stages: list[Stage] = []
    _noted.set(stages)
    return stages


def add(name: Name, began_s: float, ended_s: float) -> None:
    """A stage that is over."""
    metrics.STAGE_S.observe(name, ended_s - began_s)
    stages = _noted.get()
    if stages is not None and len(stages) < MOST_STAGES:
        stages.append(Stage(name, began_s, ended_s))


@contextmanager
def stage(name: Name) -> Iterator[None]:
    """The body of the `with` is the stage, however it ends."""
    began_s = time.perf_counter()
    try:
        yield
    finally:
        add(name, began_s, time.perf_counter())
