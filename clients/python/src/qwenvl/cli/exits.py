"""Exit codes, and words for people, which go to stderr: stdout is for data."""

import sys

ANSWERED = 0
"""Every file has its answer."""
SOME_FAILED = 1
"""Some files have an error instead; the rest is answered."""
USAGE = 2
"""The command makes no sense; nothing was asked."""
NO_SERVER = 3
"""The server cannot be reached, or does not let this caller in; what was answered before is kept."""
INTERRUPTED = 130
"""Ctrl-C; what was answered is kept, and the same command goes on from there."""


class UsageError(Exception):
    """The command makes no sense; the message says why."""


def say(words: str) -> None:
    """Tell the person."""
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


def give(data: str) -> None:
    """Data for the next program."""
    sys.stdout.write(data if data.endswith("\n") else f"{data}\n")
    sys.stdout.flush()
