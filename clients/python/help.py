"""Writes the README's `--help` texts anew: python clients/python/help.py [--check]."""

import contextlib
import io
import re
import sys
from pathlib import Path

from rich.console import Console

from qwenvl.cli import app

README = Path(__file__).with_name("README.md")
BLOCK = re.compile(r"<!-- help ?(\w*) -->\n```\n.*?```\n<!-- /help -->", re.DOTALL)
WIDTH = 110


def told(command: str) -> str:
    """What `qwenvl COMMAND --help` prints."""
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, force_terminal=False, color_system=None)
    with contextlib.suppress(SystemExit):
        app([*filter(None, [command]), "--help"], console=console)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip()


def block(found: re.Match[str]) -> str:
    """A block with its text as it is now."""
    name = f" {found[1]}" if found[1] else ""
    return f"<!-- help{name} -->\n```\n{told(found[1])}\n```\n<!-- /help -->"


def main() -> int:
    old = README.read_text("utf-8")
    new = BLOCK.sub(block, old)
    if "--check" in sys.argv:
        return int(new != old)
    README.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
