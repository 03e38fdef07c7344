"""Shards in LAION-400M's layout, to measure imports with; metadata is random."""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from clip_like import ClipLike
from vector_sources import VectorSource

SOME_TEXT = """
a the of with in red old vintage modern wedding dress house lake kitchen photo poster
vector stock illustration women's men's 2019 black & white 日本語 Zürich naïve кошка 🏠
“sale” l'été
"""
WORDS = SOME_TEXT.split()
SAFETY = (0.93, 0.05, 0.02)  # shares of UNLIKELY, UNSURE, NSFW
# What a table of comma-separated values stumbles over.
TRAPS = ('"{}"', "{}, {}", "it's {}", "{}\nnew line", '5" x 7" {}', "{}\ttab \\N {}")
SITES = 20_000
DRAWN = 20_000  # rows of metadata, repeated in larger shards
BLOCK = 50_000  # vectors that are drawn at once
MAX_BLOCKS = 1_000  # of a shard


def write_shard(
    folder: Path,
    number: int,
    rows: int,
    source: VectorSource | None = None,
    captions: bool = True,
) -> int:
    """Write the files of a shard, in bounded memory; return their bytes.

    Vectors are drawn by clip_like.py without a source; those of captions are written
    if `captions` is true. Metadata is drawn for DRAWN rows and repeated with addresses
    and keys of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = source or ClipLike()
    kinds = {"img_emb": source.images} | (
        {"text_emb": source.texts} if captions else {}
    )
    for name, draw in kinds.items():
        file = folder / f"{name}_{number}.npy"
        shape = rows, source.dimension
        matrix = np.lib.format.open_memmap(file, "w+", np.float16, shape)
        for block, start in enumerate(range(0, rows, BLOCK)):
            there = matrix[start : start + BLOCK]
            there[:] = draw(len(there), number * MAX_BLOCKS + block)
        matrix.flush()
    write_metadata(folder / f"metadata_{number}.parquet", number, rows)
    return sum(path.stat().st_size for path in folder.glob(f"*_{number}.*"))


def write_metadata(file: Path, number: int, rows: int) -> None:
    drawn = drawn_metadata(min(rows, DRAWN))
    with pq.ParquetWriter(file, drawn.schema) as writer:
        for start in range(0, rows, DRAWN):
            part = drawn.slice(0, rows - start)
            own = [f"{number}-{row}" for row in range(start, start + len(part))]
            for name in ("key", "url"):
                values = pc.binary_join_element_wise(part[name], own, "-")
                place = part.column_names.index(name)
                part = part.set_column(place, name, values)
            writer.write_table(part)


@cache
def drawn_metadata(rows: int) -> pa.Table:
    return metadata(np.random.default_rng(0), rows)


def metadata(random: np.random.Generator, rows: int) -> pa.Table:
    """Return random values of LAION-400M's columns, of about its bytes per row."""
    keys = [f"{row:09}" for row in range(rows)]
    md5 = [hashlib.md5(key.encode(), usedforsecurity=False).hexdigest() for key in keys]
    sites = (SITES * random.random(rows) ** 3).astype(int)
    sides = random.integers(80, 4000, (2, rows)).astype(np.int32)
    return pa.table(
        {
            "image_path": [f"{key[:5]}/{key}.jpg" for key in keys],
            "caption": [caption(random) for _ in keys],
            "NSFW": random.choice(["UNLIKELY", "UNSURE", "NSFW"], rows, p=SAFETY),
            "similarity": random.normal(0.33, 0.02, rows),
            "LICENSE": random.choice(["?", "cc-by-2.0"], rows, p=[0.99, 0.01]),
            "url": [
                f"https://img{site}.example.org/media/catalog/{code}/{key}_large.jpg"
                for site, code, key in zip(sites, md5, keys, strict=True)
            ],
            "key": keys,
            "status": ["success"] * rows,
            "error_message": pa.nulls(rows, pa.string()),
            "width": np.minimum(sides[0], 256),
            "height": np.minimum(sides[1], 256),
            "original_width": sides[0],
            "original_height": sides[1],
            "exif": ['{"Image Orientation": "Horizontal (normal)"}'] * rows,
            "md5": md5,
        }
    )


def caption(random: np.random.Generator) -> str:
    words = random.choice(WORDS, random.integers(4, 16))
    half = len(words) // 2
    if random.random() > 0.5:
        return " ".join(words)
    trap = TRAPS[random.integers(len(TRAPS))]
    return trap.format(" ".join(words[:half]), " ".join(words[half:]))
