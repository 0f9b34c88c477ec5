"""Resizing to what the model is shown: bicubic with antialiasing, as Qwen2.5-VL's processor does it.

Small pictures go through Pillow, whose arithmetic the processor's own resize repeats. Large ones go through swscale
with the same kernel (b = 0, c = 0.5), three times quicker; the two differ by rounding only (at least 53 dB,
`benchmarks/fidelity.py`).
"""

import itertools
from fractions import Fraction

import av
from av.filter import Graph
from av.video.frame import VideoFrame
from PIL import Image

from server.media.view import Size

QUICK_FROM_PIXELS = 1_000_000
QUICK_TO_PIXELS = 40_000_000
"""Above this swscale's three copies of the picture would need more memory than a decode process has."""
CATMULL_ROM = "bicubic:param0=0:param1=0.5"
Box = tuple[float, float, float, float]
"""(left, upper, right, lower) in pixels."""
ANY_TIME_BASE = Fraction(1, 1000)


def resized(image: Image.Image, wh: Size, *, box: Box | None = None) -> Image.Image:
    """`image`, of mode RGB or L, at the size `wh`.

    `box` is the part that holds the picture: one decoded at reduced scale ends within its last row and column, and to
    stretch those too would move every edge by up to a pixel.
    """
    whole = (0.0, 0.0, float(image.width), float(image.height))
    box = whole if box is None else box
    if box == whole and image.size == wh:
        return image
    pixels = image.width * image.height
    is_large = QUICK_FROM_PIXELS < pixels <= QUICK_TO_PIXELS and wh[0] * wh[1] < pixels
    if is_large and image.mode == "RGB" and box == whole:
        return Scaler(wh).scaled(_to_frame(image))
    # The gap: pictures more than six times too large are first averaged down to three times, which is not seen.
    return image.resize(wh, Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


class Scaler:
    """Scales frames to one size; keeps its filters while the frames keep their shape."""

    def __init__(self, wh: Size) -> None:
        self._wh = wh
        self._graph: Graph | None = None
        self._shape: tuple[object, ...] = ()

    def scaled(self, frame: VideoFrame) -> Image.Image:
        """The frame in RGB, full range, at the size given; its own colour matrix and range are honoured."""
        shape = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
        if self._graph is None or shape != self._shape:
            self._graph, self._shape = self._build(frame), shape
        frame.pts = 0
        frame.time_base = ANY_TIME_BASE
        self._graph.vpush(frame)
        plane = self._graph.vpull().planes[0]
        return Image.frombytes("RGB", self._wh, bytes(plane), "raw", "RGB", plane.line_size)

    def _build(self, frame: VideoFrame) -> Graph:
        """Planar in the middle: swscale's planar RGB path is twice as quick as its packed one."""
        graph = Graph()
        graph.threads = 1
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=ANY_TIME_BASE)
        chain = [
            source,
            graph.add("scale", "flags=neighbor" if frame.format.is_rgb else "flags=accurate_rnd+full_chroma_int"),
            graph.add("format", "gbrp"),
            graph.add("scale", f"{self._wh[0]}:{self._wh[1]}:flags={CATMULL_ROM}"),
            graph.add("format", "gbrp"),
            graph.add("scale", "flags=neighbor"),
            graph.add("format", "rgb24"),
            graph.add("buffersink"),
        ]
        for one, next_one in itertools.pairwise(chain):
            one.link_to(next_one)
        graph.configure()
        return graph


def _to_frame(image: Image.Image) -> VideoFrame:
    frame = av.VideoFrame(image.width, image.height, "rgb24")
    plane = frame.planes[0]
    plane.update(image.tobytes("raw", "RGB", plane.line_size, 1))
    return frame
