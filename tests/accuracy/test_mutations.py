"""One mistake with a coordinate or a time anywhere in the gateway, and a figure falls to less than half.

Here, and only here, tests patch our own functions: the mistake is what is tested with, not what is tested. Each patch
breaks one function of the gateway, at the place where such a mistake would be made, in a gateway that is otherwise
whole and whose engine never errs, so nothing else can make the figure fall. Without a mistake, test_perfect.py measures
the same scenes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import pytest

from benchmarks.accuracy.run import Outcome
from server import geometry
from server.geometry import Box, Size
from server.media import image, loader
from server.media.jobs import Part
from server.media.view import Clip
from server.media.worker import decoder
from server.media.workers import Answer, Workers
from server.tasks import localize_events, spots
from tests.accuracy.conftest import Measured

Patch = pytest.MonkeyPatch


def wrong_scale(patch: Patch) -> None:
    """Boxes are answered in pixels of the picture that the model was shown."""
    right = geometry.place_box
    patch.setattr(spots, "place_box", lambda written, shown_wh, original_wh: right(written, shown_wh, shown_wh))


def swapped_axis(patch: Patch) -> None:
    """x is taken for y."""
    right = geometry.place_box

    def swapped(written: Box, shown_wh: Size, original_wh: Size) -> Any:
        return right(Box(written.y1, written.x1, written.y2, written.x2), shown_wh, original_wh)

    patch.setattr(spots, "place_box", swapped)


def missed_exif_turn(patch: Patch) -> None:
    """Pictures are shown as they lie in the file. Decoding moves into this process, where the patch can reach it."""

    async def run(_: Workers, kind: str, options: Any, file: BinaryIO, parts: Sequence[Part]) -> Answer:
        file.seek(0)
        result = decoder(kind)(file, parts, options)
        return result.facts, b"".join(result.url).decode()

    patch.setattr(Workers, "run", run)
    patch.setattr(image, "_orientation", lambda opened: 1)


def window_offset_off_by_one(patch: Patch) -> None:
    """A window's times are counted from where the window before it began."""
    right = localize_events.clip_seconds

    def early(clip: Clip, model_s: float) -> float:
        step_s = 55 if clip.start_s else 0
        return right(clip, model_s) - step_s

    patch.setattr(localize_events, "clip_seconds", early)


def wrong_fps(patch: Patch) -> None:
    """The times of answers are read as if the engine were told twice the frames a second that it is told."""
    right = loader._clip
    patch.setattr(loader, "_clip", lambda answer, engine_fps: replace(right(answer, engine_fps), fps=2 * engine_fps))


@dataclass(frozen=True)
class Case:
    mistake: Any
    figure: str
    kind: str

    def __str__(self) -> str:
        return f"{self.mistake.__name__}, {self.figure}"


CASES = [
    Case(wrong_scale, "detect mAP@0.5", "detect"),
    Case(swapped_axis, "detect mAP@0.5", "detect"),
    Case(missed_exif_turn, "detect mAP@0.5", "detect"),
    Case(wrong_fps, "events mean tIoU", "events"),
    Case(wrong_fps, "long events mean tIoU", "long-events"),
    Case(window_offset_off_by_one, "long events mean tIoU", "long-events"),
]


def value(outcome: Outcome, figure: str) -> float:
    assert outcome.figures["questions that failed"].value == 0
    return outcome.figures[figure].value


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_mistake_cuts_the_figure_by_more_than_half(case: Case, measured: Measured, monkeypatch: Patch) -> None:
    case.mistake(monkeypatch)
    assert value(await measured(case.kind), case.figure) < 0.5


async def test_decoding_in_this_process_alone_changes_nothing(measured: Measured, monkeypatch: Patch) -> None:
    """So that `missed_exif_turn` owes its fall to the turn."""
    orientation = image._orientation
    missed_exif_turn(monkeypatch)
    monkeypatch.setattr(image, "_orientation", orientation)
    assert value(await measured("detect"), "detect mAP@0.5") > 0.97
