"""Validation of datasets, for the admin, commands and the API alike."""

from collections.abc import Callable, Iterator
from typing import Any

from django.core.exceptions import ValidationError

from search.errors import InvalidQuery, ShardUnreadable
from search.models import Dataset
from search.query.ratings import RatingRules

from .sources.laion import check_base, check_pattern
from .sources.protocol import parse_range
from .sources.tables import NAMES

KINDS_OF_ROLES = {  # of those that not every kind has
    "embedding": Dataset.Kind.PARQUET,
    "text_embedding": Dataset.Kind.PARQUET,
    "image": Dataset.Kind.IMAGES,
}
PATTERNS = ("image_pattern", "text_pattern", "metadata_pattern")
# These decide the table, which cannot change once there are shards.
FIXED = (
    "slug",
    "dimension",
    "metric",
    "index",
    "index_connections",
    "index_construction",
    "index_quantization",
    "shards_per_partition",
)


def problems(dataset: Dataset) -> dict[str, list[str]]:
    """Return errors by field: the model's, and `validation_errors` of other fields."""
    errors: dict[str, list[str]] = {}
    try:
        dataset.full_clean()
    except ValidationError as error:
        errors = error.message_dict
    for field, sentence in validation_errors(dataset).items():
        errors.setdefault(field, [sentence])
    return errors


def fixed_fields(dataset: Dataset) -> tuple[str, ...]:
    """Return the names of the fields that can no longer change."""
    return FIXED if dataset.pk and dataset.shards.exists() else ()


def validation_errors(dataset: Dataset) -> dict[str, str]:
    """Return a sentence for each invalid field; the source is not accessed."""
    return {field: sentence for field, sentence in _checks(dataset) if sentence}


def _checks(dataset: Dataset) -> Iterator[tuple[str, str]]:
    yield "columns", _columns_error(dataset.columns, dataset.kind)
    yield "ratings", _error_of(RatingRules.from_json, dataset.ratings)
    if dataset.shard_range:
        yield "shard_range", _error_of(parse_range, dataset.shard_range)
    if not dataset.source.startswith(("http://", "https://")):
        return
    if dataset.kind != Dataset.Kind.LAION:
        yield "source", "Only LAION shards are fetched: name a file or a folder here."
        return
    yield "source", _error_of(check_base, dataset.source)
    if not dataset.shard_range:
        yield "shard_range", "Say which shards the address has, such as 0-409."
    for name in PATTERNS:
        pattern = getattr(dataset, name)
        if pattern or name != "text_pattern":  # there may be no text embeddings
            yield name, _error_of(check_pattern, pattern)


def _error_of(check: Callable[[Any], object], value: Any) -> str:
    try:
        check(value)
    except (InvalidQuery, ShardUnreadable) as error:
        return error.message
    return ""


def _columns_error(columns: object, kind: str) -> str:
    if not isinstance(columns, dict) or not all(
        isinstance(name, str) and name for name in columns.values()
    ):
        return 'Write the columns as {"url": "photo_image_url"}, or leave {}.'
    for role in columns:
        if role not in NAMES:
            return f"“{role[:40]}” is none of {', '.join(NAMES)}."
        if kind != KINDS_OF_ROLES.get(role, kind):
            needed = KINDS_OF_ROLES[role]
            return f"Only a dataset of the kind {needed} has a column for {role}."
    return ""
