"""Pictures handed to an engine of this machine as files instead of base64 in the request.

The engine's API process then spends 20 ms of CPU on a picture of a million pixels instead of 40: no 4 MB of JSON to
parse, no base64 to undo. Files lie in one folder that only this user may enter, under names nobody can guess, each for
as long as its request.
"""

import contextlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.media.jobs import write_all


class Handover:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the engine's `--allowed-local-media-path`; it need not exist yet."""
        self._folder = folder

    @contextmanager
    def new_file(self) -> Iterator[Path | None]:
        """An empty file, removed when what is done with it fails; else its owner calls `View.release`. None where no
        file can be made.

        It is made here and only written to by the decode process: one that comes late, when the caller has left, finds
        no file and leaves none.
        """
        path = self._folder / f"{secrets.token_hex(16)}.bmp"
        try:
            path.touch(mode=0o600, exist_ok=False)
        except OSError:
            yield None
            return
        try:
            yield path
        except BaseException:
            discard(path)
            raise


def write(path: Path, data: bytes | memoryview) -> bool:
    """Write a picture into a file that `new_file` made; whether it could be done."""
    try:
        with path.open("r+b", buffering=0) as file:
            write_all(file, data)
    except OSError:
        return False
    return True


def discard(path: Path) -> None:
    """Remove a file that may be gone already."""
    with contextlib.suppress(OSError):
        path.unlink()
