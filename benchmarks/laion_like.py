"""Shards in LAION-400M's layout, drawn by chance: to measure imports with."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from clip_like import ClipLike

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


def write_shard(folder: Path, number: int, rows: int, times: int = 1) -> int:
    """Write the three files of a shard of rows · times rows; return its bytes.

    The content is drawn for `rows` rows and repeated: ids come from row numbers, so
    that no two items are the same. What tells text vectors apart has no directions
    that matter more, which makes their graph the harder one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vectors = ClipLike(number)
    matrices = {"img_emb": vectors.images(rows), "text_emb": vectors.words(rows)}
    for name, matrix in matrices.items():
        repeated = np.tile(matrix.astype(np.float16), (times, 1))
        np.save(folder / f"{name}_{number}.npy", repeated)
    drawn = metadata(np.random.default_rng(number), rows)
    table = pa.concat_tables([drawn] * times)
    pq.write_table(table, folder / f"metadata_{number}.parquet")
    return sum(path.stat().st_size for path in folder.glob(f"*_{number}.*"))


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
