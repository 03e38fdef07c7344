"""Images and tables as people have them, drawn at random, and damaged ones."""

import csv
import json
import tarfile
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from random import Random

import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401 – Pillow can write JPEG XL then
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

pillow_heif.register_heif_opener()

# --- Damage


def flip_bits(chance: Random, data: bytearray) -> None:
    for _ in range(chance.choice([1, 3, 30])):
        data[_place(chance, data)] ^= 1 << chance.randrange(8)


def set_extreme(chance: Random, data: bytearray) -> None:
    """Overwrite what may be a length, a count or a size."""
    place, width = _place(chance, data), chance.choice([1, 2, 4, 8])
    data[place : place + width] = chance.choice([b"\0", b"\xff", b"\x7f"]) * width


def cut_end(chance: Random, data: bytearray) -> None:
    del data[_place(chance, data) :]


def cut_out(chance: Random, data: bytearray) -> None:
    place = _place(chance, data)
    del data[place : place + chance.choice([1, 16, 1024])]


def repeat(chance: Random, data: bytearray) -> None:
    place = _place(chance, data)
    part = data[place : place + chance.choice([1, 16, 1024])]
    data[place:place] = part * chance.choice([1, 2, 200])


def insert_noise(chance: Random, data: bytearray) -> None:
    data[(place := _place(chance, data)) : place] = chance.randbytes(64)


DAMAGES = [flip_bits, set_extreme, cut_end, cut_out, repeat, insert_noise]


def damaged(chance: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 4])):
        if changed:
            chance.choice(DAMAGES)(chance, changed)
    return bytes(changed)


def _place(chance: Random, data: bytearray) -> int:
    """Headers are small, but what they say matters most."""
    return chance.randrange(min(len(data), chance.choice([64, 1024, len(data)])))


# --- Images

JPEG, PNG, WEBP, TIFF = "JPEG", "PNG", "WEBP", "TIFF"
IMAGES: list[tuple[str, str, dict]] = [
    *((JPEG, mode, {}) for mode in ("L", "RGB", "CMYK")),
    (JPEG, "RGB", {"progressive": True}),
    *((PNG, mode, {}) for mode in ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")),
    *((PNG, mode, {"transparency": 0}) for mode in ("1", "L", "P")),
    (WEBP, "RGBA", {"lossless": True}),
    (WEBP, "RGB", {"quality": 60}),
    (WEBP, "RGB", {"save_all": True}),
    ("GIF", "P", {}),
    ("GIF", "P", {"save_all": True}),
    ("AVIF", "RGBA", {"speed": 10}),
    ("HEIF", "RGB", {}),
    ("JXL", "RGB", {"effort": 1}),
    *((TIFF, mode, {}) for mode in ("1", "L", "I;16", "F", "RGB", "RGBA", "CMYK")),
    (TIFF, "RGB", {"compression": "tiff_lzw"}),
    ("BMP", "RGB", {}),
    ("BMP", "P", {}),
]


def image_file(chance: Random) -> bytes:
    """Return an undamaged image of a random format, mode and size."""
    kind, mode, options = chance.choice(IMAGES)
    size = chance.choice([(1, 1), (7, 8), (64, 64), (200, 31), (90, 333)])
    image = _convert(Image.effect_noise(size, 80).convert("RGB"), mode)
    if options.get("save_all"):
        options = options | {"append_images": [image.rotate(90 * i) for i in (1, 2)]}
    if chance.random() < 0.3 and kind in (JPEG, PNG, WEBP, TIFF):
        exif = Image.Exif()
        exif[0x0112] = chance.randrange(1, 9)
        options = options | {"exif": exif}
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype("uint16") * 257)
    if mode == "F":
        return image.convert("L").convert("F").point(lambda value: value / 255)
    return image.convert(mode)


def odd_image(chance: Random) -> bytes:
    """Return an image, mostly damaged, or none at all."""
    if chance.random() < 0.05:
        return chance.randbytes(chance.choice([0, 1, 100, 5_000]))
    data = image_file(chance)
    return damaged(chance, data) if chance.random() < 0.9 else data


# --- Tables

CELLS: list[Callable[[Random], object]] = [
    lambda chance: None,
    lambda chance: "",
    lambda chance: f"a picture of {chance.randrange(9)} boats",
    lambda chance: chance.choice(['"', '""', 'say "hi', "it's", "\\", "\\N", "NULL"]),
    lambda chance: chance.choice(
        ["two\nlines", "a\ttab", "a,b;c|d", "\r", " x ", "\0"]
    ),
    lambda chance: chance.choice(
        ["猫の写真", "Café", "Cafe\u0301", "\ufeffx", "\u202e"]
    ),
    lambda chance: chance.choice([-1, 0, 10**30, 0.5, float("nan"), float("inf")]),
    lambda chance: "x" * chance.choice([1_000, 200_000]),
]
NAMES = [
    "url",
    "caption",
    "URL",
    "TEXT",
    "width",
    "nsfw",
    "similarity",
    "key",
    "a b",
    "",
]
VALUES: list[Callable[[int], pa.Array]] = [
    lambda rows: pa.array([f"http://e.org/{i}.jpg?o'brien" for i in range(rows)]),
    lambda rows: pa.array([b"caf\xe9"] * rows),
    lambda rows: pa.array([["a", None]] * rows),
    lambda rows: pa.array([{"x": 1, "y": [b"\xff"]}] * rows),
    lambda rows: pa.array([None] * rows),
    lambda rows: pa.array([i % 2 == 0 for i in range(rows)]),
    lambda rows: pa.array([float("nan"), 1e300][:rows] * (rows // 2 + 1))[:rows],
    lambda rows: pa.array(["a", "b"] * rows)[:rows].dictionary_encode(),
    lambda rows: pa.array([10**10] * rows, pa.timestamp("us")),
]


def delimited_file(chance: Random, folder: Path) -> None:
    """Write a CSV or TSV of any dialect, encoding and width."""
    name, delimiter = chance.choice([("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t")])
    file = StringIO()
    width = chance.randrange(2, 6)
    quoting = chance.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE])
    writer = csv.writer(
        file,
        delimiter=delimiter,
        quoting=quoting,
        escapechar="\\" if quoting == csv.QUOTE_NONE else None,
        lineterminator=chance.choice(["\n", "\r\n"]),
    )
    writer.writerow(chance.sample(NAMES, width))
    for _ in range(chance.randrange(20)):
        cells = [chance.choice(CELLS)(chance) for _ in range(width)]
        writer.writerow(cells[: chance.choice([width, width, width, 2])])
    encoding = chance.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"])
    (folder / name).write_bytes(file.getvalue().encode(encoding, "replace"))


def image_table(chance: Random, folder: Path) -> None:
    rows = chance.randrange(20)
    files = [{"bytes": odd_image(chance), "path": f"{i}.jpg"} for i in range(rows)]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    columns = odd_columns(chance, rows) | {"image": pa.array(files, kind)}
    pq.write_table(pa.table(columns), folder / "a.parquet", row_group_size=7)


def vector_table(chance: Random, folder: Path, dimension: int) -> None:
    """Vectors of one column; some are null, zero, infinite or of other lengths."""
    rows = chance.randrange(20)
    vectors: list[list[float] | None] = [
        [chance.gauss(0, 1) for _ in range(dimension)] for _ in range(rows)
    ]
    strange = [
        None,
        [],
        [0.0] * dimension,
        [float("inf")] * dimension,
        [None] * dimension,
    ]
    # One of them fails so small a file.
    for place in chance.sample(range(rows), rows // chance.choice([5, 100, 100])):
        vectors[place] = chance.choice(strange)
    kind = pa.list_(chance.choice([pa.float32(), pa.float64()]))
    columns = odd_columns(chance, rows) | {"embedding": pa.array(vectors, kind)}
    pq.write_table(pa.table(columns), folder / "a.parquet", row_group_size=7)


def odd_columns(chance: Random, rows: int) -> dict[str, pa.Array]:
    return {name: chance.choice(VALUES)(rows) for name in chance.sample(NAMES, 5)}


def tar_file(chance: Random, folder: Path) -> None:
    with tarfile.open(folder / "0.tar", "w") as tar:
        for number in range(chance.randrange(9)):
            base = chance.choice([f"{number}", f"{number}.a", f"d/{number}", "same"])
            _add(
                tar, base + chance.choice([".jpg", ".png", ".x", ""]), odd_image(chance)
            )
            facts = json.dumps({"caption": "c", "url": f"http://e.org/{number}"})
            _add(tar, f"{base}.json", chance.choice([facts, "[1", "null"]).encode())
            _add(tar, f"{base}.txt", chance.choice([b"a boat", b"caf\xe9", b""]))


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, BytesIO(content))


def image_folder(chance: Random, folder: Path) -> None:
    for number in range(chance.randrange(1, 9)):
        name = f"{number}" + chance.choice(
            [".jpg", ".JPEG", ".tif", ".svg", "", ".txt"]
        )
        (folder / name).write_bytes(odd_image(chance))


def laion_shard(chance: Random, folder: Path, dimension: int) -> None:
    rows = chance.randrange(1, 20)
    for name in ("img_emb", "text_emb"):
        vectors = np.random.default_rng(rows).standard_normal((rows, dimension))
        vectors[0] = chance.choice([*[1] * 20, 30, 0, np.nan, np.inf])
        kind = chance.choice([*["f2", "f4"] * 8, "f8"])
        np.save(folder / f"{name}_0.npy", vectors.astype(kind))
    columns = odd_columns(chance, rows)
    for name in ("url", "caption"):
        columns.setdefault(name, chance.choice(VALUES)(rows))
    pq.write_table(pa.table(columns), folder / "metadata_0.parquet")


def damage_some(chance: Random, folder: Path) -> None:
    """Damage one file of a folder in a third of the cases."""
    if chance.random() < 0.3:
        path = chance.choice(sorted(folder.iterdir()))
        path.write_bytes(damaged(chance, path.read_bytes()))
