"""Write postcards as shards in the layout of LAION-400M."""

import hashlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from search.encoder import local_encoder
from search.encoder.openclip import OpenClipEncoder

from .captions import caption
from .draw import draw
from .scene import scene_of

MODEL = "local-dir:postcards/model"
BATCH_SIZE = 128
WIDTH, HEIGHT = 640, 480
# The model's input is 96 pixels a side: smaller images are as good, and faster.
EMBEDDED_SIZE = (240, 180)
JPEG_QUALITY = 88


def encoder() -> OpenClipEncoder:
    """Return the small CLIP that was trained on postcards."""
    return local_encoder(MODEL, "")


def jpeg(postcard_id: int) -> bytes:
    """Return the JPEG of a postcard, as it is served."""
    data = BytesIO()
    image = draw(scene_of(postcard_id), postcard_id, WIDTH, HEIGHT)
    image.save(data, "JPEG", quality=JPEG_QUALITY)
    return data.getvalue()


def embed_postcards(ids: range, redraw: int = 0) -> np.ndarray:
    """Return embeddings, float32 (len(ids), 512); `redraw` varies the details."""
    images = [draw(scene_of(i), i + redraw, *EMBEDDED_SIZE) for i in ids]
    return encoder().encode_images(images)


def write_shard(
    folder: Path, number: int, rows: int, done: Callable[[int], None]
) -> None:
    """Write img_emb_N.npy, text_emb_N.npy (float16) and metadata_N.parquet.

    Shard N holds the postcards N·rows … (N+1)·rows − 1; `done` is called with the
    number of postcards drawn since the last call.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images, texts, records = [], [], []
    for ids in chunks(range(number * rows, (number + 1) * rows)):
        captions = [caption(scene_of(i), i)[0] for i in ids]
        image = embed_postcards(ids)
        text = encoder().encode_texts(captions)
        similarity = np.einsum("ij,ij->i", image, text)
        records += [
            _record(*row) for row in zip(ids, captions, similarity, strict=True)
        ]
        images.append(image.astype(np.float16))
        texts.append(text.astype(np.float16))
        done(len(ids))
    np.save(folder / f"img_emb_{number}.npy", np.concatenate(images))
    np.save(folder / f"text_emb_{number}.npy", np.concatenate(texts))
    table = pa.Table.from_pylist(records, schema=SCHEMA)
    written = folder / f".metadata_{number}"
    pq.write_table(table, written)
    written.replace(_metadata(folder, number))  # last, as is_complete() relies on


def is_complete(folder: Path, number: int) -> bool:
    """Return whether write_shard() has come to the end of a shard."""
    return _metadata(folder, number).exists()


def _metadata(folder: Path, number: int) -> Path:
    return folder / f"metadata_{number}.parquet"


SCHEMA = pa.schema(
    [
        ("image_path", pa.string()),
        ("caption", pa.string()),
        ("NSFW", pa.string()),
        ("similarity", pa.float64()),
        ("LICENSE", pa.string()),
        ("url", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("exif", pa.string()),
        ("md5", pa.string()),
        ("scene", pa.string()),
    ]
)


def _record(postcard_id: int, text: str, similarity: float) -> dict[str, object]:
    scene = scene_of(postcard_id).to_json()
    return {
        "image_path": f"{postcard_id // 10_000:05}/{postcard_id:09}.jpg",
        "caption": text,
        "NSFW": "UNLIKELY",
        "similarity": float(similarity),
        "LICENSE": "CC0",
        "url": f"/postcards/{postcard_id}.jpg",
        "key": f"{postcard_id:09}",
        "status": "success",
        "error_message": None,
        "width": WIDTH,
        "height": HEIGHT,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "exif": "{}",
        # Of the scene, because versions of Pillow write different JPEGs.
        "md5": hashlib.md5(scene.encode(), usedforsecurity=False).hexdigest(),
        "scene": scene,
    }


def chunks(ids: range, size: int = BATCH_SIZE) -> Iterator[range]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
