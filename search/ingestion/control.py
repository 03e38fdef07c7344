"""Actions on the shards of a dataset, for pages, commands and API."""

from django.db.models import Case, F, QuerySet, Value, When
from django.utils import timezone

from search.clickhouse import schema, writer
from search.errors import InvalidQuery, NotFound, ShardUnreadable
from search.models import Dataset, Partition, Shard, Training
from search.models.registry import own_field
from search.removals.takedowns import needs_removal_list

from . import clusters, publishing, tasks
from .progress import spans
from .sources.protocol import parse_range
from .sources.registry import source_of

State = Shard.State
STARTED_FROM = {  # by action, the states of the shards that it queues
    "start": [State.PENDING, State.FAILED],
    "resume": [State.PAUSED],
    "retry": [State.FAILED],
    "replace": [State.INGESTED],
    "again": [State.PENDING, State.FAILED, State.PAUSED, State.INGESTED, State.ARRIVED],
}
STOPPABLE = [State.QUEUED, State.INGESTING]
UNPUBLISHED = [*STOPPABLE, State.PAUSED, State.ARRIVED]
NOT_STARTED = {"started_at": None, "rows_done": 0, "bytes_done": 0}
DROPPABLE = [State.INGESTED, State.PENDING, State.PAUSED, State.FAILED]


def discover_shards(dataset: Dataset) -> int:
    """Enter new shards of the dataset's source into the ledger; count all of them.

    Raises ShardUnreadable when the source cannot be read.
    """
    try:
        numbers = source_of(dataset).shards()
    except OSError as error:
        raise ShardUnreadable(f"The source cannot be read: {error}.") from error
    Shard.objects.bulk_create(
        [Shard(dataset=dataset, number=number) for number in numbers],
        ignore_conflicts=True,
    )
    return len(numbers)


def shards_of(dataset: Dataset, shard_range: str) -> QuerySet[Shard]:
    """Return the shards of a range such as "0-9,12", or all of them for "".

    Raises ShardUnreadable for an invalid range, NotFound for shards that the ledger
    lacks.
    """
    if not shard_range:
        return dataset.shards.all()
    numbers = set(parse_range(shard_range))
    known = set(dataset.shards.values_list("number", flat=True))
    if missing := numbers - known:
        raise NotFound(f"{dataset} has no shard {spans(missing)}.")
    return dataset.shards.filter(number__in=numbers)


def queue(dataset: Dataset, shards: QuerySet[Shard], action: str = "start") -> int:
    """Queue those shards that an action of STARTED_FROM applies to; return how many.

    Raises InvalidQuery for LAION shards without a removal list, unless the dataset is
    exempt.
    """
    check_removal_list(dataset)
    keys = list(
        shards.filter(state__in=STARTED_FROM[action]).values_list("pk", flat=True)
    )
    queued = Shard.objects.filter(pk__in=keys, state__in=STARTED_FROM[action]).update(
        state=State.QUEUED,
        lease_until=None,
        failures=0,
        error="",
        # Publishing hides what was taken down since `started_at`, when rows were read.
        **{name: _unless_resumed(name, none) for name, none in NOT_STARTED.items()},
        finished_at=None,
        changed_at=timezone.now(),
        # Who replaces a shard may want new embeddings.
        **({"reuses_vectors": False} if action == "replace" else {}),
    )
    tasks.enqueue_shards(keys)
    return queued


def _unless_resumed(name: str, none: int | None) -> Case:
    """Return an expression that resets a field of shards that start from nothing."""
    kind = own_field(Shard, name)
    return Case(When(fingerprint="", then=Value(none, kind)), default=name)


def apply_action(dataset: Dataset, shards: QuerySet[Shard], action: str) -> int:
    """Apply an action by its name; return the number of shards it applied to."""
    if action == "pause":
        return pause(shards)
    if action == "cancel":
        return cancel(shards)
    if action == "drop":
        return drop(dataset, shards)
    return queue(dataset, shards, action)


def check_removal_list(dataset: Dataset) -> None:
    """Raise InvalidQuery while the dataset needs a removal list."""
    if needs_removal_list(dataset):
        raise InvalidQuery(
            "Import a removal list first, or allow the import without one in the "
            "settings: LAION contains links to illegal images."
        )


def pause(shards: QuerySet[Shard]) -> int:
    """Stop shards where they are; `resume` continues from there."""
    return shards.filter(state__in=STOPPABLE).update(
        state=State.PAUSED, lease_until=None, changed_at=timezone.now()
    )


def cancel(shards: QuerySet[Shard]) -> int:
    """Stop shards and delete their unpublished rows; visible rows stay."""
    stopped = 0
    for shard in shards.filter(state__in=UNPUBLISHED):
        row = Shard.objects.filter(pk=shard.pk, state=shard.state)
        before = State.INGESTED if shard.rows_visible else State.PENDING
        if row.update(
            state=before,
            lease_until=None,
            epoch=F("epoch") + 1,
            fingerprint="",
            rows_done=0,
            rows_kept=shard.rows_visible,
            rows_rejected=_rejected_before(shard),
            notes={},
        ):
            stopped += 1
            publishing.interrupt(shard.dataset, shard.number)
            schema.drop(shard.dataset.item_table.arriving(shard.number, shard.epoch))
            source_of(shard.dataset).discard(shard.number)
    return stopped


def _rejected_before(shard: Shard) -> int:
    """Return the rejects of the rows that stay visible; their list is deleted."""
    return max(0, (shard.rows or 0) - shard.rows_visible) if shard.rows_visible else 0


def droppable(shards: QuerySet[Shard]) -> QuerySet[Shard]:
    """Return the shards that have visible rows and no work in progress."""
    return shards.filter(state__in=DROPPABLE, rows_visible__gt=0)


def drop(dataset: Dataset, shards: QuerySet[Shard]) -> int:
    """Hide the rows of shards at once, and schedule their removal."""
    table, dropped = dataset.item_table, []
    for shard in droppable(shards):
        row = Shard.objects.filter(pk=shard.pk, state=shard.state)
        if row.update(
            state=State.REMOVING, epoch=F("epoch") + 1, fingerprint="", error=""
        ):
            dropped.append(shard.number)
            publishing.interrupt(dataset, shard.number)
            schema.drop(table.arriving(shard.number, shard.epoch))
    if dropped:
        writer.hide(table, writer.shards_condition(dropped), {})
    tasks.enqueue_due_partitions(dataset)
    return len(dropped)


def needs_reindex(dataset: Dataset, keep_graph: bool = False) -> bool:
    """Return whether `reindex` has anything to do that it has not begun."""
    by_graph = dataset.index == Dataset.Index.GRAPH and not keep_graph
    return by_graph or not dataset.words_indexed or clusters.is_outgrown(dataset)


def reindex(dataset: Dataset, keep_graph: bool = False) -> int:
    """Schedule what a dataset's index lacks; return the number of partitions to do.

    What may lack are clusters in place of graphs, unless these are kept, more clusters
    where a dataset has outgrown them, and words of captions that an earlier version did
    not index. Partitions that a request before has left undone are continued with.
    """
    undone = dataset.partitions.filter(reindex=True)
    if not undone.exists():
        if not needs_reindex(dataset, keep_graph):
            return 0
        visible = dataset.shards.filter(rows_visible__gt=0)
        for shard in visible.values_list("number", flat=True):
            number = publishing.partition_of(dataset, shard)
            Partition.objects.get_or_create(dataset=dataset, number=number)
        if dataset.index == Dataset.Index.GRAPH and not keep_graph:
            Training.objects.get_or_create(dataset=dataset)
        elif clusters.is_outgrown(dataset):
            clusters.schedule(dataset, dataset.training)
        # All: one that is being published may not have seen the request.
        dataset.partitions.update(reindex=True)
    undone.update(failures=0, error="")
    publishing.finish_reindex(dataset)  # if there is nothing to do
    tasks.enqueue_due_partitions(dataset)
    return undone.count()
