"""Files made to do harm: each is small, and says or unpacks to something that is not."""

import io
import struct
import zlib
from typing import Any

from PIL import Image

from tests.bad_input.files import clip, gif_of, png_of, text_bomb

HUGE = 65_000
"""Pixels of a side that JPEG can still say."""


def saved(kind: str, wh: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", wh, "teal").save(buffer, kind, **options)
    return buffer.getvalue()


def squeezed(length: int, byte: bytes = b"\0") -> bytes:
    """So many bytes, packed a thousand to one."""
    packer = zlib.compressobj(9)
    pieces = [packer.compress(byte * (1 << 20)) for _ in range(length >> 20)]
    return b"".join([*pieces, packer.flush()])


# -- pictures --------------------------------------------------------------------------------------------------------


def _jpeg_says(width: int, height: int) -> bytes:
    data = bytearray(saved("JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def _jpeg_with(segment: int, body: bytes, times: int = 1) -> bytes:
    data = saved("JPEG")
    return data[:2] + (b"\xff" + bytes([segment]) + struct.pack(">H", len(body) + 2) + body) * times + data[2:]


def _jpeg_of_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: libjpeg reads each."""
    data = saved("JPEG", (2000, 2000), progressive=True)
    at = data.rindex(b"\xff\xda")
    scan = data[at:-2]
    return data[:at] + scan * count + data[-2:]


def _exif(entries: bytes, count: int) -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + b"\x08\0\0\0"


def _gif_says(width: int, height: int) -> bytes:
    """One frame as large as the screen that it says it needs."""
    size = struct.pack("<HH", width, height)
    return b"GIF89a" + size + b"\x80\0\0" + bytes(6) + b",\0\0\0\0" + size + b"\0\x02\x02\x4c\x01\0;"


def _bmp_says(width: int, height: int, bits: int = 24) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 1000, 0, 0, 54, 40, width, height, 1, bits, 0, 0, 0, 0, 0, 0)
        + bytes(900)
    )


def _webp_says(width: int, height: int) -> bytes:
    """An extended WebP whose canvas is much larger than its picture."""
    inner = saved("WEBP")[12:]
    canvas = (
        b"VP8X"
        + struct.pack("<I", 10)
        + b"\0\0\0\0"
        + (width - 1).to_bytes(3, "little")
        + (height - 1).to_bytes(3, "little")
    )
    return b"RIFF" + struct.pack("<I", 4 + len(canvas) + len(inner)) + b"WEBP" + canvas + inner


def tiff(*tags: tuple[int, int, int, int], after: int = 0, data: bytes = b"") -> bytes:
    """A TIFF of one directory; `after` is where it says that the next one is."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + struct.pack("<I", after) + data


def _tiff_of(width: int, height: int, compression: int = 1, **more: Any) -> bytes:
    data = more.get("data", bytes(100))
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1),
            (273, 4, 1, 8 + 2 + 12 * 8 + 4), (278, 4, 1, height), (279, 4, 1, len(data))]  # fmt: skip
    return tiff(*tags, after=more.get("after", 0), data=data)


def _apng(frames: int) -> bytes:
    """A PNG that says it has so many frames, each as large as it may be."""
    control = (b"acTL", struct.pack(">II", frames, 0))
    frame = (b"fcTL", struct.pack(">IIIIIHHBB", 0, 5000, 5000, 0, 0, 1, 10, 0, 0))
    return png_of((5000, 5000), bytes(5001) * 10, control, frame)


def _heif_says(width: int, height: int) -> bytes:
    """A HEIF whose item property says another size than its picture has."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    data = bytearray(saved("HEIF"))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", width, height)
    return bytes(data)


PICTURES: dict[str, bytes] = {
    "PNG of 400 megapixels": png_of((20_000, 20_000)),
    "PNG of 4 exapixels": png_of((2**31 - 1, 2**31 - 1)),
    "PNG of 49 megapixels of nothing": png_of((7000, 7000), b""),
    "PNG of 49 megapixels from 50 kB": png_of((7000, 7000), bytes(7001) * 7000),
    "PNG of minus one": png_of((2**32 - 1, 2**32 - 1)),
    "PNG with a comment that unpacks to 64 MB": text_bomb(),
    "PNG with a colour profile that unpacks to 256 MB": png_of(
        (28, 28), bytes(29) * 28, (b"iCCP", b"a\0\0" + squeezed(256 << 20))
    ),
    "PNG with an international text that unpacks to 256 MB": png_of(
        (28, 28), bytes(29) * 28, (b"iTXt", b"a\0\1\0\0\0" + squeezed(256 << 20))
    ),
    "PNG of 5,000 comments": png_of((28, 28), bytes(29) * 28, *[(b"tEXt", b"a\0" + bytes(60))] * 5000),
    "PNG with pixels after its end": png_of((28, 28), bytes(29) * 28) + bytes(500_000),
    "PNG of 28 x 28 whose pixels unpack to 128 MB": png_of((28, 28), bytes(128 << 20)),
    "APNG of 4 billion frames": _apng(2**32 - 1),
    "JPEG of 4 gigapixels": _jpeg_says(HUGE, HUGE),
    "JPEG of 0 lines": _jpeg_says(64, 0),
    "JPEG of one line of 65,500": _jpeg_says(65_500, 1),
    "JPEG of 150 scans": _jpeg_of_scans(150)[: 900_000],
    "JPEG of 5,000 comments": _jpeg_with(0xFE, bytes(100), 5000),
    "JPEG whose EXIF goes round": _jpeg_with(0xE1, _exif(struct.pack("<HHII", 0x8769, 4, 1, 8), 1)),
    "JPEG whose EXIF says 65,535 entries": _jpeg_with(0xE1, _exif(b"", 65_535)),
    "JPEG whose EXIF points at four billion": _jpeg_with(
        0xE1, _exif(struct.pack("<HHII", 0x0112, 2, 2**32 - 1, 2**32 - 1), 1)
    ),
    "JPEG whose orientation is 77": _jpeg_with(0xE1, _exif(struct.pack("<HHII", 0x0112, 3, 1, 77), 1)),
    "JPEG with a segment of no length": saved("JPEG")[:2] + b"\xff\xe1\0\0" + saved("JPEG")[2:],
    "JPEG of Huffman tables that are none": saved("JPEG").replace(b"\xff\xc4", b"\xff\xc4\xff\xff", 1),
    "JPEG in a JPEG in a JPEG": _jpeg_with(0xE1, saved("JPEG")[:60_000], 10),
    "GIF of 4 gigapixels": _gif_says(65_535, 65_535),
    "GIF of 40,000 frames": gif_of(2)[:-1] + gif_of(2)[gif_of(2).index(b"!\xf9") : -1] * 4000 + b";",
    "GIF of codes that never end": _gif_says(6000, 6000)[:-3] + b"\xff" + bytes(255) * 200,
    "BMP of 4 exapixels": _bmp_says(2**31 - 1, 2**31 - 1),
    "BMP of minus 2 billion lines": _bmp_says(100, -(2**31)),
    "BMP of 0 bits": _bmp_says(100, 100, 0),
    "BMP packed into runs": _bmp_says(7000, 7000, 8)[:30] + b"\x01" + _bmp_says(7000, 7000, 8)[31:],
    "WebP of 281 terapixels": _webp_says(1 << 24, 1 << 24),
    "WebP of a canvas of 100 megapixels": _webp_says(10_000, 10_000),
    "WebP of a length beyond its end": saved("WEBP")[:4] + b"\xff\xff\xff\x7f" + saved("WEBP")[8:],
    "TIFF of 4 exapixels": _tiff_of(2**31 - 1, 2**31 - 1),
    "TIFF that goes round": _tiff_of(64, 48, after=8),
    "TIFF whose pixels unpack to 256 MB": _tiff_of(16_000, 16_000, 8, data=squeezed(256 << 20)),
    "TIFF of strips that lie elsewhere": tiff(
        (256, 4, 1, 64), (257, 4, 1, 48), (273, 4, 2**31, 2**31), (279, 4, 2**31, 2**31)
    ),
    "TIFF of 65,535 tags": b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 256, 4, 1, 9) * 65_535,
    "TIFF of tags of four billion values": tiff((256, 4, 2**32 - 1, 8), (257, 4, 2**32 - 1, 8)),
    "BigTIFF of nothing": b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63 - 1),
    "HEIF of 4 exapixels": _heif_says(2**31 - 1, 2**31 - 1),
    "HEIF of a gigapixel": _heif_says(32_768, 32_768),
    "HEIF of boxes in boxes": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"".join(
        struct.pack(">I", 80_000 - 8 * depth) + b"meta" for depth in range(10_000)
    ),
    "AVIF of nothing": b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(1000),
}  # fmt: skip


# -- documents -------------------------------------------------------------------------------------------------------


def pdf(*objects: bytes, root: int = 1) -> bytes:
    """A PDF of these objects, numbered from 1."""
    data, offsets = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(data)
    rows = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    return (
        data
        + head
        + rows
        + b"trailer<</Size %d/Root %d 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, root, start)
    )


CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"


def _page(
    box: bytes = b"[0 0 200 200]", content: bytes = b"", more: bytes = b"", filters: bytes = b""
) -> tuple[bytes, ...]:
    stream = b"<</Length %d%b>>stream\n%b\nendstream" % (len(content), filters, content)
    return (
        CATALOG,
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox%b/Contents 4 0 R/Resources<<%b>>>>" % (box, more),
        stream,
    )


FLATE = b"/Filter/FlateDecode"
DOCUMENTS: dict[str, bytes] = {
    "PDF of a page of 10 million points": pdf(*_page(b"[0 0 10000000 10000000]")),
    "PDF of a page of no size": pdf(*_page(b"[0 0 0 0]")),
    "PDF of a page of infinite size": pdf(*_page(b"[0 0 1e38 1e38]")),
    "PDF of a page as thin as a hair": pdf(*_page(b"[0 0 100000 0.01]")),
    "PDF that says 2 billion pages": pdf(CATALOG, b"<</Type/Pages/Kids[3 0 R]/Count 2147483647>>", *_page()[2:]),
    "PDF whose pages go round": pdf(CATALOG, b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 2/Parent 2 0 R>>"),
    "PDF of no pages": pdf(CATALOG, b"<</Type/Pages/Kids[]/Count 0>>"),
    "PDF of 20,000 brackets": pdf(CATALOG, b"[" * 20_000),
    "PDF whose content unpacks to 256 MB": pdf(*_page(content=squeezed(256 << 20, b"q "), filters=FLATE)),
    "PDF whose content is packed ten times": pdf(
        *_page(content=squeezed(1 << 20), filters=b"/Filter[" + b"/FlateDecode" * 10 + b"]")
    ),
    "PDF of 200,000 saved states": pdf(*_page(content=b"q " * 200_000)),
    "PDF that draws a form in itself": pdf(
        *_page(content=b"/F Do", more=b"/XObject<</F 5 0 R>>"),
        b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</F 5 0 R>>>>/Length 5>>"
        b"stream\n/F Do\nendstream",
    ),
    "PDF of forms that draw two forms each, forty deep": pdf(
        *_page(content=b"/F Do", more=b"/XObject<</F 5 0 R>>"),
        *(
            b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</F %d 0 R>>>>/Length 11>>stream\n"
            b"/F Do /F Do\nendstream" % number
            for number in range(6, 46)
        ),
    ),
    "PDF with a picture of 4 gigapixels": pdf(
        *_page(content=b"/I Do", more=b"/XObject<</I 5 0 R>>"),
        b"<</Type/XObject/Subtype/Image/Width 65000/Height 65000/BitsPerComponent 8/ColorSpace/DeviceRGB/Length 9>>"
        b"stream\nxxxxxxxxx\nendstream",
    ),
    "PDF that runs a script and opens a file": pdf(
        b"<</Type/Catalog/Pages 2 0 R/OpenAction<</S/JavaScript/JS(while(1){})>>/AA<</WC<</S/Launch/F(/bin/sh)>>>>>>",
        *_page()[1:],
    ),
    "PDF that fetches a picture": pdf(
        *_page(content=b"/I Do", more=b"/XObject<</I 5 0 R>>"),
        b"<</Type/XObject/Subtype/Image/Width 1/Height 1/F<</FS/URL/F(http://127.0.0.1/a)>>/Length 0>>"
        b"stream\n\nendstream",
    ),
    "PDF whose table of objects points at itself": pdf(*_page()).replace(b"startxref\n", b"startxref\n9"),
    "PDF of nothing but its head": b"%PDF-1.7\n",
    "PDF that is locked": pdf(*_page()).replace(
        b"trailer<<", b"trailer<</Encrypt<</Filter/Standard/V 1/R 2/O(x)/U(x)/P -4>>"
    ),
    "PDF of a function that calls itself": pdf(
        *_page(content=b"/P sh", more=b"/Shading<</P<</ShadingType 1/ColorSpace/DeviceGray/Function 5 0 R>>>>"),
        b"<</FunctionType 3/Domain[0 1]/Functions[5 0 R]/Bounds[]/Encode[0 1]>>",
    ),
}


# -- clips -----------------------------------------------------------------------------------------------------------

FILM = clip(frames=20)


def _says(film: bytes, atom: bytes, at: int, value: bytes) -> bytes:
    """The MP4 with other bytes in one of its atoms, counted from its name's end."""
    start = film.index(atom) + 4 + at
    return film[:start] + value + film[start + len(value) :]


def _boxes(depth: int) -> bytes:
    return b"".join(struct.pack(">I", 8 * (depth - level)) + b"moov" for level in range(depth))


def _ebml(*elements: bytes) -> bytes:
    return b"\x1aE\xdf\xa3\x93B\x82\x88matroskaB\x87\x81\x04B\x85\x81\x02" + b"".join(elements)


CLIPS: dict[str, bytes] = {
    "MP4 of frames of 65,535 x 65,535": _says(FILM, b"mp4v", 24, b"\xff\xff\xff\xff"),
    "MP4 of frames of 0 x 0": _says(FILM, b"mp4v", 24, bytes(4)),
    "MP4 of four billion samples": _says(FILM, b"stsz", 8, b"\xff\xff\xff\xff"),
    "MP4 of samples of two gigabytes": _says(FILM, b"stsz", 4, b"\x7f\xff\xff\xff"),
    "MP4 of four billion times": _says(FILM, b"stts", 4, b"\xff\xff\xff\xff"),
    "MP4 of steps of four billion": _says(FILM, b"stts", 12, b"\xff\xff\xff\xff"),
    "MP4 of steps of nothing": _says(FILM, b"stts", 12, bytes(4)),
    "MP4 of chunks beyond its end": _says(FILM, b"stco", 8, b"\xff\xff\xff\xff"),
    "MP4 of four billion chunks": _says(FILM, b"stco", 4, b"\xff\xff\xff\xff"),
    "MP4 of a clock of 0": _says(FILM, b"mdhd", 12, bytes(4)),
    "MP4 of a clock of four billion": _says(FILM, b"mdhd", 12, b"\xff\xff\xff\xff"),
    "MP4 of 136 years": _says(_says(FILM, b"mvhd", 16, b"\xff\xff\xff\xff"), b"mdhd", 16, b"\xff\xff\xff\xff"),
    "MP4 of a box of two gigabytes": _says(FILM, b"mdat", -8, b"\x7f\xff\xff\xff"),
    "MP4 of boxes in boxes": FILM[:32] + _boxes(20_000),
    "MP4 turned by a matrix of noise": _says(FILM, b"tkhd", 40, bytes(range(36))),
    "MP4 of a codec that there is not": FILM.replace(b"mp4v", b"xxxx"),
    "MP4 whose data are elsewhere": FILM.replace(b"url \0\0\0\x01", b"url \0\0\0\0", 1),
    "Matroska of endless length": _ebml(b"\x18S\x80g\x01\xff\xff\xff\xff\xff\xff\xff", bytes(500)),
    "Matroska of a gigabyte of nothing": _ebml(b"\x18S\x80g\x08\x40\0\0\0\xec\x08\x3f\xff\xff\xf0", bytes(500)),
    "Matroska of elements in elements": _ebml(b"\x18S\x80g\x01\0\0\0\0\0\xff\xff" + b"\x1fC\xb6u\x88" * 5000),
    "AVI of an index of two gigabytes": b"RIFF\xff\xff\xff\x7fAVI LIST\x10\0\0\0hdrlavih\xff\xff\xff\x7f" + bytes(300),
    "AVI of lists in lists": b"RIFF\0\0\1\0AVI " + b"LIST\0\0\1\0hdrl" * 5000,
    "MPEG-TS of noise": b"".join(b"G" + bytes([each % 256]) * 187 for each in range(2000)),
    "MPEG-PS of noise": b"\0\0\1\xba" + bytes(range(256)) * 400,
    "FLV of tags without end": b"FLV\1\5\0\0\0\x09\0\0\0\0" + b"\x09\xff\xff\xff\0\0\0\0\0\0\0" * 2000,
    "Ogg of pages of nothing": b"OggS\0\2" + bytes(20) + b"\xff" + b"\xff" * 255 + bytes(2000),
    "GIF of 4 gigapixels a frame": _gif_says(65_535, 65_535),
    "a playlist of files": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "a list of files for ffmpeg": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "subtitles": b"1\n00:00:00,000 --> 00:00:01,000\nhello\n",
    "a description of streams": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
}
