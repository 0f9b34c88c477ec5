"""Times and events, in every form that was seen."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.tasks.reading import ItemStream, read_items
from server.tasks.reading_time import clock, event_items, event_lines, placed, read_description, read_event, read_time
from tests.tasks.growth import in_proportion


def read(answer, duration_s=None):
    found, _ = read_items(answer, event_items, event_lines)
    return [(read_event(item.fields, duration_s)[0], read_description(item.fields)) for item in found]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("00:21.80", 21.8),
        ("00:21.8", 21.8),
        ("00:21,80", 21.8),
        ("01:35.60", 95.6),
        ("0:05", 5),
        ("75:10.00", 4510),
        ("1:02:03", 3723),
        ("1:02:03.25", 3723.25),
        ("00:00:21.80", 21.8),
        pytest.param("00:21:80", 21.8, id="80 can be no seconds"),
        pytest.param("00:21:50", 21.5, id="a clip of one minute has no 21st minute"),
        ("12:34.56s", 754.56),
        ("64", 64),
        ("64.0", 64),
        ("64.0s", 64),
        ("64 seconds", 64),
        ("3.2 s", 3.2),
        ("1m5s", 65),
        ("1 min 5 sec", 65),
        ("1 hour and 2 minutes", 3720),
        ("3rd second", 3),
        pytest.param("1分5秒", 65, id="Chinese"),
        pytest.param("00\uff1a05", 5, id="full-width colon"),
        ("<00:05.00>", 5),
        (64.5, 64.5),
        (64, 64),
        ("soon", None),
        ("", None),
        (None, None),
        (True, None),
        ([], None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
    ],
)
def test_a_time_in_any_form(written, seconds):
    assert read_time(written, duration_s=60 if written == "00:21:50" else None) == seconds


@pytest.mark.parametrize(
    "answer",
    [
        '[{"start_time": "00:05.00", "end_time": "00:10.00", "description": "A dog runs."}]',
        '```json\n[{"start": 5, "end": 10.0, "event": "A dog runs."}]\n```',
        '{"events": [{"from": "5s", "to": "10s", "caption": "A dog runs."}]}',
        '[{"timestamp": "00:05 - 00:10", "activity": "A dog runs."}]',
        '[{"time_range": ["00:05", "00:10"], "content": "A dog runs."}]',
        '{"00:05.00 - 00:10.00": "A dog runs."}',
        '[{"startTime": "0:05", "endTime": "0:10", "description": "A dog runs."',
        "[{'start_time': '00:05.00', 'end_time': '00:10.00', 'description': 'A dog runs.'}]",
        "0:05-0:10 A dog runs.",
        "- **00:05.00 - 00:10.00**: A dog runs.",
        "From 5 to 10 seconds: A dog runs.",
    ],
)
def test_an_event_in_any_form(answer):
    assert read(answer) == [((5, 10), "A dog runs.")]


@pytest.mark.parametrize(
    ("answer", "ranges"),
    [
        ("The given query happens in 64.0 - 72.0 seconds.", [(64, 72)]),
        ("The event happens in 01:32.40 - 01:35.60.", [(92.4, 95.6)]),
        ("The described content occurs from 28 seconds to 50 seconds in the video.", [(28, 50)]),
        ("It happens in 1.0 - 2.5 and 00:05.00 - 00:06.50.", [(1, 2.5), (5, 6.5)]),
        ("between 1:05 and 1:20", [(65, 80)]),
        ("2 to 3 minutes", [(120, 180)]),
        ("[3.0, 5.5]", [(3, 5.5)]),
        ("It starts at 00:05.00 and ends at 00:09.00.", [(5, 9)]),
        ("The person appears at 12.5 seconds.", [(12.5, 12.5)]),
        ("第3秒到第5秒", [(3, 5)]),
        ("There are 3 to 5 people on page 3-1.", []),
        ("No such event.", []),
    ],
)
def test_a_sentence_that_says_when(answer, ranges):
    assert [both for both, _ in read(answer)] == ranges


def test_one_bad_event_costs_no_other():
    answer = '[{"start_time": "soon", "end_time": "later"}, {"start_time": "00:05.00", "end_time": "00:10.00"}]'
    assert read(answer) == [(None, None), ((5, 10), None)]


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0.1, 20_000))
def test_no_event_leaves_the_clip(start_s, end_s, duration_s):
    both, _ = placed(start_s, end_s, duration_s)
    assert both is None or 0 <= both[0] <= both[1] <= duration_s


@given(st.integers(0, 50_000_00))
def test_a_clock_reads_back_as_it_was_written(hundredths):
    assert read_time(clock(hundredths / 100)) == pytest.approx(hundredths / 100, abs=1e-6)


PIECES = ["{", "}", "[", '"', ":", ",", "\n", " ", "0:05", " - ", "5 seconds", "from ", "to ", '"start": 1', '"time": "1-2"', "starts ", "ends "]  # fmt: skip  # noqa: E501
MESS = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=30).map("".join)


@settings(max_examples=300, deadline=None)
@given(MESS, st.data())
def test_a_stream_of_events_reads_as_the_whole_however_it_is_cut(answer, data):
    stream, at, found = ItemStream(event_items, event_lines), 0, []
    for cut in [*sorted(data.draw(st.sets(st.integers(0, len(answer)), max_size=8))), len(answer)]:
        found += stream.feed(answer[at:cut])
        at = cut
    found += stream.close()
    assert found == read_items(answer, event_items, event_lines)[0]
    for item in found:
        read_event(item.fields, 60)


@pytest.mark.parametrize(
    "unit",
    [
        "1",
        "1:",
        "1 ",
        "1 - ",
        "1:1 ",
        "0:01 - 0:02 a\n",
        "1s",
        "from 1 to 2 ",
        "starts ends 1s ",
        '{"time":"1-2"},',
        "- ",
    ],
)
def test_reading_times_takes_time_in_proportion_to_the_text(unit):
    def work(size):
        for item in read_items(unit * (size // len(unit)), event_items, event_lines)[0]:
            read_event(item.fields)

    assert in_proportion(work)
