"""A picture, from the caller's bytes to what the engine is sent. Runs in a decode process.

Follows what vLLM itself does with a picture (EXIF turn, alpha on white, RGB, bicubic), so that going through us
changes nothing but the cost: JPEG is decoded at the smallest DCT scale that still covers the size shown, and what is
sent is either the caller's own bytes or a BMP, which costs 2 ms a megapixel to write and read, against 12 for a JPEG
of quality 95 and 110 for a PNG.
"""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pybase64
from blake3 import blake3
from PIL import Image

from server.errors import MediaTooLarge, MediaUnreadable
from server.media import handover
from server.media.jobs import Part, Result
from server.media.scale import resized
from server.media.sizes import check_aspect_ratio, shown_size
from server.media.sniff import HEAD_BYTES, PICTURES, expect_kind
from server.media.source import decoded
from server.media.view import Size

# Our own check, of the header and against a setting, comes before any decoding.
Image.MAX_IMAGE_PIXELS = None

EXIF_ORIENTATION = 0x0112
TURNS: Mapping[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)
"""Orientations that swap width and height."""
HEADROOM = 1.2
"""A JPEG is decoded at a reduced scale that leaves so much to the resize: at 1.0 sharp text came out 35 dB from the
reference, at 1.2 it is 39 dB (`benchmarks/fidelity.py`)."""
UNTOUCHED_KINDS = ("JPEG", "PNG", "WEBP")
UNTOUCHED_SHARE = 4
"""A file is passed on as it is if it is smaller than its pixels by this factor; else the BMP is cheaper all told."""
GREY_16_TO_8 = 257
DIGEST_BYTES = 16

DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, struct.error, zlib.error)
"""What Pillow and its plugins raise on broken files."""


def decode(file: BinaryIO, parts: Sequence[Part], options: Mapping[str, Any]) -> Result:
    """One picture, ready to send. Options: param, min_pixels, max_pixels, budget, most_pixels, most_bytes, and file,
    where it is to be written; it comes as a data: URI all the same if that fails.
    """
    data = read_part(file, parts[0], options, noun="image")
    picture = Picture(data, most_pixels=options["most_pixels"], param=options["param"])
    shown = shown_size(picture.wh, options["min_pixels"], options["max_pixels"], budget=options["budget"])
    facts = {"original_wh": picture.wh, "shown_wh": shown, "digest": digest(data)}
    if picture.can_pass_untouched(shown):
        picture.verify()
        return _handed(facts, picture.kind.lower(), data, options.get("file"))
    buffer = io.BytesIO()
    picture.pixels(shown).save(buffer, "BMP")
    return _handed(facts, "bmp", buffer.getbuffer(), options.get("file"))


def _handed(facts: dict[str, Any], kind: str, data: bytes | memoryview, file: str | None) -> Result:
    if file is not None and handover.write(Path(file), data):
        return Result({**facts, "is_file": True}, [])
    return Result(facts, [f"data:image/{kind};base64,".encode(), pybase64.b64encode(data)])


def read_part(file: BinaryIO, part: Part, options: Mapping[str, Any], *, noun: str) -> bytes | memoryview:
    """The next file of the job, decoded. Raises MediaTooLarge if it is longer than `most_bytes`."""
    param, limit = options["param"], options["most_bytes"]
    data = decoded(file.read(part.bytes), part.encoding, param=param, noun=noun)
    if len(data) > limit:
        raise MediaTooLarge(param, value=len(data), limit=limit, unit="bytes", code=f"{noun}_too_large")
    return data


def digest(data: bytes | memoryview) -> str:
    """Hex BLAKE3 of the caller's bytes: of a 24-megapixel photo in 1.2 ms, where BLAKE2b takes 7 and SHA-256 3.5.

    >>> digest(b"")
    'af1349b9f5f9a1a6a0404dea36dcc949'
    """
    return blake3(data).hexdigest(length=DIGEST_BYTES)


class Picture:
    """A picture whose header was read and found acceptable; nothing is decoded yet.

    Raises MediaUnsupported for a kind that is not taken, MediaUnreadable for a broken header, MediaTooLarge for more
    than `most_pixels`, LimitExceeded for an aspect ratio that the model does not take.
    """

    def __init__(self, data: bytes | memoryview, *, most_pixels: int, param: str) -> None:
        self.kind = expect_kind(bytes(data[:HEAD_BYTES]), PICTURES, param=param, noun="image")
        self._param = param
        self._size_bytes = len(data)
        try:
            self._image = _opened(data, self.kind)
            self._orientation = _orientation(self._image)
        except DECODE_ERRORS as exc:
            raise self._unreadable("has no readable header") from exc
        width, height = self._image.size
        if width * height > most_pixels:
            raise MediaTooLarge(
                param, value=width * height, limit=most_pixels, unit="pixels", what=f"{param} ({width}x{height})"
            )
        if not width or not height:
            raise self._unreadable(f"is {width}x{height} pixels")
        self.wh: Size = (height, width) if self._orientation in SIDEWAYS else (width, height)
        check_aspect_ratio(self.wh, param=param)

    def can_pass_untouched(self, shown: Size) -> bool:
        """Whether the engine, given the caller's bytes, would show exactly these pixels, at less cost than from a
        BMP."""
        image = self._image
        return (
            self.kind in UNTOUCHED_KINDS
            and image.format == self.kind
            and image.mode in ("RGB", "L")
            and "transparency" not in image.info
            and not getattr(image, "is_animated", False)
            and self._orientation == 1
            and self.wh == shown
            and self._size_bytes * UNTOUCHED_SHARE <= shown[0] * shown[1] * len(image.getbands())
        )

    def verify(self) -> None:
        """Raises MediaUnreadable if the picture does not decode; a JPEG is only decoded at an eighth of its size."""
        self._image.draft(None, (1, 1))
        self._load()

    def pixels(self, shown: Size) -> Image.Image:
        """The picture as the model is to see it: turned, on white, RGB (or L), of the size `shown`."""
        upright = self._orientation not in SIDEWAYS
        before_turn = shown if upright else (shown[1], shown[0])
        reduced = self._image.draft(None, (int(before_turn[0] * HEADROOM), int(before_turn[1] * HEADROOM)))
        self._load()
        try:
            image = resized(flattened(self._image), before_turn, box=reduced[1] if reduced else None)
        except DECODE_ERRORS as exc:
            raise self._unreadable("could not be converted") from exc
        turn = TURNS.get(self._orientation)
        return image if turn is None else image.transpose(turn)

    def _load(self) -> None:
        try:
            self._image.load()
        except DECODE_ERRORS as exc:
            raise self._unreadable(f"is broken: {_reason(exc)}") from exc

    def _unreadable(self, what: str) -> MediaUnreadable:
        return MediaUnreadable(f"{self._param} {what} ({self.kind}, {self._size_bytes} bytes)", param=self._param)


def flattened(image: Image.Image) -> Image.Image:
    """`image` in RGB (or L, as it is), alpha and transparent palette entries on white.

    The same steps as vLLM's `multimodal/image.py: convert_image_mode`, but for pictures in 16-bit grey: those keep
    their shades, where Pillow's own conversion clips nearly all of them to white.
    """
    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value * (1 / GREY_16_TO_8)).convert("L")
    if image.mode in ("RGB", "L") and "transparency" not in image.info:
        return image
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    image = image if image.mode == "RGBA" else image.convert("RGBA")
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert("RGB")
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=alpha)
    return white


def _opened(data: bytes | memoryview, kind: str) -> Image.Image:
    """Opened as `kind` and nothing else: Pillow must not try its other plugins on hostile bytes."""
    if kind == "HEIF":
        # Only where needed: it takes 30 ms to import.
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
    return Image.open(io.BytesIO(data), formats=[kind])


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1 where there is none, or where Pillow turns the picture by itself."""
    if image.format in ("TIFF", "HEIF"):
        return 1
    try:
        value = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # broken EXIF of any kind: shown as it lies, as vLLM does
        return 1
    return value if value in TURNS else 1


def _reason(exc: BaseException) -> str:
    """Pillow's own words, which name the fault and hold no addresses."""
    return str(exc) if "0x" not in str(exc) else type(exc).__name__
