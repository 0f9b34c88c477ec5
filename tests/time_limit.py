"""A test that never ends is ended, and says where it waited.

pytest-timeout knows when: its `timeout` and its marks hold. How it ends a test does not do here: an exception raised in
a signal's handler is lost in uvloop, so the test goes on, and its timer is off as soon as a test has failed, so a
teardown may wait for ever. Here the process ends, and pytest-xdist counts the test as failed and starts another one.
"""

import asyncio
import faulthandler
import os
import threading
import weakref
from collections.abc import Generator

import pytest
import uvloop
from pytest_timeout import Settings, is_debugging

TEARDOWN_S = float(os.environ.get("TEARDOWN_S", "120"))
"""What a failed test may take to clean up."""

_loops: "weakref.WeakSet[asyncio.AbstractEventLoop]" = weakref.WeakSet()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The loop of production, whose tasks can be told when time is up."""
    loop = uvloop.new_event_loop()
    _loops.add(loop)
    return loop


class TimeLimit:
    """A plugin of pytest. To be made while pytest does not capture what is written."""

    def __init__(self) -> None:
        self._error = os.fdopen(os.dup(2), "w")

    @pytest.hookimpl(tryfirst=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Settings) -> bool:
        """Called by pytest-timeout, which calls `item.cancel_timeout` when the test is over."""
        item.cancel_timeout = self._started(item, settings.timeout).cancel  # type: ignore[attr-defined]
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """The timer of a failed test is off by now."""
        timer = self._started(item, TEARDOWN_S)
        try:
            return (yield)
        finally:
            timer.cancel()

    def _started(self, item: pytest.Item, timeout_s: float) -> threading.Timer:
        timer = threading.Timer(timeout_s, self._end_process, (item.nodeid, timeout_s))
        timer.daemon = True
        timer.start()
        return timer

    def _end_process(self, nodeid: str, timeout_s: float) -> None:
        if is_debugging():
            return
        print(f"\n{nodeid}: not over after {timeout_s:g} s", file=self._error, flush=True)
        faulthandler.dump_traceback(self._error)
        for loop in list(_loops):
            if not loop.is_closed():
                for task in asyncio.all_tasks(loop):
                    task.print_stack(file=self._error)
        self._error.flush()
        os._exit(1)
