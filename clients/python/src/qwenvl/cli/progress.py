"""A bar on stderr for people who watch; nothing for those who do not."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress:
    """How many of the files are done. Not shown for one file, nor where stderr is no terminal."""

    def __init__(self, files: int, skipped: int, *, quiet: bool) -> None:
        self._bar: Bar | None = None
        if files > 1 and not quiet and sys.stderr.isatty():
            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=Console(stderr=True), redirect_stdout=False)
            self._task = self._bar.add_task("", total=files + skipped, completed=skipped)

    def step(self) -> None:
        """One file more."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
