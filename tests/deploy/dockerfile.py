"""A Dockerfile as stages of instructions, with the variables of `FROM` filled in. Reads what ours uses, no more."""

import io
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from dockerfile_parse import DockerfileParser

VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
MOUNT = re.compile(r"^--mount=(\S+)\s+")


@dataclass(frozen=True)
class Instruction:
    """One line, continuations joined: `RUN`, and what follows it."""

    word: str
    value: str


@dataclass
class Stage:
    """What stands between one FROM and the next."""

    name: str
    base: str
    """An image, or the name of an earlier stage."""
    instructions: list[Instruction] = field(default_factory=list)


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """Fill in `$NAME` and `${NAME}`; unknown ones are empty, as in Docker.

    >>> substitute("engine-${ENGINE}:$TAG", {"ENGINE": "cpu"})
    'engine-cpu:'
    """
    return VARIABLE.sub(lambda found: variables.get(found[1] or found[2], ""), text)


def parse(text: str, build_args: Mapping[str, str]) -> dict[str, Stage]:
    """The stages by name."""
    parser = DockerfileParser(fileobj=io.BytesIO(text.encode()))
    top: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    current: Stage | None = None
    for entry in parser.structure:
        word, value = entry["instruction"], entry["value"]
        if word == "COMMENT":
            continue
        if word == "FROM":
            base, _, name = substitute(value, top).partition(" AS ")
            current = stages[name] = Stage(name, base)
        elif current is None:
            assert word == "ARG", f"{word} before the first FROM"
            name, _, default = value.partition("=")
            top[name] = build_args.get(name, default)
        else:
            current.instructions.append(Instruction(word, value))
    return stages


def pairs(value: str) -> dict[str, str]:
    """`A=1 B="two words"` of ENV and LABEL.

    >>> pairs('A=1 B="two words"')
    {'A': '1', 'B': 'two words'}
    """
    return dict(item.split("=", 1) for item in shlex.split(value))


def words(value: str) -> list[str]:
    """An exec form (`["a", "b"]`).

    >>> words('["python", "-m", "server"]')
    ['python', '-m', 'server']
    """
    found = json.loads(value)
    assert isinstance(found, list)
    return [str(word) for word in found]


def mounts(value: str) -> tuple[list[dict[str, str]], str]:
    """The `--mount` options of a RUN, and its command.

    >>> mounts("--mount=type=cache,target=/c make all")
    ([{'type': 'cache', 'target': '/c'}], 'make all')
    """
    found = []
    while option := MOUNT.match(value):
        found.append(dict(part.split("=", 1) for part in option[1].split(",")))
        value = value[option.end() :]
    return found, value


class Context:
    """The folder that COPY reads, without what .dockerignore leaves out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        lines = (folder / ".dockerignore").read_text().splitlines()
        self._rules = [line.strip() for line in lines if line.strip() and not line.startswith("#")]

    def holds(self, path: str) -> bool:
        """Whether `path` is sent to the builder: the last rule that names it, or a folder above it, decides."""
        held = True
        for rule in self._rules:
            pattern = rule.removeprefix("!")
            if any(_matches(part, pattern) for part in _prefixes(path)):
                held = rule.startswith("!")
        return held

    def files(self, source: str) -> list[str]:
        """Every file that `COPY source` brings, relative to the folder, sorted."""
        start = self.folder / source
        found = start.rglob("*") if start.is_dir() else [start]
        paths = (file.relative_to(self.folder).as_posix() for file in found if file.is_file())
        return sorted(path for path in paths if self.holds(path))


def _prefixes(path: str) -> list[str]:
    steps = path.split("/")
    return ["/".join(steps[: count + 1]) for count in range(len(steps))]


def _matches(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch(path.rpartition("/")[2], pattern[3:])
    return path.count("/") == pattern.count("/") and fnmatch(path, pattern)
