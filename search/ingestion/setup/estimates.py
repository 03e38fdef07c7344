"""Estimates of an import: time, disk and memory, from measurements.

docs/benchmarks.md and deploy/README.md have the numbers; another machine may take
twice as long or half as long.
"""

import shutil
from dataclasses import dataclass

from django.conf import settings

from search.encoder.catalogue import KNOWN, Model
from search.models import Dataset

from .contents import Contents

# Of a row with 512 dimensions: its table, and that of each field that is searched.
TABLE_BYTES, FIELD_BYTES, DIMENSIONS = 2_300, 1_300, 512
THUMBNAIL_BYTES = 40_000  # of an image, in all sizes; made when it is first shown
CPU_OPERATIONS = 45  # 10⁹ a second: ViT-B/32 embeds 10 images
GPU_OPERATIONS = 5_000
DECODING_S = 0.02  # an image, to read and decode
FETCHED_PER_S = 40  # images of other hosts
ROWS_PER_S = 5_000  # that come with embeddings
DOWNLOAD_BYTES_PER_S = 20e6
PROCESS_BYTES = 700e6  # the process, with batches of images


@dataclass(frozen=True)
class Estimate:
    """Seconds, and bytes on disk and in memory, besides the source itself."""

    seconds: float
    disk: int
    memory: int
    free: int  # bytes on the disk of VAR_DIR

    @property
    def fits(self) -> bool:
        return self.disk < self.free


def estimate(
    contents: Contents, model: Model = KNOWN[0], image_s: float | None = None
) -> Estimate:
    """Estimate an import; `image_s` is what embedding an image took in a test."""
    rows = contents.rows
    dimension = contents.dimension or model.dimension or DIMENSIONS
    fields = 2 if contents.has_text_vectors else 1
    row_bytes = (TABLE_BYTES + fields * FIELD_BYTES) * dimension / DIMENSIONS
    disk = rows * row_bytes
    memory = PROCESS_BYTES
    if contents.kind == Dataset.Kind.IMAGES:
        each = image_s if image_s is not None else model.cost / _operations()
        is_fetched = any(one.is_fetched for one in contents.candidates)
        seconds = rows * max(each, 1 / FETCHED_PER_S if is_fetched else DECODING_S)
        memory += model.megabytes * 1e6
    else:
        seconds = rows / ROWS_PER_S
        if not contents.files_are_here:
            seconds += contents.bytes / DOWNLOAD_BYTES_PER_S
    free = shutil.disk_usage(settings.VAR_DIR).free
    return Estimate(max(1.0, seconds), round(disk), round(memory), free)


def _operations() -> int:
    return (
        CPU_OPERATIONS if settings.ENCODER_DEVICE in ("auto", "cpu") else GPU_OPERATIONS
    )
