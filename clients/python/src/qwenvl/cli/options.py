"""Options that commands share, and what they mean to a client."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from qwenvl.calls import Options
from qwenvl.cli.exits import UsageError
from qwenvl.settings import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S, DEFAULT_URL, KEY_VARIABLE, URL_VARIABLE

MOST_JOBS = 512
SERVER = Group("Server", sort_key=20)
ANSWER = Group("Answer", sort_key=10)
RUN = Group("Files and results", sort_key=15)


@Parameter(name="*", group=SERVER)
@dataclass(frozen=True)
class Server:
    """Which server, and as whom."""

    url: Annotated[str, Parameter(env_var=URL_VARIABLE)] = DEFAULT_URL
    """Where the server is."""
    api_key: Annotated[str | None, Parameter(env_var=KEY_VARIABLE)] = None
    """The key to present."""
    timeout_s: float = DEFAULT_TIMEOUT_S
    """Longest silence of the server, in seconds."""
    retries: int = DEFAULT_RETRIES
    """How often a request is sent again when the server is busy or away; it is waited as long as the server asks."""

    def arguments(self) -> dict[str, Any]:
        """For Client and AsyncClient."""
        return {
            "base_url": self.url,
            "api_key": self.api_key,
            "timeout_s": self.timeout_s,
            "max_retries": self.retries,
        }


@Parameter(name="*", group=ANSWER)
@dataclass(frozen=True)
class Answer:
    """How the model answers."""

    model: str | None = None
    """Model to ask; the first one served."""
    temperature: float | None = None
    """0, the default, gives the likeliest answer, and the same one every time."""
    max_tokens: int | None = None
    """Longest answer, in tokens, for each picture, page or window."""
    seed: int | None = None
    """Makes sampling at a temperature above 0 repeatable."""

    def options(self) -> Options:
        """For a task's method: what was given."""
        given: Options = {}
        for name in ("model", "temperature", "max_tokens", "seed"):
            if (value := getattr(self, name)) is not None:
                given[name] = value
        return given


@Parameter(name="*", group=RUN)
@dataclass(frozen=True)
class Run:
    """How many files are worked on, and where answers go."""

    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None
    """JSON Lines file for the answers, a line a file as each is done. Run again, the command skips files that have
    their answer there and tries those that failed once more."""
    overwrite: Annotated[bool, Parameter(negative="")] = False
    """Begin the file of --out anew."""
    jobs: Annotated[int, Parameter(name=("--jobs", "-j"))] = 4
    """Files worked on at once."""
    text: Annotated[bool, Parameter(name=("--text", "-t"), negative="")] = False
    """Words for people on stdout instead of JSON."""
    overlay: Path | None = None
    """Folder for pictures with what was found drawn on them."""
    overlay_format: Literal["png", "svg", "jpg"] = "png"
    """svg writes labels in every script."""
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), negative="")] = False
    """No progress and no summary on stderr; failures are still told."""

    def check(self) -> None:
        """Raises UsageError."""
        if not 1 <= self.jobs <= MOST_JOBS:
            raise UsageError(f"--jobs is {self.jobs}; it can be from 1 to {MOST_JOBS}")
        if self.overwrite and self.out is None:
            raise UsageError("--overwrite needs --out")
