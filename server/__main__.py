"""python -m server: the only place that reads the environment and arguments."""

import contextlib
import logging
import os
import sys
from collections.abc import Sequence

import uvloop
from pydantic import ValidationError
from pydantic_settings import CliApp

from server.app import create_server
from server.settings import ENV_PREFIX, Settings, unknown_variables

USAGE_ERROR = 2


def read_settings(arguments: Sequence[str]) -> Settings:
    """Flags over environment over defaults; exits with a sentence for what cannot be."""
    unknown = unknown_variables(os.environ)
    if unknown:
        sys.exit(f"{', '.join(unknown)}: no such setting; python -m server --help lists them all")
    try:
        return CliApp.run(Settings, cli_args=list(arguments))
    except ValidationError as exc:
        for error in exc.errors():
            name = ".".join(str(step) for step in error["loc"])
            flag = f"--{name.replace('_', '-')} ({ENV_PREFIX}{name.upper()})"
            print(f"{flag}: {error['msg']}, got {error['input']!r}", file=sys.stderr)  # noqa: T201
        sys.exit(USAGE_ERROR)


async def serve(settings: Settings) -> int:
    """Listen until told to stop; the exit status."""
    server = create_server(settings, settings.engine_url)
    await server.serve()
    return 0 if server.started else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the settings, serve, and say how it ended."""
    settings = read_settings(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    with contextlib.suppress(KeyboardInterrupt):
        return uvloop.run(serve(settings))
    return 130


if __name__ == "__main__":
    sys.exit(main())
