"""CPU time and pinning of a process and all its children, as Linux counts them."""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def tree(pid: int) -> list[int]:
    """`pid` and all that it started, directly or not, that lives; [] if it is gone."""
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.append(parent)
    return found


def cpu_s(pid: int) -> float:
    """User and system seconds spent so far by the living processes of `pid`'s tree, all their threads included.

    From each process's own clock (clock_getcpuclockid(3) builds the same number), which counts nanoseconds where
    /proc/PID/stat counts hundredths.

    >>> cpu_s(os.getpid()) > 0
    True
    """
    total = 0.0
    for process in tree(pid):
        try:
            total += time.clock_gettime((~process << 3) | 2)
        except OSError:
            continue
    return total


def pin(pid: int, core: int) -> None:
    """Every thread of `pid`'s tree, and what they start from now on, onto one core."""
    for process in tree(pid):
        for task in Path(f"/proc/{process}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})


@contextmanager
def stopped(pids: Iterable[int]) -> Iterator[None]:
    """The trees of `pids` stand still inside; they go on afterwards, whatever happens."""
    processes = [process for pid in pids for process in tree(pid)]
    try:
        _signal(processes, signal.SIGSTOP)
        yield
    finally:
        _signal(processes, signal.SIGCONT)


def _signal(processes: Iterable[int], number: signal.Signals) -> None:
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue
