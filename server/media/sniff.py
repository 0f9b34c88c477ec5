"""What a file is, by its first bytes: names and declared types lie."""

from server.errors import MediaUnreadable, MediaUnsupported

PICTURES = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF", "AVIF")
"""Kinds that `image.py` reads, by Pillow's names."""
CLIPS = ("MP4", "Matroska", "AVI", "MPEG-TS", "MPEG-PS", "FLV", "Ogg", "GIF")
"""Kinds that `video.py` reads."""

HEAD_BYTES = 4096
"""Enough to tell every kind below."""

MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (8, b"WEBP", "WEBP"),
    (8, b"AVI ", "AVI"),
    (8, b"WAVE", "WAV"),
    (0, b"BM", "BMP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"II+\x00", "TIFF"),
    (0, b"MM\x00+", "TIFF"),
    (0, b"\x1aE\xdf\xa3", "Matroska"),
    (0, b"FLV\x01", "FLV"),
    (0, b"OggS", "Ogg"),
    (0, b"\x00\x00\x01\xba", "MPEG-PS"),
    (0, b"%PDF-", "PDF"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\x00\x00\x01\x00", "ICO"),
    (0, b"%!PS", "PostScript"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"7z\xbc\xaf", "7-Zip"),
    (0, b"Rar!", "RAR"),
    (0, b"ID3", "MP3"),
    (0, b"fLaC", "FLAC"),
    (0, b"#EXTM3U", "HLS playlist"),
    (0, b"{\\rtf", "RTF"),
    (0, b"\xd0\xcf\x11\xe0", "Office"),
)
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc", b"hevx")
AVIF_BRANDS = (b"avif", b"avis")
MP4_ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip")
TS_PACKET_BYTES = 188


def kind_of(head: bytes) -> str | None:
    """The kind that a file starting with `head` is, or None if it is none that we know.

    >>> kind_of(b"GIF89a....."), kind_of(b"<!doctype html><p>404"), kind_of(b"hello"), kind_of(b"RIFF....WEBPVP8 ")
    ('GIF', 'HTML', None, 'WEBP')
    """
    if head[4:8] == b"ftyp":
        return _ftyp_kind(head)
    if head[4:8] in MP4_ATOMS:
        return "MP4"
    for offset, magic, kind in MAGIC:
        if head.startswith(magic, offset) and (offset == 0 or head.startswith(b"RIFF")):
            return kind
    if head[:1] == b"G" and head[TS_PACKET_BYTES : TS_PACKET_BYTES + 1] == b"G":
        return "MPEG-TS"
    return _text_kind(head)


def _ftyp_kind(head: bytes) -> str:
    """HEIF, AVIF or MP4, by the brands of an ISO base media file."""
    brands_end = min(int.from_bytes(head[:4]), 256)
    brands = [head[at : at + 4] for at in (8, *range(16, brands_end, 4))]
    if any(brand in AVIF_BRANDS for brand in brands):
        return "AVIF"
    return "HEIF" if any(brand in HEIF_BRANDS for brand in brands) else "MP4"


def _text_kind(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "HTML"
    if b"<svg" in text and text.startswith(b"<"):
        return "SVG"
    if text.startswith(b"<?xml"):
        return "XML"
    return "JSON" if text.startswith((b'{"', b"[{", b"[[")) else None


def expect_kind(head: bytes, kinds: tuple[str, ...], *, param: str, noun: str) -> str:
    """The kind, if it is one of `kinds`; `noun` is "image" or "video" and starts the error code.

    Raises MediaUnreadable for no or unknown bytes, MediaUnsupported for a kind that is not among them.

    >>> expect_kind(b"%PDF-1.7", PICTURES, param="image", noun="image")
    Traceback (most recent call last):
    server.errors.MediaUnsupported: image is PDF; taken are JPEG, PNG, WEBP, GIF, BMP, TIFF, HEIF, AVIF
    """
    if not head:
        raise MediaUnreadable(f"{param} is empty (0 bytes)", param=param, code=f"{noun}_unreadable")
    kind = kind_of(head)
    if kind is None:
        raise MediaUnreadable(
            f"{param} is no {noun} that can be recognised; taken are {', '.join(kinds)}",
            param=param,
            code=f"{noun}_unreadable",
        )
    if kind not in kinds:
        raise MediaUnsupported(
            f"{param} is {kind}; taken are {', '.join(kinds)}", param=param, code=f"{noun}_unsupported"
        )
    return kind
