"""A video file, opened: its size, its length, and its frames in order of time. Runs in a decode process.

The demuxer is chosen by the file's first bytes and no other is tried, and a file cannot make FFmpeg open another one:
playlists and references to URLs or paths are a known way to read what the server can read.
"""

import itertools
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from server.errors import MediaTooLarge, MediaUnreadable
from server.media.sniff import CLIPS, HEAD_BYTES, expect_kind
from server.media.view import Size

DEMUXERS = {
    "MP4": "mov",
    "Matroska": "matroska",
    "AVI": "avi",
    "MPEG-TS": "mpegts",
    "MPEG-PS": "mpeg",
    "FLV": "flv",
    "Ogg": "ogg",
    "GIF": "gif",
}
TIME_TOLERANCE_S = 1e-6
"""Two times closer than this are the same; time bases are coarser."""
DECODE_ERRORS = (av.FFmpegError, ValueError, EOFError, OSError, RuntimeError)


class Film:
    """One video stream of a file; use as a context manager.

    Raises MediaUnreadable if there is none, MediaUnsupported for a kind that is not taken, MediaTooLarge for frames of
    more than `most_pixels`.
    """

    def __init__(
        self, file: BinaryIO, *, param: str, most_pixels: int, threads: int, reference_only: bool = False
    ) -> None:
        """`reference_only` leaves out frames that no other frame is predicted from: they are not even decoded, and what
        is sampled is the last one that is left, with its own time.
        """
        self._param = param
        self._reference_only = reference_only
        self._gap_s = 0.0
        """Longest time between two frames that were decoded."""
        self._most_pixels = most_pixels
        head = file.read(HEAD_BYTES)
        file.seek(0)
        kind = expect_kind(head, CLIPS, param=param, noun="video")
        try:
            self._container: InputContainer = av.open(file, "r", format=DEMUXERS[kind], io_open=_refuse_to_open)
        except DECODE_ERRORS as exc:
            raise self._unreadable(f"is {kind}, but broken: {reason(exc)}") from exc
        try:
            self._stream = self._video_stream(threads)
            self._check_size(self._stream.codec_context.width, self._stream.codec_context.height)
            self.duration_s = self._duration_s()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> "Film":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._container.close()

    def frames_from(self, start_s: float) -> Iterator[tuple[float, VideoFrame]]:
        """(time in seconds from the stream's start, frame), in order, beginning at or before `start_s`.

        Ends early and silently where the file is cut off or broken: what decodes is used.
        """
        frames = self._decoded(self._seek(start_s))
        first = next(frames, None)
        if start_s > 0 and (first is None or first[0] > start_s + TIME_TOLERANCE_S):
            # Some files have an index that leads past the time asked for, or none.
            frames = self._decoded(self._seek(0))
            first = next(frames, None)
        return iter(()) if first is None else itertools.chain([first], frames)

    def frame_s(self, frame: VideoFrame) -> float:
        """How long the frame is shown, in seconds; with reference frames alone, until the next one at the latest."""
        if self._reference_only and self._gap_s:
            return self._gap_s
        if frame.duration:
            return float(frame.duration * self._time_base)
        rate = self._stream.average_rate
        return 1 / float(rate) if rate else 0.0

    def _video_stream(self, threads: int) -> VideoStream:
        streams = self._container.streams.video
        if not streams:
            raise self._unreadable("has no video stream")
        stream = streams[0]
        if stream.time_base is None:
            raise self._unreadable("has a video stream without a time base")
        self._time_base = stream.time_base
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        if self._reference_only:
            stream.codec_context.skip_frame = "NONREF"
        return stream

    def _duration_s(self) -> float:
        if self._stream.duration and self._stream.duration > 0:
            return float(self._stream.duration * self._time_base)
        if self._container.duration and self._container.duration > 0:
            return self._container.duration / av.time_base
        return self._measured_duration_s()

    def _measured_duration_s(self) -> float:
        """By reading every packet, for files whose header does not say: recordings by browsers, live streams."""
        first_pts, end_pts = None, 0
        try:
            for packet in self._container.demux(self._stream):
                if packet.pts is not None:
                    first_pts = packet.pts if first_pts is None else min(first_pts, packet.pts)
                    end_pts = max(end_pts, packet.pts + (packet.duration or 0))
        except DECODE_ERRORS:
            pass  # cut off: it is as long as what is there
        return float((end_pts - (first_pts or 0)) * self._time_base)

    def _seek(self, start_s: float) -> int | None:
        """Goes to the last keyframe at or before `start_s`; gives the stream's first timestamp, if it is known."""
        start_pts = self._stream.start_time
        try:
            self._container.seek(int(start_s / self._time_base) + (start_pts or 0), stream=self._stream)
        except DECODE_ERRORS as exc:
            if start_s > 0:
                return self._seek(0)
            raise self._unreadable(f"cannot be read from its start: {reason(exc)}") from exc
        return start_pts

    def _decoded(self, start_pts: int | None) -> Iterator[tuple[float, VideoFrame]]:
        last_s, begun = 0.0, False
        for frame in self._raw_frames():
            self._check_size(frame.width, frame.height)
            if frame.pts is None:
                time_s = last_s + self.frame_s(frame)
            else:
                start_pts = frame.pts if start_pts is None else start_pts
                time_s = float((frame.pts - start_pts) * self._time_base)
            if begun:
                self._gap_s = max(self._gap_s, time_s - last_s)
            last_s, begun = max(last_s, time_s), True
            yield last_s, frame

    def _raw_frames(self) -> Iterator[VideoFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except DECODE_ERRORS:
                return
            if packet is None:
                return
            try:
                yield from packet.decode()
            except DECODE_ERRORS:
                continue  # one broken packet; later keyframes may decode

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._most_pixels:
            raise MediaTooLarge(
                self._param,
                value=width * height,
                limit=self._most_pixels,
                unit="pixels",
                code="video_too_large",
                what=f"a frame of {self._param} ({width}x{height})",
            )

    def _unreadable(self, what: str) -> MediaUnreadable:
        return MediaUnreadable(f"{self._param} {what}", param=self._param, code="video_unreadable")


def upright_wh(frame: VideoFrame) -> Size:
    """The frame's size after its rotation flag."""
    return (frame.height, frame.width) if frame.rotation % 180 else (frame.width, frame.height)


def reason(exc: BaseException) -> str:
    """FFmpeg's words for what is wrong, without its function and file names."""
    return str(getattr(exc, "strerror", None) or type(exc).__name__)


def _refuse_to_open(url: str, *_: Any) -> NoReturn:
    raise PermissionError("a video may not refer to another file")
