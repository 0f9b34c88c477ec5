"""The command line: `qwenvl --help`."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import App

import qwenvl
from qwenvl.cli import chat, mcp, models, tasks
from qwenvl.cli.files import STDIN

HELP = """Ask a Qwen2.5-VL server about your pictures, documents, videos and screens.

Answers are JSON Lines on stdout, a line a file, in the pixels, pages and seconds of your own files; words for people
go to stderr.

```
qwenvl detect street.jpg -l car -l person --text
qwenvl parse bill.pdf --text > bill.md
qwenvl caption photos/ --out captions.jsonl -j 16
```

A command with `--out` that was stopped goes on where it was when it is run again.

Exit codes: 0 every file was answered, 1 some failed, 2 the command makes no sense, 3 the server cannot be reached or
refuses this caller, 130 interrupted."""

READER_LEFT = 141  # as a shell says it of a program that SIGPIPE ended

app = App(name="qwenvl", help=HELP, help_format="markdown", version=qwenvl.__version__)
for command in (
    tasks.detect,
    tasks.parse,
    tasks.events,
    tasks.read,
    tasks.caption,
    tasks.extract,
    tasks.act,
    chat.chat,
    models.models,
    mcp.mcp,
):
    app.command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command of these arguments, or of this process's, and leave with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        sys.exit(app([STDIN if each == "-" else each for each in given]))  # cyclopts takes - for an option
    except BrokenPipeError:  # `qwenvl ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains on its way out
        sys.exit(READER_LEFT)
