"""Which source a dataset's shards come from."""

from django.conf import settings

from search.ingestion.download.download import Progress
from search.models import Dataset

from .images import Images
from .laion import LaionFolder, LaionUrl, read_checksums
from .parquet import ParquetVectors
from .protocol import Source

CHECKSUMS = "sha256sums"  # of a dataset's files, put beside them by whoever has them


def no_progress(done: int, total: int | None) -> None:
    """Nobody asks how far it is."""


def source_of(dataset: Dataset, progress: Progress = no_progress) -> Source:
    """Raises ShardUnreadable when the dataset's fields do not describe one.

    `progress` hears of the bytes that are fetched, and may raise to stop it.
    """
    if dataset.kind == Dataset.Kind.IMAGES:
        return Images(dataset)
    if dataset.kind == Dataset.Kind.PARQUET:
        return ParquetVectors(dataset.source, dataset.columns)
    if not dataset.source.startswith(("http://", "https://")):
        return LaionFolder(dataset.source)
    folder = settings.VAR_DIR / "fetched" / dataset.slug
    sums = folder / CHECKSUMS
    return LaionUrl(
        base=dataset.source,
        shard_range=dataset.shard_range,
        folder=folder,
        checksums=read_checksums(sums.read_text()) if sums.exists() else {},
        image=dataset.image_pattern,
        text=dataset.text_pattern,
        metadata=dataset.metadata_pattern,
        keep_files=dataset.keep_files,
        progress=progress,
    )
