"""How large a picture says it is, from the first bytes of its file and without a decoder: for weighing a request before
anything of it is decoded.

Pure arithmetic on bytes that nobody vouches for; what it says is believed for the weight alone. The decode processes
look for themselves.
"""

from server.media.view import Size

HEAD_BYTES = 4096
"""Enough for every kind but JPEGs whose size comes after a long EXIF block or colour profile."""
JPEG_SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers of a frame: its height and width follow."""
MOST_SIDE = 1 << 20


def peek_size(head: bytes) -> Size | None:
    """(width, height) of a file that begins with `head`; None where that cannot be told.

    >>> peek_size(b"GIF89a" + bytes([64, 0, 48, 0]))
    (64, 48)
    >>> peek_size(b"\\x89PNG\\r\\n\\x1a\\n" + bytes([0, 0, 0, 13]) + b"IHDR" + bytes([0, 0, 2, 128, 0, 0, 1, 224]))
    (640, 480)
    >>> peek_size(b"hello")
    """
    size: Size | None = None
    if head.startswith(b"\xff\xd8"):
        size = _jpeg(head)
    elif head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        size = _big(head, 16, 4), _big(head, 20, 4)
    elif head.startswith((b"GIF87a", b"GIF89a")) and len(head) >= 10:
        size = _little(head, 6, 2), _little(head, 8, 2)
    elif head.startswith(b"BM") and len(head) >= 26:
        size = _little(head, 18, 4), abs(int.from_bytes(head[22:26], "little", signed=True))
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        size = _webp(head)
    return size if size is not None and all(0 < side < MOST_SIDE for side in size) else None


def _jpeg(head: bytes) -> Size | None:
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker in JPEG_SIZES:
            return _big(head, at + 7, 2), _big(head, at + 5, 2)
        at += 1 if marker == 0xFF else 2 + _big(head, at + 2, 2)
    return None


def _webp(head: bytes) -> Size | None:
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:
        return 1 + _little(head, 24, 3), 1 + _little(head, 27, 3)
    if kind == b"VP8L" and len(head) >= 25:
        bits = _little(head, 21, 4)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(head) >= 30:
        return _little(head, 26, 2) & 0x3FFF, _little(head, 28, 2) & 0x3FFF
    return None


def _big(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length])


def _little(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "little")
