"""What the model is shown: a picture (`View`) or a sampled clip (`Clip`), each remembering the caller's own space."""

from dataclasses import dataclass
from pathlib import Path

from server.media.handover import discard

Size = tuple[int, int]
"""(width, height) in pixels, always in this order."""


@dataclass(frozen=True, slots=True)
class View:
    """One picture as the model sees it.

    Coordinates in an answer are pixels of `shown_wh`; the caller's pixels are those of `original_wh`.
    """

    original_wh: Size
    """The caller's picture after its EXIF turn."""
    shown_wh: Size
    """After smart_resize: both sides multiples of 28, so that the engine's own resize is the identity."""
    url: str
    """`data:image/...;base64,...`, exactly what is sent to the engine; or `file:...`, if it was handed over so."""
    digest: str
    """Hex BLAKE3 of the caller's bytes: the same picture has the same digest, whoever sends it."""
    page: int | None = None
    """1-based page of a document."""
    page_wh_pt: tuple[float, float] | None = None
    """The page's size in points, 1/72 inch."""
    time_s: float | None = None
    """Seconds from the start of the caller's clip."""
    file: Path | None = None
    """What `url` names, where the picture is handed over as a file."""

    def release(self) -> None:
        """The request is done: no engine will look at it again."""
        if self.file is not None:
            discard(self.file)

    @property
    def name(self) -> str:
        """Tells what the model is shown from everything else: the same picture at another size is another one."""
        return f"{self.digest}@{self.shown_wh[0]}x{self.shown_wh[1]}"

    @property
    def visual_tokens(self) -> int:
        """Tokens that this picture costs in the prompt: one for each 28x28 cell.

        >>> View((640, 480), (644, 476), "data:,", "").visual_tokens
        391
        """
        return self.shown_wh[0] * self.shown_wh[1] // 784


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames of one window of a video, as the model sees them."""

    original_wh: Size
    """Of the caller's video after its rotation flag."""
    shown_wh: Size
    """Of every frame sent."""
    url: str
    """`data:video/jpeg;base64,f1,f2,...`, exactly what is sent to the engine."""
    digest: str
    frame_times_s: tuple[float, ...]
    """Presentation time of each frame that was sampled, from the start of the caller's clip."""
    fps: float
    """Frames a second that the engine is told; frame i is shown to the model as time start_s + i / fps."""
    start_s: float
    end_s: float
    """The window of the caller's clip that these frames cover."""
    duration_s: float
    """Of the caller's whole clip."""

    @property
    def name(self) -> str:
        """Tells what the model is shown from everything else, other windows of the same clip included."""
        size = f"{self.shown_wh[0]}x{self.shown_wh[1]}"
        return f"{self.digest}@{size}@{self.start_s:.3f}-{self.end_s:.3f}@{self.fps:g}"

    @property
    def visual_tokens(self) -> int:
        """Tokens that the clip costs: frames are merged in pairs, an odd last one is repeated."""
        pairs = (len(self.frame_times_s) + 1) // 2
        return pairs * (self.shown_wh[0] * self.shown_wh[1] // 784)
