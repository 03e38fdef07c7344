"""What the fields of a dataset must be like, and which of them can change when.

The same for whoever enters it: by a page, by a command or by the API.
"""

from collections.abc import Callable, Iterator

from django.core.exceptions import ValidationError

from search.errors import ShardUnreadable
from search.models import Dataset

from .sources.laion import check_base, check_pattern
from .sources.protocol import parse_range
from .sources.tables import NAMES

PATTERNS = ("image_pattern", "text_pattern", "metadata_pattern")
# What decides the table, which cannot change once there are shards.
FIXED = (
    "slug",
    "dimension",
    "metric",
    "index_connections",
    "index_construction",
    "index_quantization",
    "shards_per_partition",
)


def problems(dataset: Dataset) -> dict[str, list[str]]:
    """Sentences by field: those of the model, and `complaints` about other fields."""
    found: dict[str, list[str]] = {}
    try:
        dataset.full_clean()
    except ValidationError as error:
        found = error.message_dict
    for field, sentence in validation_errors(dataset).items():
        found.setdefault(field, [sentence])
    return found


def fixed_fields(dataset: Dataset) -> tuple[str, ...]:
    """Those that can no longer change."""
    return FIXED if dataset.pk and dataset.shards.exists() else ()


def validation_errors(dataset: Dataset) -> dict[str, str]:
    """A sentence for each field that is wrong; nothing is looked for at the source."""
    return {field: sentence for field, sentence in _found(dataset) if sentence}


def _found(dataset: Dataset) -> Iterator[tuple[str, str]]:
    yield "columns", _of_columns(dataset.columns)
    if dataset.shard_range:
        yield "shard_range", _said(parse_range, dataset.shard_range)
    if not dataset.source.startswith(("http://", "https://")):
        return
    if dataset.kind != Dataset.Kind.LAION:
        yield "source", "Only LAION shards are fetched: name a file or a folder here."
        return
    yield "source", _said(check_base, dataset.source)
    if not dataset.shard_range:
        yield "shard_range", "Say which shards the address has, such as 0-409."
    for name in PATTERNS:
        yield name, _said(check_pattern, getattr(dataset, name))


def _said(check: Callable[[str], object], text: str) -> str:
    try:
        check(text)
    except ShardUnreadable as error:
        return error.message
    return ""


def _of_columns(columns: object) -> str:
    if not isinstance(columns, dict) or not all(
        isinstance(name, str) and name for name in columns.values()
    ):
        return 'Write the columns as {"url": "photo_image_url"}, or leave {}.'
    for role in columns:
        if role not in NAMES:
            return f"“{role[:40]}” is none of {', '.join(NAMES)}."
    return ""
