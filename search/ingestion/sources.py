"""Which source a dataset's shards come from."""

from django.conf import settings

from search.models import Dataset

from .download import Progress
from .images import Images
from .laion import LaionFolder
from .laion_url import LaionUrl
from .parquet_vectors import ParquetVectors
from .source import Source


def unheard(done: int, total: int | None) -> None:
    """Nobody asks how far it is."""


def source_of(dataset: Dataset, progress: Progress = unheard) -> Source:
    """Raises ShardUnreadable when the dataset's fields do not describe one.

    `progress` hears of the bytes that are fetched, and may raise to stop it.
    """
    if dataset.kind == Dataset.Kind.IMAGES:
        return Images(dataset)
    if dataset.kind == Dataset.Kind.PARQUET:
        return ParquetVectors(dataset.source, dataset.columns)
    if not dataset.source.startswith(("http://", "https://")):
        return LaionFolder(dataset.source)
    return LaionUrl(
        base=dataset.source,
        shard_range=dataset.shard_range,
        folder=settings.VAR_DIR / "fetched" / dataset.slug,
        image=dataset.image_pattern,
        text=dataset.text_pattern,
        metadata=dataset.metadata_pattern,
        keep_files=dataset.keep_files,
        progress=progress,
    )
