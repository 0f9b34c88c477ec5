"""`/v1/localize-events`: what happens when in a video, or when what is asked for happens.

A long clip comes in windows that overlap. Each window is a clip of its own to the model, which counts from 0; offsets
are added here, and events that a seam cut in two are joined.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from rapidfuzz import fuzz

from server.media.view import Clip
from server.tasks.inputs import Frames
from server.tasks.list_reader import ListReader
from server.tasks.reading import Found, ItemStream, Notice
from server.tasks.reading_time import clock, event_items, event_lines, placed, read_description, read_event
from server.tasks.repetition import RepetitionDetector
from server.tasks.task import (
    Ask,
    Extent,
    MediaKind,
    Part,
    Shown,
    Task,
    TaskRequest,
    TaskResult,
    extent,
    json_answer,
    question,
)

MAX_QUERY_CHARS = 2000
ALIKE = 60
"""Similarity, 0..100, from which two descriptions at one seam tell of one event."""
SEAM_S = 0.6
"""An event that ends or begins so near to a window's edge may go on behind it: one sampled frame, and a little."""
SAME_SHARE = 0.5
"""Two alike events of neighbouring windows are one if they share so much of what both windows showed of them."""

EVENTS_PROMPT = (
    "Localize a series of activity events in the video, output the start and end timestamp for each event, and "
    "describe each event with sentences. Provide the result in json format with 'mm:ss.ff' format for time depiction."
)
_TIME_PATTERN = "^[0-9]{2}:[0-5][0-9]\\.[0-9]{2}$"


class LocalizeEventsRequest(TaskRequest):
    """What to look for in a video."""

    video: Frames
    """URL, data: URI, OpenAI content part, or a list of frames in order."""
    query: str | None = Field(default=None, min_length=1, max_length=MAX_QUERY_CHARS)
    """What to find: `seasoning the steak`. Left out: everything that happens."""
    max_events: int | None = Field(default=None, ge=1)
    """Most events in the answer; the first ones are kept."""
    min_duration: float | None = Field(default=None, ge=0)
    """Shortest event, in seconds."""
    max_duration: float | None = Field(default=None, gt=0)
    """Longest event, in seconds."""
    fps: float | None = Field(default=None, gt=0, le=60)
    """Frames sampled a second; for a list of frames, the rate at which they were taken. The server's if left out."""

    @model_validator(mode="after")
    def _durations_in_order(self) -> "LocalizeEventsRequest":
        if self.min_duration and self.max_duration and self.min_duration > self.max_duration:
            raise ValueError(f"min_duration is {self.min_duration}; max_duration is {self.max_duration}")
        return self


class Event(BaseModel):
    """One stretch of the clip."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    start_time: str
    """mm:ss.ff, h:mm:ss.ff past an hour; ff are hundredths."""
    end_time: str
    start_s: float
    """The same in seconds."""
    end_s: float
    description: str | None


class Sampling(BaseModel):
    """What the model was shown."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    fps: float
    """Frames a second of the clip's own time."""
    frames: int
    windows: int


class LocalizeEventsResult(TaskResult):
    """Events in order of their start."""

    events: list[Event]
    duration_s: float
    sampling: Sampling
    video: Extent
    model_input: Extent


class EventReader(ListReader):
    """Events of one window, in seconds of the whole clip."""

    without_items = "names no time"

    def __init__(self, request: LocalizeEventsRequest, shown: Shown) -> None:
        detector = RepetitionDetector(numbers_differ=request.query is None)
        super().__init__(shown, ItemStream(event_items, event_lines), detector)
        clip = shown[0]
        assert isinstance(clip, Clip)
        self.clip = clip
        self._query = request.query

    def placed(self, found: Found) -> list[dict[str, Any]]:
        """See `ListReader.placed`."""
        description = read_description(found.fields) or self._query
        if self._query is None and self._loops(found, description):
            return []
        both, problem = read_event(found.fields, len(self.clip.frame_times_s) / self.clip.fps)
        if both is None:
            self.warnings.append(Notice(problem or "time_missing", found.fields, "dropped"))
            return []
        start, end = (clip_seconds(self.clip, each) for each in both)
        inside, codes = placed(start, end, self.clip.end_s)
        if inside is not None and inside[1] < self.clip.start_s:
            inside, codes = None, ("time_outside",)
        for code in [*found.codes, *codes, *([problem] if problem else [])]:
            action = {"time_outside": "dropped", "time_clipped": "clipped to the clip"}.get(code, "kept")
            self.warnings.append(Notice(code, found.fields, action))
        if inside is None:
            return []
        return [event(max(inside[0], self.clip.start_s), inside[1], description, self.clip.duration_s)]

    def _loops(self, found: Found, description: str | None) -> bool:
        self._items_looped = self._same.add((str(found.fields), description))
        return self._items_looped


class LocalizeEvents(Task[LocalizeEventsRequest]):
    """See the module."""

    name = "localize-events"
    object = "event_list"
    summary = "Say what happens when in a video, or when something asked for happens."
    inputs: ClassVar[dict[str, MediaKind]] = {"video": "video"}
    request = LocalizeEventsRequest
    result_model = LocalizeEventsResult
    allows_failed_parts = True

    def ask(self, request: LocalizeEventsRequest, shown: Shown) -> Ask:
        if request.query is not None:
            return Ask(question(shown, query_prompt(request.query)))
        return Ask(question(shown, EVENTS_PROMPT), json_answer("events", EVENTS_SCHEMA) if request.constrained else {})

    def reader(self, request: LocalizeEventsRequest, shown: Shown) -> EventReader:
        return EventReader(request, shown)

    def result(self, request: LocalizeEventsRequest, parts: Sequence[Part]) -> dict[str, Any]:
        clips = [part.shown[0] for part in parts if part.shown]
        readers = [part.reader for part in parts if isinstance(part.reader, EventReader)]
        windows = [clip for clip in clips if isinstance(clip, Clip)]
        events = joined([(reader.clip, [dict(item) for item in reader.items]) for reader in readers])
        events = [each for each in events if _is_wanted(each, request)]
        first = windows[0]
        frames = len({round(time_s, 3) for clip in windows for time_s in clip.frame_times_s})
        return {
            "events": events[: request.max_events],
            "duration_s": round(first.duration_s, 3),
            "sampling": {"fps": round(sampled_fps(first), 2), "frames": frames, "windows": len(parts)},
            "video": extent(first.original_wh),
            "model_input": extent(first.shown_wh),
        }


EVENTS_SCHEMA: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "start_time": {"type": "string", "pattern": _TIME_PATTERN},
            "end_time": {"type": "string", "pattern": _TIME_PATTERN},
            "description": {"type": "string"},
        },
        "required": ["start_time", "end_time", "description"],
        "additionalProperties": False,
    },
}


def query_prompt(query: str) -> str:
    """
    >>> query_prompt("a cat")[:26]
    "Give the query: 'a cat', w"
    """
    return (
        f"Give the query: '{query}', when does the described content occur in the video? Use 'mm:ss.ff' as time format."
    )


def sampled_fps(clip: Clip) -> float:
    """Frames a second of the clip's own time: what lies between the frames that were sampled.

    >>> sampled_fps(Clip((2, 2), (28, 28), "", "", (0.0, 0.5, 1.0), 2, 0, 1.5, 1.5))
    2.0
    """
    times = clip.frame_times_s
    if len(times) < 2 or times[-1] <= times[0]:
        return clip.fps
    return (len(times) - 1) / (times[-1] - times[0])


def clip_seconds(clip: Clip, model_s: float) -> float:
    """The clip's own time for a time that the model speaks of: it counts the frames it saw, `clip.fps` a second.

    Between two frames it is in between; outside it goes on at the same pace.

    >>> clip = Clip((2, 2), (28, 28), "", "", (10.0, 11.0, 12.0), 2, 10, 13, 60)
    >>> [clip_seconds(clip, model_s) for model_s in (0, 0.25, 1, 1.5)]
    [10.0, 10.5, 12.0, 13.0]
    """
    times = clip.frame_times_s
    if not times:
        return clip.start_s + model_s
    step_s = 1 / sampled_fps(clip)
    place = model_s * clip.fps
    before = int(place)
    if place < 0 or before >= len(times) - 1:
        edge = 0 if place < 0 else len(times) - 1
        return times[edge] + (place - edge) * step_s
    return times[before] + (place - before) * (times[before + 1] - times[before])


def event(start_s: float, end_s: float, description: str | None, duration_s: float) -> dict[str, Any]:
    """One event of the answer, never outside the clip also after rounding.

    >>> event(1, 2.999, "a", 2.999)
    {'start_time': '00:01.00', 'end_time': '00:02.99', 'start_s': 1.0, 'end_s': 2.99, 'description': 'a'}
    """
    last = int(duration_s * 100) / 100
    start_s, end_s = float(min(round(start_s, 2), last)), float(min(round(end_s, 2), last))
    return {
        "start_time": clock(start_s),
        "end_time": clock(end_s),
        "start_s": start_s,
        "end_s": end_s,
        "description": description,
    }


def joined(windows: Sequence[tuple[Clip, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """Events of all windows in order of their start; two halves at a seam are one, and so are two sightings.

    >>> clips = [Clip((2, 2), (28, 28), "", "", (), 2, at, at + 60, 115) for at in (0, 55)]
    >>> halves = [[event(50, 60, "A dog runs.", 115)], [event(55, 70, "A dog is running.", 115)]]
    >>> [(each["start_s"], each["end_s"]) for each in joined(list(zip(clips, halves)))]
    [(50.0, 70.0)]
    >>> tail = [[event(20, 57, "A dog runs.", 115)], [event(55, 57, "A dog runs.", 115)]]
    >>> [(each["start_s"], each["end_s"]) for each in joined(list(zip(clips, tail)))]
    [(20.0, 57.0)]
    """
    kept: list[tuple[int, dict[str, Any]]] = []
    for at, (clip, events) in enumerate(windows):
        for each in events:
            other = next(
                (old for place, old in kept if place == at - 1 and _is_one(old, each, windows[at - 1][0], clip)), None
            )
            if other is None:
                kept.append((at, each))
                continue
            start_s, end_s = min(other["start_s"], each["start_s"]), max(other["end_s"], each["end_s"])
            other |= event(start_s, end_s, other["description"], clip.duration_s)
            kept = [(at if old is other else place, old) for place, old in kept]
    return sorted((each for _, each in kept), key=lambda each: (each["start_s"], each["end_s"]))


def _is_one(first: dict[str, Any], second: dict[str, Any], before: Clip, after: Clip) -> bool:
    shared = min(first["end_s"], second["end_s"]) - max(first["start_s"], second["start_s"])
    if shared < -SEAM_S or fuzz.token_set_ratio(first["description"] or "", second["description"] or "") < ALIKE:
        return False
    # Only what both windows showed is compared: the later one sees an event's end as the whole of it.
    begin_s = max(after.start_s, min(first["start_s"], second["start_s"]))
    end_s = min(before.end_s, max(first["end_s"], second["end_s"]))
    at_seam = first["end_s"] >= before.end_s - SEAM_S and second["start_s"] <= after.start_s + SEAM_S
    return bool(at_seam or shared >= SAME_SHARE * (end_s - begin_s))


def _is_wanted(each: dict[str, Any], request: LocalizeEventsRequest) -> bool:
    length_s = each["end_s"] - each["start_s"]
    return bool((request.min_duration or 0) <= length_s <= (request.max_duration or float("inf")))
