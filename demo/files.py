"""Scenes as files. PyAV is imported only where a clip is written: the engine's environment may have none."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from PIL import Image


class Drawn(Protocol):
    @property
    def image(self) -> Image.Image: ...


def save_png(scene: Drawn, path: Path) -> Path:
    """Writes a picture, page or screen without loss."""
    scene.image.save(path, "PNG")
    return path


def save_pdf(pages: Sequence[Drawn], path: Path, dpi: float = 72) -> Path:
    """Writes pages as a PDF of pictures, so that a reader must look; at 72 dpi one pixel is one point."""
    first, *others = [scene.image for scene in pages]
    first.save(path, "PDF", resolution=dpi, save_all=True, append_images=others, quality=95)
    return path


def save_mp4(clip: Any, path: Path, codec: str = "libx264") -> Path:
    """Writes a clip (`scenes.Clip`), frame i at i / fps seconds; both sides must be even, as the codec asks."""
    import av

    with av.open(str(path), "w") as container:
        rate = Fraction(clip.fps).limit_denominator(1001)
        stream = container.add_stream(codec, rate=rate, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height = clip.wh
        stream.pix_fmt = "yuv420p"
        for image in clip.frames():
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return path
