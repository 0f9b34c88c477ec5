"""Where questions come from. To add a suite: a file here with a function like these, and a line in SUITES."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.accuracy.items import Item
from benchmarks.accuracy.suites import charades, coco, omnidocbench, scenes


@dataclass(frozen=True)
class Wanted:
    """How much of a suite is asked."""

    sizes: scenes.Sizes = field(default_factory=scenes.Sizes)
    """For `scenes`."""
    data: Path | None = None
    """Folder of the others."""
    limit: int | None = None
    """Most pictures, pages or queries of a folder."""
    kinds: tuple[str, ...] = ()
    """Only these; all if empty."""


def _folder(wanted: Wanted, load: Callable[[Path, int | None], Iterator[Item]]) -> Iterator[Item]:
    if wanted.data is None:
        raise FileNotFoundError("this suite reads a folder: name it with --data")
    return load(wanted.data, wanted.limit)


SUITES: dict[str, Callable[[Wanted], Iterator[Item]]] = {
    "scenes": lambda wanted: scenes.items(wanted.sizes),
    "coco": lambda wanted: _folder(wanted, coco.items),
    "omnidocbench": lambda wanted: _folder(wanted, omnidocbench.items),
    "charades-sta": lambda wanted: _folder(wanted, charades.items),
}


def items(suite: str, wanted: Wanted) -> list[Item]:
    """The questions of a suite, in order. Raises FileNotFoundError, and ValueError for a folder of another shape."""
    found = [item for item in SUITES[suite](wanted) if not wanted.kinds or item.kind in wanted.kinds]
    if not found:
        raise ValueError(f"suite {suite} has no question of that kind")
    return found
