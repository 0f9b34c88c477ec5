"""Files that are broken, that lie about what they are, or that would fill memory."""

import io
import struct
import zlib

import pytest
from PIL import Image

from benchmarks.photos import jpeg, photo
from server.errors import CallerError, LimitExceeded, MediaTooLarge, MediaUnreadable, MediaUnsupported

JPEG = jpeg(photo((300, 200)), 90)


def png(width, height, pixels=b""):
    """A PNG that claims a size, with whatever pixel data."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def saved(image, kind):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


HOSTILE = [
    pytest.param(b"", MediaUnreadable, "image is empty (0 bytes)", id="no-bytes"),
    pytest.param(b"\x00" * 64, MediaUnreadable, "recognised", id="zeros"),
    pytest.param(b"just some words", MediaUnreadable, "recognised", id="words"),
    pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", MediaUnsupported, "image is SVG", id="svg"),
    pytest.param(b"<?xml version='1.0'?><svg/>", MediaUnsupported, "image is SVG", id="svg-with-xml-head"),
    pytest.param(b"<!DOCTYPE html><p>404", MediaUnsupported, "image is HTML", id="html"),
    pytest.param(b'{"error": "no such file"}', MediaUnsupported, "image is JSON", id="json"),
    pytest.param(b"%PDF-1.7\n", MediaUnsupported, "image is PDF", id="pdf"),
    pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0", MediaUnsupported, "image is PostScript", id="postscript"),
    pytest.param(b"PK\x03\x04" + bytes(40), MediaUnsupported, "image is ZIP", id="zip"),
    pytest.param(b"\x00\x00\x00\x18ftypisom" + bytes(40), MediaUnsupported, "image is MP4", id="mp4"),
    pytest.param(b"\x00\x00\x00\x0cjP  \r\n\x87\n", MediaUnsupported, "image is JPEG 2000", id="jpeg-2000"),
    pytest.param(saved(Image.new("RGB", (9, 9)), "ICO"), MediaUnsupported, "image is ICO", id="ico"),
    pytest.param(JPEG[:3], MediaUnreadable, "no readable header", id="jpeg-of-3-bytes"),
    pytest.param(JPEG[: len(JPEG) // 2], MediaUnreadable, "is broken: image file is truncated", id="jpeg-cut-short"),
    pytest.param(png(10, 10), MediaUnreadable, "is broken", id="png-without-pixels"),
    pytest.param(saved(photo((40, 40)), "PNG")[:1500], MediaUnreadable, "is broken", id="png-cut-short"),
    pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(100), MediaUnreadable, "no readable header", id="png-of-zeros"),
    pytest.param(b"RIFF\x10\x00\x00\x00WEBPVP8 ", MediaUnreadable, "no readable header", id="webp-head-alone"),
    pytest.param(b"GIF89a\x00\x00\x00\x00\x00\x00\x00;", MediaUnreadable, "no readable header", id="gif-of-no-size"),
    pytest.param(b"\x00\x00\x00\x18ftypheic" + bytes(60), MediaUnreadable, "no readable header", id="heic-head-alone"),
    pytest.param(b"\x00\x00\x00\x18ftypavif" + bytes(60), MediaUnreadable, "no readable header", id="avif-head-alone"),
    pytest.param(b"II*\x00\xff\xff\xff\x7f", MediaUnreadable, "no readable header", id="tiff-directory-nowhere"),
    pytest.param(b"BM" + bytes(60), MediaUnreadable, "no readable header", id="bmp-of-zeros"),
    pytest.param(png(1, 20000), LimitExceeded, "is 20000; the limit is 200", id="1x20000"),
]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # Pillow's, of the broken TIFF; a decode process says it to nobody
@pytest.mark.parametrize(("data", "error", "words"), HOSTILE)
def test_a_bad_file_is_refused_in_words(show, data, error, words):
    with pytest.raises(CallerError) as caught:
        show(data)

    assert type(caught.value) is error
    assert words in caught.value.message
    assert caught.value.param == "image"
    assert "0x7f" not in caught.value.message  # no addresses of ours


def test_a_small_file_that_claims_ten_thousand_megapixels_is_refused_before_decoding(show):
    with pytest.raises(MediaTooLarge) as caught:
        show(png(100_000, 100_000, bytes(1000)))

    assert caught.value.status == 413
    assert caught.value.message == "image (100000x100000) is 10000000000 pixels; the limit is 100000000 pixels"


def test_a_file_above_the_byte_limit_is_refused(show):
    with pytest.raises(MediaTooLarge) as caught:
        show(JPEG, most_bytes=1000)

    assert caught.value.message == f"image is {len(JPEG)} bytes; the limit is 1000 bytes"


@pytest.mark.parametrize("position", range(20, len(JPEG), 397))
def test_a_jpeg_with_bytes_changed_is_shown_or_refused(show, position):
    damaged = bytearray(JPEG)
    damaged[position : position + 4] = b"\xff\xd9\x00\xff"
    try:
        shown = show(bytes(damaged))
    except (MediaUnreadable, MediaTooLarge, LimitExceeded):
        return
    assert shown.image.size == shown.shown_wh
