"""Preview what entries of removal lists hide, and take entries off the lists again."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from search.clickhouse import lookup, writer
from search.errors import NotFound, SearchUnavailable
from search.models import Dataset, Partition, Removal, Shard

from .takedowns import CONDITIONS, MAX_AT_ONCE, Kind, RemovalList

MAX_PREVIEWED = 20_000  # values that are looked up
SAMPLES = 6
BUSY = (
    "{} is being indexed, and would hide its items again. Try again when that is done."
)


T = TypeVar("T")


@dataclass(frozen=True)
class Matches:
    """The items of a dataset that are visible, and that some values would hide."""

    dataset: Dataset
    count: int
    samples: Sequence[int]  # ids


def preview(kind: str, values: Sequence[str], dataset: Dataset | None) -> list[Matches]:
    """Return what normalized values hide, in one dataset or in all.

    Of more than MAX_PREVIEWED values, the first count. Raises SearchUnavailable.
    """
    found = []
    for each in [dataset] if dataset else Dataset.objects.all():
        ids: list[int] = []
        for some in in_batches(values[:MAX_PREVIEWED]):
            ids += [row["id"] for row in _rows(each, kind, some, "deleted = 0")]
        found.append(Matches(each, len(ids), sorted(ids)[:SAMPLES]))
    return found


def restore(removals: QuerySet[Removal]) -> int:
    """Delete entries, and show the items that no other entry hides; count these.

    Items that were left out of an import come in when their shards are replaced. Raises
    SearchUnavailable; then the entries stay.
    """
    shown = 0
    with transaction.atomic():
        entries = list(removals.values_list("dataset", "kind", "value"))
        removals.model.objects.filter(pk__in=removals.values("pk")).delete()
        every = list(Dataset.objects.all())
        for dataset in every:
            own = [each for each in entries if each[0] in (None, dataset.pk)]
            if own:
                shown += _show(dataset, own)
    return shown


def _show(dataset: Dataset, entries: Iterable[tuple[int | None, str, str]]) -> int:
    """Show the items of entries that are on no list any more; return how many."""
    _check_idle(dataset)
    listed, shown = RemovalList.of(dataset), 0
    being_removed = set(
        dataset.shards.filter(state=Shard.State.REMOVING).values_list(
            "number", flat=True
        )
    )
    for kind in Kind.values:
        values = [value for _, each, value in entries if each == kind]
        for some in in_batches(values):
            rows = list(_rows(dataset, kind, some, "deleted = 1"))
            on_list = listed.contains(
                [row["id"] for row in rows],
                [row["url"] for row in rows],
                [row["md5"] for row in rows],
            )
            ids = [
                row["id"]
                for row, is_listed in zip(rows, on_list, strict=True)
                if not is_listed and row["id"] >> writer.SHARD_BITS not in being_removed
            ]
            if ids:
                writer.show(dataset.item_table, ids)
            shown += len(ids)
    return shown


def _check_idle(dataset: Dataset) -> None:
    """Raise SearchUnavailable while rows are copied, hidden as they were before."""
    leased = Partition.objects.filter(dataset=dataset, lease_until__gte=timezone.now())
    if leased.exists():
        raise SearchUnavailable(BUSY.format(dataset))


def _rows(
    dataset: Dataset, kind: str, values: Sequence[str], condition: str
) -> Iterator[dict]:
    typed = list(map(int, values)) if kind == Kind.ITEM else list(values)
    sql = f"{condition} AND ({CONDITIONS[Kind(kind)]})"
    try:
        yield from lookup.rows_where(dataset.item_table, sql, {"values": typed})
    except NotFound:
        return  # nothing has been imported yet


def in_batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield as many values at a time as a statement takes."""
    for start in range(0, len(values), MAX_AT_ONCE):
        yield values[start : start + MAX_AT_ONCE]
