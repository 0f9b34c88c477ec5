"""What the model is shown of a clip: the right frames at the right times, whatever the file is like."""

import base64
import io
import struct

import pytest
from PIL import Image

from server.errors import CallerError, InvalidValue, MediaTooLarge, MediaUnreadable, MediaUnsupported
from server.media.jobs import Part
from server.media.video import decode
from tests.media.conftest import grey

OPTIONS = {
    "param": "video",
    "noun": "video",
    "min_pixels": 784,
    "max_pixels": 602112,
    "max_tokens": 8192,
    "most_pixels": 100_000_000,
    "most_bytes": 512 << 20,
    "most_frames": 768,
    "most_s": 4 * 3600,
    "sample_fps": 2,
    "start_s": 0,
    "end_s": None,
    "threads": 1,
    "reference_only": False,
    "is_frame_list": False,
}


class Clip:
    """What the engine would get."""

    def __init__(self, result):
        self.facts = result.facts
        head, _, frames = b"".join(result.url).partition(b",")
        assert head == b"data:video/jpeg;base64"
        self.images = [Image.open(io.BytesIO(base64.b64decode(frame, validate=True))) for frame in frames.split(b",")]

    @property
    def shown(self):
        """Which frame each one sent is, by its brightness."""
        levels = [image.convert("L").getpixel((image.width // 2, image.height // 2)) for image in self.images]
        return [min(range(30), key=lambda index: abs(grey(index) - level)) for level in levels]


def clip(data, **changes):
    return Clip(decode(io.BytesIO(data), [Part("raw", len(data))], OPTIONS | changes))


def frame_list(pictures, **changes):
    parts = [Part("raw", len(picture)) for picture in pictures]
    return Clip(decode(io.BytesIO(b"".join(pictures)), parts, OPTIONS | {"is_frame_list": True} | changes))


def refusal(data, **changes):
    with pytest.raises(CallerError) as caught:
        clip(data, **changes)
    assert caught.value.param == "video"
    return caught.value


def every(step_s, count, start_s=0.0):
    return [start_s + index * step_s for index in range(count)]


def saved(image, kind="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("window", [{}, {"start_s": 1.0, "end_s": 2.5}])
def test_reference_frames_alone_tell_their_true_times(make_clip, window):
    data = make_clip(every(1 / 10, 30), b_frames=3)
    exact, quick = clip(data, sample_fps=4, **window), clip(data, sample_fps=4, reference_only=True, **window)

    assert len(quick.images) == len(exact.images)
    assert [round(time_s * 10) for time_s in quick.facts["frame_times_s"]] == quick.shown
    assert quick.shown != exact.shown
    behind = [there - here for there, here in zip(exact.shown, quick.shown, strict=True)]
    assert 0 <= min(behind) <= max(behind) <= 3
    assert quick.facts["duration_s"] == exact.facts["duration_s"]


def test_two_frames_a_second_are_the_ones_shown_at_those_times(make_clip):
    shown = clip(make_clip(every(0.1, 30)))

    assert shown.shown == [0, 5, 10, 15, 20, 25]
    assert shown.facts["frame_times_s"] == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5], abs=1e-4)
    assert (shown.facts["start_s"], shown.facts["end_s"]) == (0, pytest.approx(3, abs=1e-3))
    assert shown.facts["duration_s"] == pytest.approx(3, abs=1e-3)


@pytest.mark.parametrize("rate", [23.976, 25, 29.97, 60])
def test_the_frame_at_a_time_is_the_last_one_that_is_not_after_it(make_clip, rate):
    times = every(1 / rate, 28)

    shown = clip(make_clip(times), sample_fps=10)

    for index, (time_s, frame) in enumerate(zip(shown.facts["frame_times_s"], shown.shown, strict=True)):
        due = max(i for i, at in enumerate(times) if at <= index / 10 + 1e-5)
        assert (frame, time_s) == (due, pytest.approx(times[due], abs=1e-3))


def test_frames_at_uneven_times_are_held_until_the_next(make_clip):
    shown = clip(make_clip([0, 0.1, 1.7, 1.8, 4.0, 4.5]))

    assert shown.shown == [0, 1, 1, 1, 3, 3, 3, 3, 4, 5]


def test_a_stream_that_starts_late_is_counted_from_its_first_frame(make_clip):
    shown = clip(make_clip(every(0.25, 12, start_s=7.3), container="mpegts"))

    assert shown.shown == [0, 2, 4, 6, 8, 10]
    assert shown.facts["frame_times_s"][0] == 0


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp4", "libx264"), ("matroska", "libx264"), ("webm", "libvpx-vp9"), ("avi", "mpeg4"), ("mov", "mpeg4"),
     ("mpegts", "libx264"), ("flv", "libx264")],
)  # fmt: skip
def test_every_usual_container_is_read(make_clip, container, codec):
    times = every(1 / 30, 60) if container == "avi" else every(0.1, 20)

    shown = clip(make_clip(times, container=container, codec=codec))

    expected = [0, 15, 30 % 30, 45 % 30] if container == "avi" else [0, 5, 10, 15]
    assert shown.shown == expected


def test_frame_counts_are_even_and_at_least_two(make_clip):
    assert clip(make_clip([0])).shown == [0, 0]
    assert clip(make_clip(every(0.1, 12))).shown == [0, 5, 10, 11]


def test_a_window_shows_its_own_frames(make_clip):
    data = make_clip(every(0.1, 30), gop=8)

    shown = clip(data, start_s=1.2, end_s=2.2)

    assert shown.shown == [12, 17]
    assert (shown.facts["start_s"], shown.facts["end_s"]) == (1.2, 2.2)
    assert shown.facts["frame_times_s"] == pytest.approx([1.2, 1.7], abs=1e-3)
    assert shown.facts["duration_s"] == pytest.approx(3, abs=1e-3)


def test_a_window_past_the_end_is_refused(make_clip):
    error = refusal(make_clip(every(0.1, 20)), start_s=5)

    assert type(error) is InvalidValue
    assert error.message == "video has nothing from 5 s to 2 s; it is 2.00 s long"


@pytest.mark.parametrize("container", ["matroska", "webm"])
def test_a_file_that_does_not_say_how_long_it_is_is_measured(make_clip, container):
    codec = "libx264" if container == "matroska" else "libvpx-vp9"
    data = make_clip(every(0.1, 20), container=container, codec=codec, options={"live": "1"})

    shown = clip(data)

    assert shown.shown == [0, 5, 10, 15]
    assert shown.facts["duration_s"] == pytest.approx(2, abs=0.2)


def test_of_a_file_that_is_cut_off_what_is_there_is_shown(make_clip):
    # Fragments, as a recording that was interrupted has them: an index at the end would be lost with it.
    data = make_clip(every(0.1, 60), options={"movflags": "frag_keyframe+empty_moov"}, wh=(320, 240), gop=5)

    shown = clip(data[: len(data) * 2 // 3])

    assert 4 <= len(shown.images) < 12
    assert len(shown.images) % 2 == 0
    assert shown.facts["end_s"] < 5.5
    assert shown.shown[:4] == [0, 5, 10, 15]


def turned(data, degrees):
    """The MP4 with its track's display matrix set, as phones do."""
    at = data.index(b"tkhd") + 4 + 40
    one = 0x10000
    matrix = {90: (0, one, -one, 0), 180: (-one, 0, 0, -one), 270: (0, -one, one, 0)}[degrees]
    a, b, c, d = matrix
    return data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000) + data[at + 36 :]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_rotation_flag_is_honoured(degrees):
    picture = Image.new("RGB", (128, 96), "black")
    picture.paste("white", (0, 0, 64, 48))  # upper left
    data = turned(clip_of(picture), degrees)

    shown = clip(data)

    upright = picture.rotate(-degrees, expand=True)
    assert shown.facts["original_wh"] == upright.size
    width, height = shown.images[0].size
    for x, y in ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)):
        sent = shown.images[0].convert("L").getpixel((int(x * width), int(y * height)))
        due = upright.convert("L").getpixel((int(x * upright.width), int(y * upright.height)))
        assert abs(sent - due) < 20


def clip_of(picture, codec="libx264"):
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream(codec, rate=10)
        stream.width, stream.height = picture.size
        stream.pix_fmt = "yuv420p"
        for _ in range(10):
            out.mux(stream.encode(av.VideoFrame.from_image(picture)))
        out.mux(stream.encode(None))
    return file.getvalue()


def test_colours_are_kept():
    shown = clip(clip_of(Image.new("RGB", (320, 240), (200, 60, 30))))

    assert all(abs(a - b) <= 6 for a, b in zip(shown.images[0].getpixel((50, 50)), (200, 60, 30), strict=True))


def test_frames_are_sized_so_that_the_clip_keeps_its_token_budget(make_clip):
    data = make_clip(every(0.25, 40), wh=(640, 480))

    large, small = clip(data), clip(data, max_tokens=500)

    assert large.facts["shown_wh"] == (644, 476)
    width, height = small.facts["shown_wh"]
    assert len(small.images) // 2 * width * height // 784 <= 500
    assert small.images[0].size == (width, height)


def test_a_clip_that_costs_too_much_at_the_smallest_size_is_refused(make_clip):
    error = refusal(make_clip(every(0.25, 40)), max_tokens=500, min_pixels=100352)

    assert (type(error), error.code, error.status) == (MediaTooLarge, "video_too_large", 413)
    assert "20 frames at their smallest" in error.message
    assert error.details["limit"] == 500


def test_a_clip_longer_than_the_frame_cap_is_refused_and_told_what_to_do(make_clip):
    error = refusal(make_clip(every(0.5, 20)), most_frames=16)

    assert error.code == "video_too_large"
    assert error.message == (
        "video is 10.0 seconds at 2 frames a second; the limit is 8.0 seconds at 2 frames a second"
        " (choose a part with start_s and end_s, or use /v1/localize-events)"
    )


def test_sound_alone_is_no_video(make_clip):
    error = refusal(make_clip([], sound=True))

    assert type(error) is MediaUnreadable
    assert error.message == "video has no video stream"


def test_sound_beside_the_picture_is_ignored(make_clip):
    assert clip(make_clip(every(0.1, 20), sound=True)).shown == [0, 5, 10, 15]


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        pytest.param(b"", MediaUnreadable, "empty", id="no-bytes"),
        pytest.param(b"x" * 5000, MediaUnreadable, "recognised", id="letters"),
        pytest.param(b"<!doctype html>", MediaUnsupported, "HTML", id="html"),
        pytest.param(b"#EXTM3U\nfile:///etc/passwd\n", MediaUnsupported, "HLS playlist", id="playlist"),
        pytest.param(b"ffconcat version 1.0\nfile /etc/passwd\n", MediaUnreadable, "recognised", id="concat"),
        pytest.param(saved(Image.new("RGB", (64, 64))), MediaUnsupported, "PNG", id="picture"),
        pytest.param(b"\x00\x00\x00\x18ftypisom" + bytes(500), MediaUnreadable, "broken", id="mp4-head-alone"),
        pytest.param(b"\x1aE\xdf\xa3" + bytes(500), MediaUnreadable, "", id="matroska-head-alone"),
        pytest.param(b"OggS" + bytes(500), MediaUnreadable, "", id="ogg-head-alone"),
        pytest.param(b"FLV\x01\x05" + bytes(500), MediaUnreadable, "", id="flv-head-alone"),
        pytest.param(b"RIFF\xff\x00\x00\x00AVI " + bytes(500), MediaUnreadable, "", id="avi-head-alone"),
    ],
)
def test_a_bad_file_is_refused_in_words(data, error, words):
    refused = refusal(data)

    assert type(refused) is error
    assert words in refused.message


def test_frames_with_too_many_pixels_are_refused_before_decoding(make_clip):
    error = refusal(make_clip(every(0.5, 2)), most_pixels=5000)

    assert error.message == "a frame of video (128x96) is 12288 pixels; the limit is 5000 pixels"


def test_frames_of_an_impossible_shape_are_refused():
    error = refusal(clip_of(Image.new("RGB", (2050, 10))))

    assert error.message == "aspect ratio of video (2050x10) is 205; the limit is 200"


def test_an_animated_gif_is_a_clip():
    frames = [Image.new("RGB", (64, 64), (grey(index),) * 3) for index in range(8)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=250)

    assert clip(buffer.getvalue()).shown == [0, 2, 4, 6]


def pictures(count, wh=(112, 84)):
    return [saved(Image.new("RGB", wh, (grey(index),) * 3)) for index in range(count)]


def test_a_list_of_pictures_is_shown_in_order_with_an_even_count():
    shown = frame_list(pictures(5))

    assert shown.shown == [0, 1, 2, 3, 4, 4]
    assert shown.facts["frame_times_s"] == [0, 0.5, 1, 1.5, 2, 2]
    assert shown.facts["duration_s"] == 2.5


def test_a_list_of_one_picture_is_shown_twice():
    assert frame_list(pictures(1)).shown == [0, 0]


def test_pictures_of_other_sizes_take_the_first_ones():
    shown = frame_list([*pictures(1, (224, 112)), *pictures(1, (50, 90))])

    assert [image.size for image in shown.images] == [(224, 112), (224, 112)]


def test_jpeg_frames_of_the_size_shown_are_sent_as_they_came():
    frame = saved(Image.effect_noise((224, 168), 60).convert("RGB"), "JPEG")
    result = decode(io.BytesIO(frame * 2), [Part("raw", len(frame))] * 2, OPTIONS | {"is_frame_list": True})

    assert b"".join(result.url) == b"data:video/jpeg;base64," + b",".join([base64.b64encode(frame)] * 2)


def test_a_broken_picture_of_a_list_is_named_by_its_place():
    with pytest.raises(MediaUnreadable) as caught:
        frame_list([*pictures(2), b"nothing"])

    assert caught.value.param == "video[2]"
