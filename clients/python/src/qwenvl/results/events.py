"""What happens when in a video."""

from typing import Any

from qwenvl.drawing import timeline
from qwenvl.results.base import Extent, Model, Result
from qwenvl.results.optional import table


class Event(Model):
    """One stretch of the clip."""

    start_time: str
    """mm:ss.ff, h:mm:ss.ff past an hour; ff are hundredths."""
    end_time: str
    start_s: float
    """The same in seconds."""
    end_s: float
    description: str | None = None

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


class Sampling(Model):
    """What the model was shown."""

    fps: float
    frames: int
    windows: int


class EventList(Result, timeline.Timeline):
    """Events in order of their start."""

    events: list[Event]
    duration_s: float
    sampling: Sampling
    video: Extent | None = None
    model_input: Extent | None = None

    def spans(self) -> list[tuple[float, float, str]]:
        return [(each.start_s, each.end_s, each.description or "") for each in self.events]

    def to_rows(self) -> list[dict[str, Any]]:
        """A row for each event."""
        return [each.model_dump() for each in self.events]

    def to_pandas(self) -> Any:
        """`to_rows` as a pandas.DataFrame."""
        return table(self.to_rows())

    def to_webvtt(self) -> str:
        """Subtitles that every player takes: the events as WebVTT cues."""
        cues = [
            f"{_vtt(each.start_s)} --> {_vtt(each.end_s)}\n{(each.description or '').replace('-->', '->')}\n"
            for each in self.events
        ]
        return "\n".join(["WEBVTT\n", *cues])


def _vtt(time_s: float) -> str:
    """
    >>> _vtt(3661.5)
    '01:01:01.500'
    """
    ms = round(time_s * 1000)
    return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
