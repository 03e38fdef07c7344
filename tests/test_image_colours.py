"""An image is read by what it carries: transparency, depth, profile, a missing end."""

import struct
from io import BytesIO

import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401  # it registers itself
import pytest
from PIL import Image, ImageOps
from support.bombs import black_png, chunk, encoded, png, zeros

from search.errors import ImageTooLarge, NotAnImage
from search.images import decode as decoding
from search.images.prepare import prepare

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
pillow_heif.register_heif_opener()
WHITE = (255, 255, 255)


def decode(data: bytes, **options) -> Image.Image:
    return decoding.decode(data, **options).image


def halves(mode: str, left, right) -> Image.Image:
    image = Image.new(mode, (8, 4), left)
    image.paste(right, (4, 0, 8, 4))
    return image


def noise(width: int, height: int) -> Image.Image:
    return Image.merge(
        "RGB", [Image.effect_noise((width, height), 80) for _ in range(3)]
    )


# --- Transparency


def grey_png(bits: int, key: int, other: int) -> bytes:
    """A grey PNG, 8 pixels wide, whose left half has its transparent colour."""
    row = "".join(f"{value:0{bits}b}" for value in [key] * 4 + [other] * 4)
    data = int(row, 2).to_bytes(bits)
    return png((8, 4), bits, 0, [data] * 4, chunk(b"tRNS", struct.pack(">H", key)))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("at", ["black", "white", "between"])
def test_the_transparent_grey_of_a_png_is_white(bits, at):
    top = 2**bits - 1
    key = {"black": 0, "white": top, "between": top // 2}[at]
    other = 0 if key else top // 3 + 1
    picture = decode(grey_png(bits, key, other))
    assert picture.getpixel((1, 1)) == WHITE
    assert abs(picture.getpixel((6, 1))[0] - 255 * other / top) <= 1


def test_the_transparent_colour_of_a_png_is_white():
    """With 8 and with 16 bits, of which Pillow keeps the upper half."""
    for bits, clear in ((8, bytes([255, 0, 255])), (16, b"\xff\x12\0\x34\xff\x56")):
        key = struct.pack(">HHH", *clear) if bits == 8 else clear
        row = clear * 4 + bytes(len(clear)) * 4
        picture = decode(png((8, 4), bits, 2, [row] * 4, chunk(b"tRNS", key)))
        shown = picture.getpixel((1, 1)), picture.getpixel((6, 1))
        assert shown == (WHITE, (0, 0, 0)), bits


def test_transparency_of_every_other_kind_is_white():
    clear = halves("RGBA", (255, 0, 0, 0), (0, 0, 200, 255))
    palette = halves("P", 0, 1)
    palette.putpalette([255, 0, 0, 0, 0, 200])
    files = {
        "PNG": encoded(clear, "PNG"),
        "WebP": encoded(clear, "WEBP", lossless=True),
        "TIFF": encoded(clear, "TIFF"),
        "JPEG XL": encoded(clear, "JXL", lossless=True),
        "GIF": encoded(palette, "GIF", transparency=0),
        "palette": encoded(palette, "PNG", transparency=0),
        "alphas of a palette": encoded(palette, "PNG", transparency=b"\0\xff"),
        "grey": encoded(halves("LA", (9, 0), (0, 255)), "PNG"),
    }
    for name, data in files.items():
        left, right = (decode(data).getpixel((x, 1)) for x in (1, 6))
        wanted = (0, 0, 0) if name == "grey" else (0, 0, 200)
        assert (left, right) == (WHITE, wanted), name
    for kind in ("AVIF", "HEIF"):  # in both, edges are blurred
        picture = decode(encoded(clear.resize((64, 32), 0), kind, quality=100))
        assert min(picture.getpixel((9, 9))) > 250 > 20 > picture.getpixel((55, 9))[0]


# --- Depth


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ((np.arange(256) * 257).astype("<u2"), "PNG"),
        ((np.arange(256) * 257).astype("<u2"), "TIFF"),
        ((np.arange(256) * 257).astype(">u2"), "TIFF"),
        (np.arange(256, dtype=np.int32), "TIFF"),
        (np.arange(256, dtype=np.int32) * 257, "TIFF"),
        (np.arange(256, dtype=np.int32) * 2**22 - 2**29, "TIFF"),
        (np.arange(256, dtype=np.float32) / 255, "TIFF"),
        (np.arange(256, dtype=np.float32), "TIFF"),
        (np.arange(256, dtype=np.float32) * 1e6 - 3e7, "TIFF"),
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)
def test_grey_of_more_than_8_bits_keeps_its_range(numbers, kind):
    ramp = np.tile(numbers, (6, 1))
    if numbers.dtype.byteorder == ">":
        deep = Image.frombytes("I;16B", (256, 6), ramp.tobytes())
    else:
        deep = Image.fromarray(ramp)
    shown = np.asarray(decode(encoded(deep, kind)), int)[3]
    assert np.abs(shown - np.arange(256)[:, None]).max() <= 1


def test_float_grey_without_a_number_is_read():
    numbers = np.full((9, 9), np.nan, np.float32)
    numbers[4:] = np.inf
    assert decode(encoded(Image.fromarray(numbers), "TIFF")).mode == "RGB"


# --- Profiles


def profile(space: bytes, *tags: tuple[bytes, bytes]) -> bytes:
    """An ICC profile for a screen, of these tags (ICC.1, 7)."""
    table, data = struct.pack(">I", len(tags)), b""
    begin = 128 + 4 + 12 * len(tags)
    for name, content in tags:
        table += name + struct.pack(">II", begin + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    size = struct.pack(">I", begin + len(data))
    head = size + bytes(4) + b"\2\x40\0\0mntr" + space + b"XYZ " + bytes(12) + b"acsp"
    white = struct.pack(">iii", 63190, 65536, 54061)
    return (head + bytes(28) + white).ljust(128, b"\0") + table + data


def xyz(*numbers: float) -> bytes:
    fixed = (round(number * 65536) for number in numbers)
    return b"XYZ " + bytes(4) + struct.pack(">iii", *fixed)


LINEAR = b"curv" + bytes(4) + struct.pack(">IH", 1, 256)  # a gamma of 1
WHITE_POINT = (b"wtpt", xyz(0.9642, 1, 0.8249))
# Linear, and red and green are exchanged.
SWAPPED = profile(
    b"RGB ",
    WHITE_POINT,
    (b"gXYZ", xyz(0.4361, 0.2225, 0.0139)),
    (b"rXYZ", xyz(0.3851, 0.7169, 0.0971)),
    (b"bXYZ", xyz(0.1431, 0.0606, 0.7141)),
    *((name, LINEAR) for name in (b"rTRC", b"gTRC", b"bTRC")),
)
LINEAR_GREY = profile(b"GRAY", WHITE_POINT, (b"kTRC", LINEAR))


def test_colours_are_those_of_the_profile_in_every_mode():
    stored = Image.new("RGB", (32, 24), (10, 90, 200))
    opaque = stored.convert("RGBA")
    palette = Image.new("P", (32, 24))
    palette.putpalette([10, 90, 200, 0, 0, 0])
    images = {
        "PNG": (stored, "PNG", {}),
        "JPEG": (stored, "JPEG", {"quality": 100, "subsampling": 0}),
        "WebP": (stored, "WEBP", {"lossless": True}),
        "TIFF": (stored, "TIFF", {}),
        "AVIF": (stored, "AVIF", {"quality": 100, "subsampling": "4:4:4"}),
        "HEIC": (stored, "HEIF", {"quality": 100, "chroma": 444}),
        "alpha": (opaque, "PNG", {}),
        "alpha in WebP": (opaque, "WEBP", {"lossless": True}),
        "palette": (palette, "PNG", {}),
        "clear palette": (palette, "PNG", {"transparency": 1}),
    }
    for name, (image, kind, options) in images.items():
        data = encoded(image, kind, icc_profile=SWAPPED, **options)
        shown = np.array(decode(data).getpixel((16, 12)))
        assert np.abs(shown - (160, 55, 229)).max() <= 6, (name, shown)


def test_grey_has_profiles_and_a_broken_profile_is_ignored():
    grey = Image.new("L", (9, 9), 55)
    linear = decode(encoded(grey, "PNG", icc_profile=LINEAR_GREY)).getpixel((4, 4))
    assert np.abs(np.array(linear) - 128).max() <= 2
    for broken in (bytes(300), LINEAR_GREY[:140], SWAPPED[:200] + b"\xff" * 200):
        data = encoded(grey, "PNG", icc_profile=broken)
        assert decode(data).getpixel((4, 4)) == (55, 55, 55)


def test_printing_colours_become_rgb():
    for kind, options in (("JPEG", {"quality": 100}), ("TIFF", {})):
        ink = Image.new("CMYK", (9, 9), (0, 255, 255, 0))
        red, green, blue = decode(encoded(ink, kind, **options)).getpixel((4, 4))
        assert red > 250 and green < 5 and blue < 5, kind
    lab = Image.new("LAB", (9, 9), (255, 128, 128))
    assert min(decode(encoded(lab, "TIFF")).getpixel((4, 4))) > 250


# --- Files


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=str)
def test_a_jpeg_without_its_end_is_read_as_browsers_do(options):
    """The rest is grey; in a progressive one, less sharp."""
    data = encoded(noise(256, 256), "JPEG", quality=80, **options)
    right = np.asarray(decode(data), int)
    assert not decoding.decode(data).truncated
    for end in (len(data) - 2, len(data) - 1, len(data) * 2 // 3):
        cut = decoding.decode(data[:end])
        assert cut.truncated
        shown = np.asarray(cut.image, int)
        assert np.abs(shown[:64] - right[:64]).mean() < 40
    if not options:
        assert (shown[-16:] == 128).all()
    with pytest.raises(NotAnImage, match="damaged"):
        decode(data[:100])


CROPS = [(0.0, 0.0, 1.0, 1.0), (0.25, 0.0, 0.75, 0.5), (0.5, 0.25, 1.0, 1.0)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_part_is_that_of_the_upright_picture(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(noise(40, 24), "PNG", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(BytesIO(data)))
    width, height = upright.size
    for crop in CROPS:
        left, top, right, bottom = crop
        box = (left * width, top * height, right * width, bottom * height)
        assert decode(data, crop=crop).tobytes() == upright.crop(box).tobytes()


def test_texts_and_further_frames_are_not_read():
    first = noise(24, 16)
    data, text = encoded(first, "PNG"), chunk(b"zTXt", b"a\0\0" + zeros(9))
    assert decode(data[:33] + text + data[33:]).tobytes() == first.tobytes()
    for kind in ("PNG", "GIF", "WEBP"):
        one = encoded(first, kind, quality=95)
        many = encoded(
            first,
            kind,
            quality=95,
            save_all=True,
            append_images=[first.rotate(180), noise(24, 16)],
        )
        assert len(many) > 2 * len(one) > len(prepare(many, kind).data) * 1.5
        shown, right = (np.asarray(decode(each), int) for each in (many, one))
        assert np.abs(shown - right).mean() < 9, kind


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "HEIF", "JXL"])
def test_formats_of_cameras_and_scanners_are_read(kind):
    picture = decode(encoded(Image.new("RGB", (64, 48), "red"), kind))
    assert picture.size == (64, 48)
    red, green, blue = picture.getpixel((20, 15))
    assert red > 240 and green < 15 and blue < 15


def test_large_jpegs_are_read_and_other_large_files_are_not():
    phone = encoded(Image.new("L", (8000, 6000)), "JPEG")
    assert decode(phone, fit=lambda width, height: (400, 300)).size == (400, 300)
    with pytest.raises(ImageTooLarge, match="up to 40 megapixels can be read of PNG"):
        decode(black_png(6400, 1, 0))
