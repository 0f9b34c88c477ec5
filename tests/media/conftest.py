"""What the media tests share: a way to see what the model would be shown, and small clips made to order."""

import base64
import io
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import pytest
from PIL import Image

from server.media import MediaLoader
from server.media.image import decode
from server.media.jobs import Part
from server.media.view import Size
from server.settings import Settings

IMAGE_OPTIONS: dict[str, Any] = {
    "param": "image",
    "noun": "image",
    "min_pixels": 3136,
    "max_pixels": 1003520,
    "budget": None,
    "most_pixels": 100_000_000,
    "most_bytes": 32 << 20,
}


@dataclass(frozen=True)
class Shown:
    """What the engine would get of a picture."""

    original_wh: Size
    shown_wh: Size
    url: bytes

    @property
    def image(self) -> Image.Image:
        """As vLLM opens it."""
        return Image.open(io.BytesIO(base64.b64decode(self.url.partition(b",")[2])))


Show = Callable[..., Shown]
"""show(file_bytes, **options) -> Shown."""


@pytest.fixture
def show() -> Show:
    """Decodes a picture in this process, as a decode process would."""

    def show(data: bytes, **changes: Any) -> Shown:
        result = decode(io.BytesIO(data), [Part("raw", len(data))], IMAGE_OPTIONS | changes)
        facts = result.facts
        return Shown(facts["original_wh"], facts["shown_wh"], b"".join(result.url))

    return show


@pytest.fixture
async def loader() -> AsyncIterator[MediaLoader]:
    """The loader of a server with default settings and one decode process."""
    loader = MediaLoader(Settings(media_workers=1))
    yield loader
    await loader.close()


MakeClip = Callable[..., bytes]
"""make_clip(times_s, **how) -> the bytes of a video file whose frame i is shown at times_s[i] and has `grey(i)`."""


def grey(index: int) -> int:
    """The brightness that tells frames apart after lossy coding; 30 steps, then again."""
    return 12 + 8 * (index % 30)


@pytest.fixture
def make_clip() -> MakeClip:
    """Makes clips whose frames say by their brightness which they are."""
    return make


def make(
    times_s: Sequence[float],
    *,
    wh: Size = (128, 96),
    container: str = "mp4",
    codec: str = "libx264",
    sound: bool = False,
    options: dict[str, str] | None = None,
    gop: int = 12,
    b_frames: int = 0,
) -> bytes:
    """Times are exact to 33 us (WebM: to a millisecond). The last frame is shown for as long as the one before."""
    tick = Fraction(1, 30000)
    durations: dict[int, int] = {}
    file = io.BytesIO()

    def mux(packets: list[av.Packet]) -> None:
        for packet in packets:
            packet.duration = durations[packet.pts]
            out.mux(packet)

    with av.open(file, "w", format=container, options=options or {}) as out:
        if times_s:
            video = out.add_stream(codec, rate=30)
            video.width, video.height = wh
            video.pix_fmt = "yuv420p"
            video.codec_context.time_base = tick
            video.codec_context.gop_size = gop
            if codec == "libx264":
                video.options = {"preset": "ultrafast", "crf": "12"}
                if b_frames:
                    video.options |= {"bf": str(b_frames), "b_strategy": "0"}
        if sound:
            audio = out.add_stream("aac", rate=8000)
            audio.layout = "mono"
            frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            frame.sample_rate = 8000
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            out.mux(audio.encode(frame))
            out.mux(audio.encode(None))
        for index, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_image(Image.new("RGB", wh, (grey(index),) * 3))
            frame.pts = round(time_s / tick)
            durations[frame.pts] = round(_shown_s(times_s, index) / tick)
            frame.time_base = tick
            mux(video.encode(frame))
        if times_s:
            mux(video.encode(None))
    return file.getvalue()


def _shown_s(times_s: Sequence[float], index: int) -> float:
    if len(times_s) < 2:
        return 1 / 30
    at = min(index, len(times_s) - 2)
    return times_s[at + 1] - times_s[at]
