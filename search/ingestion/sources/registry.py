"""Look up the source of a dataset's shards."""

from django.conf import settings

from search.ingestion.download.download import Progress
from search.models import Dataset

from .images import Images
from .laion import LaionFolder, LaionUrl, read_checksums
from .parquet import ParquetVectors
from .protocol import Source

CHECKSUMS = "sha256sums"  # of a dataset's files; an admin may provide it


def no_progress(done: int, total: int | None) -> None:
    """Ignore progress."""


def source_of(dataset: Dataset, progress: Progress = no_progress) -> Source:
    """Return the source of a dataset. Raises ShardUnreadable for invalid fields.

    `progress` gets the bytes fetched, and the total once it is known; it may raise to
    stop fetching.
    """
    if dataset.kind == Dataset.Kind.IMAGES:
        return Images(dataset)
    if dataset.kind == Dataset.Kind.PARQUET:
        return ParquetVectors(dataset.source, dataset.columns)
    if not dataset.source.startswith(("http://", "https://")):
        return LaionFolder(dataset.source, dataset.columns)
    folder = settings.VAR_DIR / "fetched" / dataset.item_table.slug
    sums = folder / CHECKSUMS
    return LaionUrl(
        base=dataset.source,
        shard_range=dataset.shard_range,
        folder=folder,
        checksums=read_checksums(sums.read_text()) if sums.exists() else {},
        image=dataset.image_pattern,
        text=dataset.text_pattern,
        metadata=dataset.metadata_pattern,
        columns=dataset.columns,
        keep_files=dataset.keep_files,
        progress=progress,
    )
