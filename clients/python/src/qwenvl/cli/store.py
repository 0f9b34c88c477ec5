"""The JSON Lines file of answers: a line a file, whole or not there, and what a command that is run again may skip."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from qwenvl.cli.exits import UsageError


def fingerprint(task: str, fields: dict[str, Any]) -> str:
    """What was asked, apart from of which file: two runs with the same may share a file of answers.

    >>> fingerprint("detect", {"labels": ["cat"]}) == fingerprint("detect", {"labels": ["dog"]})
    False
    """
    text = json.dumps([task, fields], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class Store:
    """Answers on disk. A kill, whenever it comes, costs the answers that were not there yet and no other."""

    def __init__(self, path: Path, asked: str, *, overwrite: bool) -> None:
        self._path, self._asked = path, asked
        self.done: set[str] = set()
        """Files that have their answer."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not overwrite:
            self._keep_good_lines()
        self._file: IO[str] = path.open("w" if overwrite else "a", encoding="utf-8")

    def add(self, line: str) -> None:
        """Write one line, and have it on its way to the disk before this returns."""
        self._file.write(f"{line}\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _keep_good_lines(self) -> None:
        """Reads what is done. Failures, which are tried anew, and a line that was cut off are taken out."""
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        dropped = False
        with beside.open("w", encoding="utf-8") as kept:
            for text, line in _lines(self._path):
                if line is not None and line.get("asked") != self._asked:
                    kept.close()
                    beside.unlink()
                    raise UsageError(
                        f"{self._path} holds answers to another question; name another --out, or --overwrite it"
                    )
                if line is None or "result" not in line or line["file"] in self.done:
                    dropped = True
                    continue
                self.done.add(line["file"])
                kept.write(text)
        if dropped:
            beside.replace(self._path)
        else:
            beside.unlink()


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """(Text, what it says) of every line; None for one that was cut off."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                line = json.loads(text) if text.endswith("\n") else None
            except ValueError:
                line = None
            yield text, line if isinstance(line, dict) and "file" in line else None
