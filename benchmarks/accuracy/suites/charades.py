"""A folder in Charades-STA's shape: `charades_sta_test.txt` and the videos, wherever they lie in it.

3MSZA 24.3 30.4##person turn a light on.      video, start and end in seconds, what is looked for
"""

import logging
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.accuracy.items import Fields, Item
from benchmarks.accuracy.suites.coco import file_uri

log = logging.getLogger(__name__)

LINE = re.compile(r"(\S+) (\d+(?:\.\d+)?) (\d+(?:\.\d+)?)##(.+)")
VIDEOS = (".mp4", ".mkv", ".webm", ".avi")


def items(data: Path, limit: int | None = None) -> Iterator[Item]:
    """One question a line. Raises FileNotFoundError, and ValueError for a line of another shape."""
    file = annotation_file(data)
    videos = {path.stem: path for path in sorted(data.rglob("*")) if path.suffix in VIDEOS}
    missing = given = 0
    for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        name, span, query = read_line(line, f"{file.name}, line {number}")
        if name not in videos:
            missing += 1
            continue
        if limit is not None and given == limit:
            break
        given += 1
        item_id = f"moment-{number}"
        ask = partial(body, videos[name], query)
        about = {"video": name, "query": query}
        yield Item(item_id, "moment", "/v1/localize-events", ask, {"spans": [span]}, about)
    if missing:
        log.warning("%d queries of %s are about videos that are not in %s: left out", missing, file.name, data)


def annotation_file(data: Path) -> Path:
    """The test set's, where there are several."""
    found = sorted(data.rglob("charades_sta_*.txt"))
    if not found:
        raise FileNotFoundError(f"{data} has no charades_sta_test.txt")
    return next((file for file in found if "test" in file.stem), found[0])


def read_line(line: str, where: str) -> tuple[str, tuple[float, float], str]:
    """(video, span, query).

    >>> read_line("3MSZA 24.3 30.4##person turn a light on.", "line 1")
    ('3MSZA', (24.3, 30.4), 'person turn a light on.')
    """
    match = LINE.fullmatch(line.strip())
    if match is None:
        raise ValueError(f"{where} is not in Charades-STA's shape, VIDEO START END##QUERY: {line[:80]!r}")
    return match[1], (float(match[2]), float(match[3])), match[4].strip()


def body(path: Path, query: str) -> Fields:
    return {"video": file_uri(path), "query": query}
