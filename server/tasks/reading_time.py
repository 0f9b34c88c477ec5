"""Times and events as models write them, in every form: `00:21.80`, `1:02:03`, `64.0 - 72.0 seconds`, `1m 5s`.

Qwen2.5-VL's own `mm:ss.ff` counts hundredths after the dot. `a:b:c` is hours, minutes, seconds, unless that lies beyond
the clip and minutes, seconds, hundredths does not. All results are seconds from where the model saw the clip begin.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

from server.tasks.reading import Fields, Found, inner_items, plain_keys

START_KEYS = ("start_time", "start", "begin", "begin_time", "from", "start_s", "starttime", "start_timestamp",
              "start_seconds", "time_start", "onset")  # fmt: skip
END_KEYS = ("end_time", "end", "finish", "to", "end_s", "endtime", "end_timestamp", "end_seconds", "time_end", "stop",
            "offset")  # fmt: skip
RANGE_KEYS = ("timestamp", "timestamps", "time", "time_range", "timerange", "interval", "range", "segment", "span",
              "times", "period", "window")  # fmt: skip
DESCRIPTION_KEYS = ("description", "event", "activity", "caption", "content", "action", "text", "summary", "label",
                    "sentence", "name", "title")  # fmt: skip
_CLOCK = r"(?:\d{1,3}\s?[:\uff1a]\s?)?\d{1,4}\s?[:\uff1a]\s?\d{1,2}(?:\s?[.,:]\s?\d{1,3})?"
_UNIT = r"(?:hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s|\u5c0f\u65f6|\u5206\u949f|\u5206|\u79d2\u949f|\u79d2)"
_AMOUNT = rf"(?:\.\d{{1,6}})?(?:st|nd|rd|th)?\s?{_UNIT}"
_SPOKEN = rf"\d{{1,6}}{_AMOUNT}(?:\s?(?:and\s)?\d{{1,4}}{_AMOUNT}){{0,2}}(?![A-Za-z])"
_PLAIN = r"\d{1,6}(?:\.\d{1,6})?"
_TIME = rf"(?:{_CLOCK}(?:\s?s(?![A-Za-z]))?|{_SPOKEN}|{_PLAIN})"
_DASH = (
    r"\s{0,3}(?:-{1,3}>?|[\u2013\u2014~\uff5e\u2192]|to|until|till|through|and|\u81f3|\u5230)\s{0,3}(?:the\s|\u7b2c)?"
)
_PAIR = rf"(?<=[\[(])({_PLAIN})\s{{0,3}},\s{{0,3}}({_PLAIN})(?=[\])])"  # [3.0, 5.5]
_RANGE = re.compile(rf"(?<![\d.:])({_TIME}){_DASH}({_TIME})(?!\d|:\d)|{_PAIR}", re.IGNORECASE)
_MOMENT = re.compile(rf"(?<![\d.:])({_CLOCK}|{_SPOKEN})(?!\d|:\d)", re.IGNORECASE)
_MARKED = re.compile(rf"{_CLOCK}|{_SPOKEN}|\d\.\d", re.IGNORECASE)
_LED_IN = re.compile(r"\b(?:from|between)\s+$", re.IGNORECASE)
_FROM_TO = re.compile(r"\b(?:starts?|begins?)\b.*\b(?:ends?|stops?|finish(?:es)?)\b", re.IGNORECASE)
_CLOCK_PARTS = re.compile(r"(?:(\d{1,3}):)?(\d{1,4}):(\d{1,2})(?:([.,:])(\d{1,3}))?")
_SPOKEN_PART = re.compile(rf"(\d{{1,6}}(?:\.\d{{1,6}})?)(?:st|nd|rd|th)?\s?({_UNIT})", re.IGNORECASE)
_SECONDS_IN = {"h": 3600, "m": 60, "s": 1, "\u5c0f": 3600, "\u5206": 60, "\u79d2": 1}


def read_time(value: Any, duration_s: float | None = None) -> float | None:
    """One time in seconds, or None where it is none; `duration_s` settles what `a:b:c` means.

    >>> [read_time(text) for text in ("00:21.80", "1:02:03.5", "75:10", "64.0s", "1 min 5 s", 12, "soon")]
    [21.8, 3723.5, 4510.0, 64.0, 65.0, 12.0, None]
    >>> read_time("00:21:80"), read_time("00:21:50"), read_time("00:21:50", duration_s=60)
    (21.8, 1310.0, 21.5)
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if not isinstance(value, str):
        return _finite(value)
    text = re.sub(r"\s?([:.,])\s?", r"\1", value.strip().replace("\uff1a", ":"))
    if match := _CLOCK_PARTS.search(text):
        return _clock_s(match, duration_s)
    if spoken := _SPOKEN_PART.findall(text):
        return sum(float(number) * _SECONDS_IN[unit[0].lower()] for number, unit in spoken[:3])
    match = re.fullmatch(rf"[^\d-]{{0,8}}(-?{_PLAIN})[^\d]{{0,8}}", text)
    return float(match[1]) if match else None


def read_range(value: Any, duration_s: float | None = None) -> tuple[float, float] | None:
    """A start and an end in seconds.

    >>> read_range("01:32.40 - 01:35.60"), read_range([3, "4.5"]), read_range("from 28 seconds to 50 seconds")
    ((92.4, 95.6), (3.0, 4.5), (28.0, 50.0))
    """
    if isinstance(value, list) and len(value) == 2:
        return _both(read_time(value[0], duration_s), read_time(value[1], duration_s))
    if isinstance(value, list) and len(value) == 1:
        return read_range(value[0], duration_s)
    if isinstance(value, str) and (match := _RANGE.search(value[:400])):
        return _both(read_time(_with_unit(match), duration_s), read_time(match[2] or match[4], duration_s))
    return None


def event_items(fields: Fields, nested: bool) -> list[Fields]:
    """The objects, this one or ones inside it, that say when something is.

    >>> event_items({"events": {"first": {"start": 1, "end": 2}}}, False)
    [{'start': 1, 'end': 2}]
    >>> event_items({"0:00-0:05": "A bridge."}, False)
    [{'time': '0:00-0:05', 'description': 'A bridge.'}]
    """
    if _is_event(fields):
        return [fields]
    inner = list(inner_items(fields, _is_event))
    if inner or nested:
        return inner
    return [
        {"time": key, "description": value}
        for key, value in fields.items()
        if isinstance(value, str) and read_range(key) is not None
    ]


def read_event(fields: Fields, duration_s: float | None = None) -> tuple[tuple[float, float] | None, str | None]:
    """(start, end) in seconds as written, and what was wrong: `time_missing`, or `time_without_end` for a moment.

    >>> read_event({"start_time": "00:21.00", "end_time": "00:49.00"})
    ((21.0, 49.0), None)
    >>> read_event({"timestamp": "12.5s"})
    ((12.5, 12.5), 'time_without_end')
    """
    plain = plain_keys(fields)
    begin = _first(plain, START_KEYS)
    start, end = read_time(begin, duration_s), read_time(_first(plain, END_KEYS), duration_s)
    if start is not None and end is not None:
        return (start, end), None
    values = [begin, *(plain.get(key) for key in RANGE_KEYS)]
    for value in values:
        if (both := read_range(value, duration_s)) is not None:
            return both, None
    if start is None:
        moments = (read_time(plain.get(key), duration_s) for key in RANGE_KEYS)
        start = next((moment for moment in moments if moment is not None), None)
    return ((start, start), "time_without_end") if start is not None else (None, "time_missing")


def read_description(fields: Fields) -> str | None:
    """What happens in an event, in the model's words."""
    plain = plain_keys(fields)
    for key in DESCRIPTION_KEYS:
        value = plain.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def event_lines(text: str, start: int) -> Sequence[Found]:
    """Events in a line of prose: every range in it, else every moment; what stands behind a range describes it.

    >>> [found.fields for found in event_lines("0:00-0:05 A bridge.\\n", 0)]
    [{'time': '0:00-0:05', 'description': 'A bridge.'}]
    >>> [found.fields for found in event_lines("It happens in 1.0 - 2.5 and 00:05.00 - 00:06.50.", 0)]
    [{'time': '1.0 - 2.5'}, {'time': '00:05.00 - 00:06.50'}]
    >>> event_lines("Pages 3-5 of a book.", 0)
    []
    """
    if not any(char.isdigit() for char in text):
        return []
    matches = [match for match in _RANGE.finditer(text) if _means_time(text, match)] or list(_MOMENT.finditer(text))
    if len(matches) == 2 and matches[0].re is _MOMENT and _FROM_TO.search(text):
        time = f"{matches[0][0]} - {matches[1][0]}"
        return [Found({"time": time}, start + matches[0].start(), start + matches[1].end())]
    return [
        Found(_line_fields(text, match, len(matches)), start + match.start(), start + match.end()) for match in matches
    ]


def placed(start_s: float, end_s: float, duration_s: float) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """A range inside the clip, ordered; and what had to be done: `time_reversed`, `time_clipped`, `time_outside`.

    >>> placed(8, 12.5, 10)
    ((8, 10), ('time_clipped',))
    >>> placed(12, 14, 10)
    (None, ('time_outside',))
    """
    done: list[str] = []
    if end_s < start_s:
        start_s, end_s = end_s, start_s
        done.append("time_reversed")
    if start_s > duration_s or end_s < 0:
        return None, ("time_outside",)
    inside = max(start_s, 0), min(end_s, duration_s)
    if inside != (start_s, end_s):
        done.append("time_clipped")
    return inside, tuple(done)


def clock(time_s: float) -> str:
    """`mm:ss.ff`, and `h:mm:ss.ff` past an hour; ff are hundredths.

    >>> clock(92.4), clock(3599.999), clock(4510)
    ('01:32.40', '1:00:00.00', '1:15:10.00')
    """
    hundredths = round(time_s * 100)
    minutes, rest = divmod(hundredths, 6000)
    tail = f"{rest // 100:02d}.{rest % 100:02d}"
    return f"{minutes:02d}:{tail}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{tail}"


def _means_time(text: str, match: re.Match[str]) -> bool:
    """Whether two numbers are times: by their form, by `from` before them, or because there is nothing else."""
    alone = not re.search(r"\w", text[: match.start()] + text[match.end() :])
    return alone or bool(_MARKED.search(match[0]) or _LED_IN.search(text[max(0, match.start() - 12) : match.start()]))


def _clock_s(match: re.Match[str], duration_s: float | None) -> float:
    first, second, third, mark, rest = match.groups()
    if first is None and mark == ":":  # m:s:x
        first, second, third, mark, rest = second, third, rest, None, None
    fraction = float(f"0.{rest}") if rest else 0.0
    if first is None:
        return int(second) * 60 + int(third) + fraction
    hours_s = int(first) * 3600 + int(second) * 60 + int(third) + fraction
    hundredths_s = int(first) * 60 + int(second) + int(third) / 100
    beyond = int(third) > 59 or (duration_s is not None and hours_s > duration_s + 1 and hundredths_s <= duration_s + 1)
    return hundredths_s if beyond and not rest else hours_s


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def _with_unit(match: re.Match[str]) -> str:
    """The first time of a range, with the unit that stands behind the second alone: `1 - 2 minutes`."""
    if match[1] is None:
        return match[3]
    unit = re.search(rf"({_UNIT})\s*$", match[2], re.IGNORECASE)
    bare = re.fullmatch(_PLAIN, match[1])
    return match[1] + unit[1] if bare and unit else match[1]


def _both(start: float | None, end: float | None) -> tuple[float, float] | None:
    return None if start is None or end is None else (start, end)


def _first(plain: Fields, keys: Sequence[str]) -> Any:
    return next((plain[key] for key in keys if plain.get(key) is not None), None)


def _is_event(fields: Fields) -> bool:
    plain = plain_keys(fields)
    return _first(plain, START_KEYS) is not None or any(_is_range(plain.get(key)) for key in RANGE_KEYS)


def _is_range(value: Any) -> bool:
    return value is not None and (read_range(value) is not None or read_time(value) is not None)


def _line_fields(text: str, match: re.Match[str], matches: int) -> Fields:
    words = text[match.end() :].strip(" \t\r\n*:-\u2013\u2014\uff1a,.") if matches == 1 else ""
    fields: Fields = {"time": match[0] if match.re is _MOMENT or match[1] else [match[3], match[4]]}
    if len(words) > 3 and match.start() < 12 and not re.fullmatch(rf"{_UNIT}\b.?", words):
        fields["description"] = text[match.end() :].strip(" \t\r\n*:-\u2013\u2014\uff1a,")
    return fields
