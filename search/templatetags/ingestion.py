"""Template filters for the progress of imports."""

from pathlib import PurePath

from django import template

from search.images.formats import IMAGE_SUFFIXES
from search.ingestion.setup import uploads
from search.models import Dataset, Partition

register = template.Library()


@register.filter
def source_name(source: str) -> str:
    """Return a source as people know it: of an upload, without the server's path."""
    return uploads.name_of(source) or source


@register.filter
def is_image_name(name: str) -> bool:
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES


@register.filter
def commas(number: float) -> str:
    return f"{number:,.0f}"


@register.filter
def duration(seconds: float) -> str:
    """Return a rounded duration: 40 s, 12 min, 3 h 20 min, 2 days 5 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"


@register.filter
def milliseconds(seconds: float) -> str:
    """Return a short duration: 340 ms, 2.1 s."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{max(1, round(seconds * 1000))} ms"


@register.filter
def first_shard(partition: Partition, dataset: Dataset) -> int:
    return partition.number * dataset.shards_per_partition


@register.filter
def last_shard(partition: Partition, dataset: Dataset) -> int:
    return (partition.number + 1) * dataset.shards_per_partition - 1
