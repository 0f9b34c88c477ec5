"""What is asked and what is kept of the answer. Everything measured is computed from records, which are plain JSON."""

import base64
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from PIL import Image

Fields = dict[str, Any]


@dataclass(frozen=True)
class Item:
    """One question with a known answer."""

    id: str
    """Unique in its suite; a run that goes on knows by it what was answered."""
    kind: str
    """One of `scoring.SCORERS`."""
    path: str
    """Of the endpoint."""
    body: Callable[[], Fields]
    """Writes the request. Called when its turn comes: a suite's files together would fill memory."""
    truth: Fields
    """The right answer, in the file's own pixels and seconds."""
    about: Fields = field(default_factory=dict)
    """What the figures may be split by."""


@dataclass(frozen=True)
class Record:
    """One line of `items.jsonl`."""

    id: str
    kind: str
    truth: Fields
    about: Fields
    answer: Fields | None
    """None where the answer could not be read, or none came."""
    error: str | None = None
    """The error's code. `answer_unreadable` and `action_impossible` are the model's, and count as wrong; others are
    asked again by the next run."""
    seconds: float = 0.0
    """Of the whole request."""

    @property
    def is_final(self) -> bool:
        """Whether it counts: an answer, or one that the server could not read."""
        return self.error is None or self.error in UNREADABLE

    def line(self) -> Fields:
        return asdict(self)


UNREADABLE = ("answer_unreadable", "action_impossible")


def data_uri(data: bytes, media_type: str) -> str:
    """
    >>> data_uri(b"abc", "image/png")
    'data:image/png;base64,YWJj'
    """
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def png(image: Image.Image) -> str:
    """A picture as a data: URI, without loss."""
    packed = io.BytesIO()
    image.save(packed, "PNG", compress_level=1)
    return data_uri(packed.getvalue(), "image/png")


EXIF_ORIENTATION = 0x0112
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""EXIF orientation -> how a camera that notes it has stored the upright picture."""


def jpeg(image: Image.Image, orientation: int = 1) -> str:
    """A picture as cameras write it: turned, with a note of how to turn it back; as a data: URI."""
    turn = STORED[orientation]
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    packed = io.BytesIO()
    (image if turn is None else image.transpose(turn)).save(packed, "JPEG", quality=92, exif=exif)
    return data_uri(packed.getvalue(), "image/jpeg")
