"""Clips over HTTP: times of the caller's clip, whatever was sampled, in windows where it is long."""

import json
from typing import Any

import httpx2
import pytest

from benchmarks.overhead.mock import Mock
from server.geometry import Size
from tests.media.conftest import make
from tests.tasks.common import asked, gateway_before, picture, says, uri

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = '[{"start_time":"00:01.00","end_time":"00:03.00","description":"A light grows."}]'


def clip(duration_s: float, rate: float = 10, wh: Size = (128, 96)) -> str:
    return uri(make([at / rate for at in range(round(duration_s * rate))], wh=wh), "video/mp4")


async def localized(client: httpx2.AsyncClient, video: Any, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/localize-events", json={"video": video, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_events_have_clocks_and_seconds(client: httpx2.AsyncClient, mock: Mock):
    says(mock, EVENTS)
    result = await localized(client, clip(10))
    assert result["events"] == [
        {"start_time": "00:01.00", "end_time": "00:03.00", "start_s": 1, "end_s": 3, "description": "A light grows."}
    ]
    assert result["duration_s"] == pytest.approx(10, abs=0.11)
    assert result["sampling"] == {"fps": 2, "frames": 20, "windows": 1}
    assert (result["object"], result["video"]) == ("event_list", {"width": 128, "height": 96})


async def test_a_query_is_answered_in_words_that_are_read(client: httpx2.AsyncClient, mock: Mock):
    says(mock, "The event happens in 00:01.00 - 00:02.50 and 00:05.00 - 00:06.00.")
    result = await localized(client, clip(10), query="a light grows")
    assert [(each["start_s"], each["end_s"]) for each in result["events"]] == [(1, 2.5), (5, 6)]
    assert "Give the query: 'a light grows'" in asked(mock)["messages"][1]["content"][1]["text"]


async def test_a_time_outside_the_clip_is_clipped_and_said(client: httpx2.AsyncClient, mock: Mock):
    says(mock, '[{"start_time":"00:08.00","end_time":"00:30.00","description":"a"},'
               '{"start_time":"00:40.00","end_time":"00:50.00","description":"b"}]')  # fmt: skip
    result = await localized(client, clip(10))
    assert [each["start_s"] for each in result["events"]] == [8]
    assert result["events"][0]["end_s"] <= result["duration_s"]
    assert {"time_clipped", "time_outside"} <= {warning["code"] for warning in result["warnings"]}


@pytest.mark.parametrize("fps", [1, 4])
async def test_another_sampling_rate_does_not_shift_the_times(client: httpx2.AsyncClient, mock: Mock, fps: float):
    """The engine is told 2 frames a second; at 1 a second its 2nd second is our 4th."""
    says(mock, EVENTS)
    result = await localized(client, clip(20), fps=fps)
    assert result["sampling"]["fps"] == pytest.approx(fps, rel=0.02)
    assert result["events"][0]["start_s"] == pytest.approx(1 * 2 / fps, abs=1 / fps)
    assert result["events"][0]["end_s"] == pytest.approx(3 * 2 / fps, abs=1 / fps)


async def test_uneven_frames_keep_their_own_times(client: httpx2.AsyncClient, mock: Mock):
    says(mock, '[{"start_time":"00:02.00","end_time":"00:04.00","description":"a"}]')
    times = [at / 25 for at in range(50)] + [2 + at / 8 for at in range(40)]
    result = await localized(client, uri(make(times), "video/mp4"))
    assert result["events"][0]["start_s"] == pytest.approx(2, abs=0.5)
    assert result["events"][0]["end_s"] == pytest.approx(4, abs=0.5)


async def test_a_list_of_frames_counts_by_the_rate_at_which_they_were_taken(client: httpx2.AsyncClient, mock: Mock):
    says(mock, EVENTS)
    result = await localized(client, [uri(picture(112, 84))] * 8, fps=1)
    assert result["duration_s"] == 8
    assert result["events"][0]["start_s"] == pytest.approx(2, abs=1)


async def test_a_long_clip_comes_in_windows_and_halves_at_a_seam_are_joined(mock: Mock):
    says(mock, '[{"start_time":"00:00.00","end_time":"00:10.00","description":"A light grows."}]')
    settings = {"video_window_s": 10, "video_overlap_s": 2}
    async with gateway_before(mock, **settings) as client:
        result = await localized(client, clip(26, rate=5))
    assert result["sampling"]["windows"] == 3
    assert len(mock.requests) == 3
    assert [(each["start_s"], each["end_s"]) for each in result["events"]] == [(0, pytest.approx(26, abs=0.3))]


async def test_windows_are_shorter_where_frames_cost_more(mock: Mock):
    says(mock, '[{"start_time":"00:00.00","end_time":"00:01.00","description":"A light grows."}]')
    async with gateway_before(mock, video_max_tokens=1100, video_window_s=60) as client:
        result = await localized(client, clip(20, rate=5, wh=(320, 180)))
    assert result["sampling"]["windows"] >= 3


async def test_events_of_later_windows_have_the_clips_own_times(mock: Mock):
    says(mock, '[{"start_time":"00:03.00","end_time":"00:04.00","description":"A light grows."}]')
    settings = {"video_window_s": 10, "video_overlap_s": 2}
    async with gateway_before(mock, **settings) as client:
        result = await localized(client, clip(26, rate=5))
    starts = [each["start_s"] for each in result["events"]]
    assert starts == [pytest.approx(at, abs=0.5) for at in (3, 11, 19)]


async def test_at_most_so_many_events_and_none_too_short(client: httpx2.AsyncClient, mock: Mock):
    events = [
        {"start_time": f"00:0{at}.00", "end_time": f"00:0{at}.{at}0", "description": f"number {at}"} for at in range(9)
    ]
    says(mock, json.dumps(events))
    result = await localized(client, clip(10), max_events=2, min_duration=0.45)
    assert [each["start_s"] for each in result["events"]] == [5, 6]


async def test_a_clip_about_which_nothing_can_be_read_is_an_error_also_in_a_stream(
    client: httpx2.AsyncClient, mock: Mock
):
    says(mock, "then then never mind")
    for stream in (False, True):
        answer = await client.post("/v1/localize-events", json={"video": clip(4), "stream": stream})
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "answer_unreadable")


async def test_sound_alone_is_a_clear_error(client: httpx2.AsyncClient, mock: Mock):
    answer = await client.post("/v1/localize-events", json={"video": uri(make([], sound=True), "video/mp4")})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"].startswith("video_")
    assert not mock.requests


async def test_a_long_film_is_described_from_fewer_frames(mock: Mock):
    says(mock, "A light grows and fades.")
    async with gateway_before(mock, video_window_s=5) as client:
        answer = await client.post("/v1/caption", json={"video": clip(20, rate=5)})
    assert answer.status_code == 200, answer.text
    frames = asked(mock)["messages"][1]["content"][0]["video_url"]["url"]
    assert frames.startswith("data:video/jpeg;base64,")
    assert frames.count(",") <= 11
