"""Bytes from outside: what is a picture is read, what is none is refused."""

import struct
import zlib
from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from search.errors import ImageTooLarge, NotAnImage
from search.images import decode as decoding


def decode(data: bytes, **options) -> Image.Image:
    return decoding.decode(data, **options).image


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    data = BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


def with_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera"
    return encoded(Image.new("RGB", (16, 9), "green"), "JPEG", exif=exif)


# Pillow grumbles at what it reads all the same.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
WHOLE = {
    kind: encoded(Image.effect_noise((24, 16), 60).convert("RGB"), kind)
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP")
} | {"EXIF": with_exif()}


def png_bomb(side: int) -> bytes:
    """A 1-bit PNG of side × side pixels, all black, in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((side + 7) // 8 + 1) * side, 9)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
def test_the_formats_of_the_web_are_read(kind):
    picture = decode(encoded(Image.new("RGB", (40, 30), "red"), kind))
    assert (picture.mode, picture.size) == ("RGB", (40, 30))
    red, green, blue = picture.getpixel((20, 15))
    assert red > 240 and green < 15 and blue < 15


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data).getpixel((3, 3)) in [(254, 0, 0), (255, 0, 0)]


def test_a_small_file_with_170_megapixels_is_refused_unopened():
    bomb = png_bomb(13_000)
    assert len(bomb) < 25_000
    with pytest.raises(ImageTooLarge, match="13000 × 13000"):
        decode(bomb)
    with pytest.raises(ImageTooLarge, match="megapixels"):
        decode(png_bomb(20_000))


def test_a_large_file_is_refused():
    with pytest.raises(ImageTooLarge, match="10 MB"):
        decode(bytes(10 * 2**20 + 1))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"BM" + bytes(100),
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
    ],
    ids=["empty", "text", "svg", "eps", "bmp", "cut png", "cut jpeg"],
)
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(NotAnImage):
        decode(data)


def test_a_picture_far_longer_than_wide_is_refused():
    """A model that scales the short side to 224 would make gigabytes of it."""
    with pytest.raises(ImageTooLarge, match="50 times"):
        decode(encoded(Image.new("RGB", (1, 1000)), "PNG"))
    assert decode(encoded(Image.new("RGB", (10, 400)), "PNG")).size == (10, 400)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_changed_bytes_never_end_in_another_error(data):
    kind = data.draw(st.sampled_from(sorted(WHOLE)))
    changed = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place] = data.draw(st.integers(0, 255))
    with suppress(NotAnImage, ImageTooLarge):
        assert decode(bytes(changed)).mode == "RGB"


def test_a_picture_cut_anywhere_is_refused_or_read():
    whole = encoded(Image.effect_noise((64, 64), 50).convert("RGB"), "PNG")
    for end in range(0, len(whole) - 12, 97):
        with suppress(NotAnImage):
            assert decode(whole[:end]).size == (64, 64)
