"""A clip, from the caller's file or list of pictures to the frames that the engine is sent. Runs in a decode process.

The engine is told that frames come at a fixed rate, so they are sampled at exactly that rate by presentation time: the
frame at time t is the last one whose presentation time is not after t. Frame counts are even, because the model merges
frames in pairs. Frames go as JPEG: as BMP a clip would be ten times the bytes for no gain that shows.
"""

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import pybase64
from av.video.frame import VideoFrame
from blake3 import blake3
from PIL import Image

from server.errors import InvalidValue, MediaTooLarge, MediaUnreadable
from server.media.film import TIME_TOLERANCE_S, Film, upright_wh
from server.media.image import DIGEST_BYTES, Picture, read_part
from server.media.jobs import Part, Result
from server.media.scale import Scaler
from server.media.sizes import FRAMES_PER_TOKEN, check_aspect_ratio, clip_tokens, frame_size
from server.media.view import Size

HEAD = b"data:video/jpeg;base64,"
JPEG_HOW = {"quality": 95, "subsampling": "4:4:4"}
"""38 to 45 dB from the frame, 3.5 ms a megapixel more than 4:2:0, which costs 5 dB where colours have edges."""
READ_BYTES = 1 << 20


def decode(file: BinaryIO, parts: Sequence[Part], options: Mapping[str, Any]) -> Result:
    """One clip, ready to send.

    Options: param, min_pixels, max_pixels, most_pixels, most_bytes, max_tokens, most_frames, most_s, sample_fps,
    start_s, end_s, threads, reference_only, and is_frame_list, which says whether the parts are pictures or one video
    file.
    """
    return _from_pictures(file, parts, options) if options["is_frame_list"] else _from_film(file, parts[0], options)


def sample_count(window_s: float, fps: float) -> int:
    """Frames to sample from a window: those at 0, 1/fps, 2/fps, ... before its end, made even, at least two.

    >>> sample_count(10, 2), sample_count(10.2, 2), sample_count(0.04, 2), sample_count(1.5, 2)
    (20, 22, 2, 4)
    """
    count = max(1, math.ceil(window_s * fps - TIME_TOLERANCE_S))
    return count + count % FRAMES_PER_TOKEN


def sampled(frames: Iterable[tuple[float, VideoFrame]], times_s: Sequence[float]) -> Iterator[tuple[float, VideoFrame]]:
    """For each of `times_s`, the last frame not after it; the first frame for times before it, the last for times
    after.

    >>> list(sampled([(0.0, "a"), (0.4, "b"), (0.6, "c")], [0, 0.5, 1, 1.5]))
    [(0.0, 'a'), (0.4, 'b'), (0.6, 'c'), (0.6, 'c')]
    """
    shown: tuple[float, VideoFrame] | None = None
    wanted = iter(times_s)
    time_s = next(wanted, None)
    for following in frames:
        while shown is not None and time_s is not None and following[0] > time_s + TIME_TOLERANCE_S:
            yield shown
            time_s = next(wanted, None)
        if time_s is None:
            return
        shown = following
    while shown is not None and time_s is not None:
        yield shown
        time_s = next(wanted, None)


def _from_film(file: BinaryIO, part: Part, options: Mapping[str, Any]) -> Result:
    if part.encoding != "raw":
        file = io.BytesIO(read_part(file, part, options, noun="video"))
    digest = _file_digest(file)
    how = {"threads": options["threads"], "reference_only": options["reference_only"]}
    with Film(file, param=options["param"], most_pixels=options["most_pixels"], **how) as film:
        start_s, end_s = _window(film.duration_s, options)
        count = _checked_count(film.duration_s, end_s - start_s, options)
        times_s = [start_s + index / options["sample_fps"] for index in range(count)]
        encoder = _Encoder(count, options)
        last_end_s = start_s
        for time_s, frame in sampled(film.frames_from(start_s), times_s):
            encoder.add(time_s, frame)
            last_end_s = max(last_end_s, time_s + film.frame_s(frame))
        duration_s = film.duration_s
    if not encoder.times_s:
        raise MediaUnreadable(
            f"{options['param']} has no frame that can be decoded", param=options["param"], code="video_unreadable"
        )
    # Fewer frames than the header promised: the file is cut off, and what is missing must not be shown as a still.
    there = sample_count(min(end_s, last_end_s) - start_s, options["sample_fps"])
    if there < count:
        encoder.keep(there)
        end_s = duration_s = last_end_s
    facts = {
        "original_wh": encoder.original_wh,
        "shown_wh": encoder.shown_wh,
        "digest": digest,
        "frame_times_s": encoder.times_s,
        "start_s": start_s,
        "end_s": end_s,
        "duration_s": duration_s,
    }
    return Result(facts, _url(encoder.jpegs))


class _Encoder:
    """Scales, turns and encodes frames, one at a time; a frame that is shown twice is encoded once."""

    def __init__(self, count: int, options: Mapping[str, Any]) -> None:
        self._count = count
        self._options = options
        self._last: VideoFrame | None = None
        self.times_s: list[float] = []
        self.jpegs: list[bytes] = []
        self.original_wh: Size = (0, 0)
        self.shown_wh: Size = (0, 0)

    def add(self, time_s: float, frame: VideoFrame) -> None:
        self.times_s.append(time_s)
        self.jpegs.append(self.jpegs[-1] if frame is self._last else self._jpeg(frame))
        self._last = frame

    def keep(self, count: int) -> None:
        del self.times_s[count:], self.jpegs[count:]

    def _jpeg(self, frame: VideoFrame) -> bytes:
        rotation = frame.rotation % 360
        if not self.jpegs:
            self.original_wh = upright_wh(frame)
            self.shown_wh = checked_frame_size(self.original_wh, self._count, self._options)
            self._scaler = Scaler(self.shown_wh)
            self._scaler_sideways = Scaler((self.shown_wh[1], self.shown_wh[0]))
        scaler = self._scaler_sideways if rotation % 180 else self._scaler
        image = scaler.scaled(frame)
        turn = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
        return _jpeg(image.transpose(turn[rotation]) if rotation in turn else image)


def _from_pictures(file: BinaryIO, parts: Sequence[Part], options: Mapping[str, Any]) -> Result:
    """Every picture at the size that the first one gets; an odd last one is shown twice."""
    digest = blake3()
    count = len(parts) + len(parts) % FRAMES_PER_TOKEN
    encoded: list[bytes] = []
    original_wh = shown_wh = (0, 0)
    for index, part in enumerate(parts):
        one = {**options, "param": f"{options['param']}[{index}]"}
        data = read_part(file, part, one, noun="video")
        digest.update(len(data).to_bytes(8) + data)
        picture = Picture(data, most_pixels=options["most_pixels"], param=one["param"])
        if not encoded:
            original_wh, shown_wh = picture.wh, checked_frame_size(picture.wh, count, options)
        if picture.kind == "JPEG" and picture.can_pass_untouched(shown_wh):
            picture.verify()
            encoded.append(bytes(data))
        else:
            encoded.append(_jpeg(picture.pixels(shown_wh)))
    times_s = [index / options["sample_fps"] for index in range(len(parts))]
    if count > len(parts):
        encoded.append(encoded[-1])
        times_s.append(times_s[-1])
    facts = {
        "original_wh": original_wh,
        "shown_wh": shown_wh,
        "digest": digest.hexdigest(length=DIGEST_BYTES),
        "frame_times_s": times_s,
        "start_s": 0.0,
        "end_s": len(parts) / options["sample_fps"],
        "duration_s": len(parts) / options["sample_fps"],
    }
    return Result(facts, _url(encoded))


def checked_frame_size(wh: Size, count: int, options: Mapping[str, Any]) -> Size:
    """The size of each frame.

    Raises MediaTooLarge if `count` frames cost too many tokens at the smallest size, LimitExceeded for an aspect ratio
    that the model does not take.
    """
    param, limit = options["param"], options["max_tokens"]
    check_aspect_ratio(wh, param=param)
    shown = frame_size(wh, count, min_pixels=options["min_pixels"], max_pixels=options["max_pixels"], max_tokens=limit)
    tokens = clip_tokens(count, shown)
    if tokens > limit:
        raise MediaTooLarge(
            param,
            value=tokens,
            limit=limit,
            unit="visual tokens",
            what=f"{param}, {count} frames at their smallest ({shown[0]}x{shown[1]}),",
            hint="choose a part with start_s and end_s, or use /v1/localize-events",
            code="video_too_large",
        )
    return shown


def _window(duration_s: float, options: Mapping[str, Any]) -> tuple[float, float]:
    """(start, end) in seconds, within the clip."""
    param, most_s = options["param"], options["most_s"]
    if duration_s > most_s:
        raise MediaTooLarge(param, value=round(duration_s, 1), limit=most_s, unit="seconds", code="video_too_large")
    start_s = float(options["start_s"])
    end_s = duration_s if options["end_s"] is None else min(float(options["end_s"]), duration_s)
    if start_s > 0 and start_s >= end_s:
        raise InvalidValue(
            f"{param} has nothing from {start_s:g} s to {end_s:g} s; it is {duration_s:.2f} s long", param=param
        )
    return start_s, max(end_s, start_s)


def _checked_count(duration_s: float, window_s: float, options: Mapping[str, Any]) -> int:
    count = sample_count(window_s, options["sample_fps"])
    if count > options["most_frames"]:
        raise MediaTooLarge(
            options["param"],
            value=round(window_s, 2),
            limit=options["most_frames"] / options["sample_fps"],
            unit=f"seconds at {options['sample_fps']:g} frames a second",
            hint="choose a part with start_s and end_s, or use /v1/localize-events",
            code="video_too_large",
        )
    return count


def _file_digest(file: BinaryIO) -> str:
    digest = blake3()
    while piece := file.read(READ_BYTES):
        digest.update(piece)
    file.seek(0)
    return digest.hexdigest(length=DIGEST_BYTES)


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **JPEG_HOW)
    return buffer.getvalue()


def _url(jpegs: Sequence[bytes]) -> list[bytes]:
    pieces = [HEAD]
    for jpeg in jpegs:
        pieces += (pybase64.b64encode(jpeg), b",")
    return pieces[:-1]
