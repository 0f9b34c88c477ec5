"""What a caller may hand over as a picture, page or clip, and how it travels: files as they are, never as base64.

Paths, URLs, `data:` URIs, bytes, open files, PIL pictures, NumPy arrays (RGB order), and lists of pictures as a clip.
"""

import base64
import io
import mimetypes
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from PIL import Image

LOSSLESS_PIXELS = 2_000_000
"""A picture from memory of up to so many pixels is sent as PNG, a larger one as JPEG of quality 95: the model is shown
1,280 visual tokens, about a megapixel, of either."""
_URL = re.compile(r"https?://", re.IGNORECASE)
_MAGIC = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"%PDF-", "application/pdf"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/x-matroska"),
    (8, b"AVI ", "video/x-msvideo"),
)


class Array(Protocol):
    """A NumPy array, or what looks like one: height x width x 3 in RGB, or height x width in grey; 8 bits."""

    @property
    def __array_interface__(self) -> dict[str, Any]: ...


MediaInput = str | os.PathLike[str] | bytes | bytearray | IO[bytes] | Image.Image | Array
"""A path, URL or `data:` URI; bytes or an open file; a PIL picture; an array."""
ClipInput = MediaInput | Sequence[MediaInput]
"""A clip as a file or URL, or its frames in order."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A URL that the server fetches, or a `data:` URI."""

    url: str

    @property
    def name(self) -> str:
        """The file's name, for people."""
        return "data" if self.url.startswith("data:") else Path(urlsplit(self.url).path).name or "download"


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on this machine."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def media_type(self) -> str:
        """By its name; the server looks at the bytes."""
        return mimetypes.guess_type(self.path.name)[0] or "application/octet-stream"

    def open(self) -> IO[bytes]:
        return self.path.open("rb")

    def read(self) -> bytes:
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes in memory."""

    data: bytes
    media_type: str
    name: str = "upload"

    def open(self) -> IO[bytes]:
        return io.BytesIO(self.data)

    def read(self) -> bytes:
        return self.data


Source = Remote | LocalFile | Held


def source(value: MediaInput) -> Source:
    """Where a picture, page or clip comes from. Raises FileNotFoundError, and TypeError for what is none.

    >>> source("https://example.com/a.jpg")
    Remote(url='https://example.com/a.jpg')
    >>> source(b"%PDF-1.7 ...").media_type
    'application/pdf'
    >>> source(Image.new("RGB", (4, 2))).media_type
    'image/png'
    """
    if isinstance(value, str) and (_URL.match(value) or value.startswith("data:")):
        return Remote(value)
    if isinstance(value, str | os.PathLike):
        path = Path(value)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is no file, and no URL that starts with http://, https:// or data:")
        return LocalFile(path)
    if isinstance(value, bytes | bytearray):
        return Held(bytes(value), sniffed(bytes(value[:64])))
    if isinstance(value, Image.Image):
        return _picture(value)
    if hasattr(value, "__array_interface__"):
        return _picture(_from_array(value))
    if hasattr(value, "read"):
        data = value.read()
        if not isinstance(data, bytes):
            raise TypeError("the file must be opened in binary mode: open(path, 'rb')")
        return Held(data, sniffed(data[:64]), Path(str(getattr(value, "name", "upload"))).name)
    raise TypeError(f"{type(value).__name__} is no path, URL, bytes, file, PIL picture or array")


def sources(value: ClipInput) -> Source | list[Source]:
    """The source of a clip: one file or URL, or one for each of its frames."""
    if isinstance(value, list | tuple):
        return [source(each) for each in value]
    return source(value)  # type: ignore[arg-type]  # the list is dealt with


def data_uri(source: Source) -> str:
    """The source as a URL that a JSON body can hold.

    >>> data_uri(Held(b"abc", "image/png"))
    'data:image/png;base64,YWJj'
    """
    if isinstance(source, Remote):
        return source.url
    return f"data:{source.media_type};base64,{base64.b64encode(source.read()).decode()}"


def data_bytes(uri: str) -> bytes:
    """What a `data:` URI holds.

    >>> data_bytes("data:text/plain;base64,YWJj"), data_bytes("data:,a%20b")
    (b'abc', b'a b')
    """
    head, _, body = uri.partition(",")
    return base64.b64decode(body) if head.endswith(";base64") else unquote_to_bytes(body)


def sniffed(head: bytes) -> str:
    """The media type of a file that starts so.

    >>> sniffed(b"\\x89PNG\\r\\n\\x1a\\n"), sniffed(b"hello")
    ('image/png', 'application/octet-stream')
    """
    for at, magic, media_type in _MAGIC:
        if head[at : at + len(magic)] == magic:
            return media_type
    return "application/octet-stream"


def _picture(picture: Image.Image) -> Held:
    out = io.BytesIO()
    if picture.width * picture.height <= LOSSLESS_PIXELS:
        picture.save(out, "PNG", compress_level=1)
        return Held(out.getvalue(), "image/png", "picture.png")
    picture.convert("RGB").save(out, "JPEG", quality=95, subsampling=0)
    return Held(out.getvalue(), "image/jpeg", "picture.jpg")


def _from_array(array: Any) -> Image.Image:
    shape, kind = array.__array_interface__["shape"], array.__array_interface__["typestr"]
    if kind[1:] != "u1":
        raise TypeError(f"the array has the type {kind}; pictures are 8 bits: (array * 255).astype('uint8')")
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (3, 4)):
        raise TypeError(f"the array has the shape {tuple(shape)}; pictures are height x width, x 3 or x 4")
    return Image.fromarray(array)
