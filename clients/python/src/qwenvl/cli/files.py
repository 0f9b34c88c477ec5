"""Which files a command is about: names, folders, patterns, URLs, and `-` for stdin."""

import glob
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from qwenvl.cli.exits import UsageError
from qwenvl.inputs import MediaInput

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"})
DOCUMENTS = IMAGES | {".pdf"}
VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".ogv"})
STDIN = "<stdin>"
"""What `-` is known as."""


def expanded(names: Sequence[str], suffixes: Iterable[str]) -> list[str]:
    """Every file that is meant, once each, in order; folders are searched to their depths for the suffixes.

    Raises UsageError for a name that is nothing, and when nothing is left.
    """
    found = list(dict.fromkeys(name for each in names for name in _expanded(each, frozenset(suffixes))))
    if not found:
        raise UsageError(f"no files of a kind that this takes in {', '.join(names)}")
    return found


def _expanded(name: str, suffixes: frozenset[str]) -> Iterator[str]:
    if name == STDIN or is_url(name):
        yield name
        return
    path = Path(name)
    if path.is_dir():
        yield from sorted(str(each) for each in path.rglob("*") if each.suffix.lower() in suffixes and each.is_file())
    elif path.is_file():
        yield name
    elif glob.has_magic(name):
        matches = glob.glob(name, recursive=True)  # noqa: PTH207 - patterns may start anywhere, `Path.glob` may not
        yield from sorted(each for each in matches if Path(each).suffix.lower() in suffixes)
    else:
        raise UsageError(f"{name} is no file, folder, pattern or URL")


def is_url(name: str) -> bool:
    """
    >>> is_url("https://example.com/a.jpg"), is_url("a.jpg")
    (True, False)
    """
    return name.lower().startswith(("http://", "https://", "data:"))


def read(name: str) -> MediaInput:
    """What a name stands for, as the client takes it."""
    return sys.stdin.buffer.read() if name == STDIN else name


def overlay_path(folder: Path, name: str, suffix: str) -> Path:
    """Where a file's overlay goes: its own path below the folder, so that no two files share one.

    >>> overlay_path(Path("out"), "photos/a.jpg", ".png").as_posix()
    'out/photos/a.jpg.png'
    >>> overlay_path(Path("out"), "/tmp/../a.jpg", ".png").as_posix()
    'out/tmp/a.jpg.png'
    """
    if is_url(name):
        name = "data" if name.startswith("data:") else f"{urlsplit(name).netloc}{urlsplit(name).path}"
    path = Path("stdin" if name == STDIN else name)
    parts = [part for part in path.parts if part not in (path.anchor, "..", ".")]
    return folder.joinpath(*parts[:-1], f"{parts[-1]}{suffix}")
