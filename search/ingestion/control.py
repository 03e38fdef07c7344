"""What an admin does with the shards of a dataset: by page, command or API."""

from django.db.models import Case, F, QuerySet, Value, When
from django.utils import timezone

from search.clickhouse import schema, writer
from search.errors import InvalidQuery, NotFound, ShardUnreadable
from search.models import Dataset, Shard
from search.models.registry import own_field
from search.removals.takedowns import removals_for

from . import publishing, tasks
from .progress import spans
from .sources.protocol import parse_range
from .sources.registry import source_of

State = Shard.State
STARTED_FROM = {
    "start": [State.PENDING, State.FAILED],
    "resume": [State.PAUSED],
    "retry": [State.FAILED],
    "replace": [State.INGESTED],
    "again": [State.PENDING, State.FAILED, State.PAUSED, State.INGESTED, State.ARRIVED],
}
STOPPABLE = [State.QUEUED, State.INGESTING]
GATHERING = [*STOPPABLE, State.PAUSED, State.ARRIVED]
BEGUN = {"started_at": None, "rows_done": 0, "bytes_done": 0}
DROPPABLE = [State.INGESTED, State.PENDING, State.PAUSED, State.FAILED]


def discover_shards(dataset: Dataset) -> int:
    """Enters the shards of the dataset's source that are not in the ledger yet.

    Returns how many the source has; raises ShardUnreadable when it cannot be read.
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


def shards_of(dataset: Dataset, named: str) -> QuerySet[Shard]:
    """Those of a range such as "0-9,12", or all of them for "".

    Raises ShardUnreadable for what is no range, NotFound when one is not in the ledger.
    """
    if not named:
        return dataset.shards.all()
    numbers = set(parse_range(named))
    there = set(dataset.shards.values_list("number", flat=True))
    if missing := numbers - there:
        raise NotFound(f"{dataset} has no shard {spans(missing)}.")
    return dataset.shards.filter(number__in=numbers)


def queue(dataset: Dataset, shards: QuerySet[Shard], action: str = "start") -> int:
    """Queues the shards of a queryset that an action is for; returns how many.

    `action` is a key of STARTED_BY. Raises InvalidQuery for LAION shards without a
    removal list, unless the dataset does without.
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
        # Rows that stay were read then: what was taken down since is to be hidden.
        **{name: _not_repeated(name, none) for name, none in BEGUN.items()},
        finished_at=None,
        changed_at=timezone.now(),
    )
    tasks.enqueue_shards(keys)
    return queued


def _not_repeated(name: str, none: int | None) -> Case:
    """A field as it is, but for shards that begin from nothing."""
    kind = own_field(Shard, name)
    return Case(When(fingerprint="", then=Value(none, kind)), default=name)


def apply_action(dataset: Dataset, shards: QuerySet[Shard], action: str) -> int:
    """Does what a button or a command says; returns for how many shards it was."""
    if action == "pause":
        return pause(shards)
    if action == "cancel":
        return cancel(shards)
    if action == "drop":
        return drop(dataset, shards)
    return queue(dataset, shards, action)


def check_removal_list(dataset: Dataset) -> None:
    needed = dataset.kind == Dataset.Kind.LAION and not dataset.without_removal_list
    if needed and not removals_for(dataset).exists():
        raise InvalidQuery(
            "Load a list of what must not be found first, or tick “without removal "
            "list” in the dataset: LAION links to pictures that are illegal."
        )


def pause(shards: QuerySet[Shard]) -> int:
    """Stops shards where they are; `resume` goes on from there."""
    return shards.filter(state__in=STOPPABLE).update(
        state=State.PAUSED, lease_until=None, changed_at=timezone.now()
    )


def cancel(shards: QuerySet[Shard]) -> int:
    """Stops shards and forgets what has arrived of them; what is visible stays."""
    stopped = 0
    for shard in shards.filter(state__in=GATHERING):
        row = Shard.objects.filter(pk=shard.pk, state=shard.state)
        back = State.INGESTED if shard.rows_visible else State.PENDING
        if row.update(
            state=back,
            lease_until=None,
            epoch=F("epoch") + 1,
            fingerprint="",
            rows_done=0,
            rows_kept=shard.rows_visible,
        ):
            stopped += 1
            publishing.interrupt(shard.dataset, shard.number)
            schema.drop(shard.dataset.item_table.arriving(shard.number, shard.epoch))
            source_of(shard.dataset).discard(shard.number)
    return stopped


def droppable(shards: QuerySet[Shard]) -> QuerySet[Shard]:
    """Those that have rows to be removed, and are at rest."""
    return shards.filter(state__in=DROPPABLE, rows_visible__gt=0)


def drop(dataset: Dataset, shards: QuerySet[Shard]) -> int:
    """Hides the rows of shards at once, and has them removed."""
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
        writer.hide(table, writer.of_shards(dropped), {})
    tasks.enqueue_due_partitions(dataset)
    return len(dropped)


def drop_dataset(dataset: Dataset) -> None:
    """Drops a dataset with all its tables; a run that goes on finds its claim lost."""
    table = dataset.item_table
    dataset.shards.update(state=State.PENDING, lease_until=None, rows_visible=0)
    dataset.delete()
    schema.drop(table)
    for name in writer.tables_beside(table):
        writer.drop_named(name)
