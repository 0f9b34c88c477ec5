"""What the model is shown of a picture, against what vLLM would make of it by itself."""

import base64
import io
import math

import pillow_heif
import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from benchmarks.photos import jpeg, photo, size_of
from server.media.image import TURNS
from server.media.sizes import shown_size

CORNERS = Image.frombytes("RGB", (2, 2), bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0]))
"""Red, green / blue, yellow: tells every turn and mirroring apart."""


def corners(wh=(84, 56)):
    return CORNERS.resize(wh, Image.Resampling.NEAREST)


def encoded(image, kind, **how):
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def psnr_db(one, other):
    one, other = one.convert("RGB"), other.convert("RGB")
    squares = sum(ImageStat.Stat(ImageChops.difference(one, other)).sum2)
    mean = squares / (3 * one.width * one.height)
    return math.inf if mean == 0 else 10 * math.log10(255 * 255 / mean)


def reference(data, wh):
    """Full decode, EXIF turn, alpha on white, bicubic: what vLLM and the processor do."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        image = white
    return image.convert("RGB").resize(wh, Image.Resampling.BICUBIC)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_every_exif_orientation_is_shown_upright(show, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    data = encoded(corners((84, 56)), kind, exif=exif, **how)

    shown = show(data)

    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert shown.original_wh == shown.shown_wh == shown.image.size == upright.size
    assert shown.image.convert("RGB").tobytes() == upright.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_shown_upright(show, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation

    shown = show(encoded(corners((84, 56)), "AVIF", exif=exif, quality=95))

    turned = TURNS.get(orientation)
    upright = corners((84, 56)) if turned is None else corners((84, 56)).transpose(turned)
    assert shown.original_wh == upright.size
    assert psnr_db(shown.image, upright) > 25


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_a_large_turned_photo_is_the_reference_to_within_the_fidelity_promised(show, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    photo((2400, 1600), "street").save(buffer, "JPEG", quality=90, exif=exif)

    shown = show(buffer.getvalue(), max_pixels=200704)

    assert shown.original_wh == ((2400, 1600) if orientation < 5 else (1600, 2400))
    assert psnr_db(shown.image, reference(buffer.getvalue(), shown.shown_wh)) > 38


def with_alpha():
    image = corners().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


ODD_MODES = {
    "rgba": encoded(with_alpha(), "PNG"),
    "rgba-opaque": encoded(corners().convert("RGBA"), "PNG"),
    "grey-alpha": encoded(with_alpha().convert("LA"), "PNG"),
    "palette": encoded(corners().quantize(4), "PNG"),
    "palette-transparent": encoded(corners().quantize(4), "PNG", transparency=1),
    "rgb-with-transparent-colour": encoded(corners(), "PNG", transparency=(255, 0, 0)),
    "one-bit": encoded(corners().convert("1"), "PNG"),
    "grey": encoded(corners().convert("L"), "PNG"),
    "gif": encoded(corners().quantize(4), "GIF"),
    "gif-transparent": encoded(corners().quantize(4), "GIF", transparency=0),
    "bmp": encoded(corners(), "BMP"),
    "bmp-32": encoded(corners().convert("RGBA"), "BMP"),
    "tiff": encoded(corners(), "TIFF", compression="tiff_lzw"),
    "tiff-cmyk": encoded(corners().convert("CMYK"), "TIFF"),
    "jpeg-cmyk": encoded(corners().convert("CMYK"), "JPEG", quality=95),
    "jpeg-grey": encoded(corners().convert("L"), "JPEG"),
    "jpeg-progressive": encoded(corners(), "JPEG", progressive=True),
    "webp-alpha": encoded(with_alpha(), "WEBP", lossless=True),
    "avif": encoded(corners(), "AVIF"),
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in ODD_MODES.items()])
@pytest.mark.parametrize("budget", [None, 784])
def test_every_mode_looks_as_it_does_to_vllm(show, data, budget):
    shown = show(data, budget=budget, min_pixels=784)

    assert psnr_db(shown.image, reference(data, shown.shown_wh)) > 45
    assert shown.image.format in ("BMP", "JPEG", "PNG", "WEBP")


def test_grey_of_16_bits_keeps_its_shades(show):
    ramp = Image.frombytes("I;16", (56, 56), b"".join((257 * row).to_bytes(2, "little") * 56 for row in range(56)))

    shown = show(encoded(ramp, "PNG"))

    assert [shown.image.getpixel((5, row)) for row in range(56)] == list(range(56))


def test_heic_is_shown(show):
    buffer = io.BytesIO()
    pillow_heif.from_pillow(corners((560, 420))).save(buffer, quality=95)

    shown = show(buffer.getvalue())

    assert shown.shown_wh == (560, 420)
    assert psnr_db(shown.image, corners((560, 420))) > 30


def test_of_an_animation_the_first_frame_is_shown(show):
    frames = [Image.new("RGB", (56, 56), colour) for colour in ("red", "green", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)

        assert show(data).image.convert("RGB").getpixel((28, 28)) == (255, 0, 0), kind


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_of_the_size_shown_goes_through_untouched(show, kind):
    data = encoded(corners((560, 420)), kind)

    shown = show(data)

    assert shown.image.format == kind
    assert shown.url.endswith(b"base64," + base64.b64encode(data))


def test_a_file_larger_than_its_pixels_is_not_sent_on(show):
    data = encoded(corners((560, 420)), "JPEG")
    motion_photo = data + bytes(2_000_000)

    assert len(show(motion_photo).url) < 1_000_000


def test_a_picture_of_another_size_is_sent_without_a_loss(show):
    data = encoded(photo((700, 500)), "PNG")

    shown = show(data)

    assert shown.image.format == "BMP"
    assert shown.shown_wh == (700, 504)
    assert shown.image.tobytes() == reference(data, (700, 504)).tobytes()


@pytest.mark.parametrize("kind", ["landscape", "document", "street"])
@pytest.mark.parametrize("megapixels", [0.3, 2, 5])
def test_photos_are_the_reference_to_within_38_decibels(show, kind, megapixels):
    data = jpeg(photo(size_of(megapixels), kind, seed=3), 88)

    shown = show(data, max_pixels=401408)

    assert shown.shown_wh == shown_size(shown.original_wh, 3136, 401408)
    assert psnr_db(shown.image, reference(data, shown.shown_wh)) > 38


def test_a_photo_whose_sides_the_reduced_scale_does_not_divide_is_not_shifted(show):
    data = jpeg(photo((2403, 1801), "street"), 90)

    shown = show(data, max_pixels=200704)

    assert psnr_db(shown.image, reference(data, shown.shown_wh)) > 40


def test_tiny_pictures_are_enlarged_to_what_the_engine_takes(show):
    assert show(encoded(Image.new("RGB", (1, 1), "red"), "PNG")).shown_wh == (56, 56)
    assert show(encoded(Image.new("RGB", (10, 1000)), "PNG")).shown_wh == (28, 560)
