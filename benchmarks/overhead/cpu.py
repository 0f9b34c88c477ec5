"""CPU time and pinning of a process and all its children, as Linux counts them."""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
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
        with suppress(OSError):
            total += alone_s(process)
    return total


def alone_s(pid: int) -> float:
    """The same of one process, without those that it started. Raises OSError if it is gone.

    >>> 0 < alone_s(os.getpid()) <= cpu_s(os.getpid())
    True
    """
    return time.clock_gettime((~pid << 3) | 2)


@contextmanager
def stopped(pids: Iterable[int]) -> Iterator[None]:
    """The trees of `pids` stand still inside; they go on afterwards, whatever happens."""
    processes = [process for pid in pids for process in tree(pid)]
    try:
        _signal(processes, signal.SIGSTOP)
        yield
    finally:
        _signal(processes, signal.SIGCONT)


@contextmanager
def realtime(pids: Iterable[int]) -> Iterator[None]:
    """Every thread of the trees of `pids` runs before all ordinary ones inside; needs root.

    A nice value would not do: where the kernel groups processes by session (sched_autogroup), it only counts within
    one session.
    """
    threads = [int(task.name) for pid in pids for one in tree(pid) for task in Path(f"/proc/{one}/task").iterdir()]
    try:
        _schedule(threads, os.SCHED_RR, 1)
        yield
    finally:
        _schedule(threads, os.SCHED_OTHER, 0)


def _schedule(threads: Iterable[int], policy: int, priority: int) -> None:
    for thread in threads:
        with suppress(ProcessLookupError):
            os.sched_setscheduler(thread, policy, os.sched_param(priority))


def _signal(processes: Iterable[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)
