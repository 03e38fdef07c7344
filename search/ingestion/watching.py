"""Watch a source: new files come in, and items of removed files are hidden.

It is looked at every `every_s` seconds by a task that the sweeper sends. Nothing that
is there is embedded again. A source that is away as a whole is a fault and removes
nothing: a disk may not be mounted.
"""

import os
from pathlib import Path
from typing import Any

from django.utils import timezone

from search.errors import InvalidQuery, SearchError
from search.models import Dataset, Partition, Shard, Watch
from search.models.watching import MAX_INTERVAL_S, MIN_INTERVAL_S

from .sources.archives import ARCHIVE
from .sources.image_files import list_folder
from .sources.image_tables import find_image_tables
from .sources.tables import TABLE, find_tables
from .watched_folder import News, look_at_folder
from .watched_list import look_at_list

State = Shard.State
MOVING = [State.QUEUED, State.INGESTING, State.ARRIVED, State.REMOVING]
NOT_WATCHED = (
    "Folders of images, and lists of addresses, can be watched; this source is neither."
)
WAITS = "It waits for the import."
INTERVAL = f"The interval is {MIN_INTERVAL_S} to {MAX_INTERVAL_S:,} seconds."


def switch_on(dataset: Dataset, every_s: int | None = None) -> Watch:
    """Watch the source of a dataset from now on. Raises InvalidQuery."""
    check_source(dataset)
    watch, _ = Watch.objects.get_or_create(dataset=dataset)
    if every_s is not None:
        if not MIN_INTERVAL_S <= every_s <= MAX_INTERVAL_S:
            raise InvalidQuery(INTERVAL)
        watch.every_s = every_s
    if not watch.active and not os.path.isdir(dataset.source):
        # What was replaced meanwhile is the beginning that later rows are compared to.
        dataset.source_files.update(md5="")
    watch.active, watch.fault, watch.looked_at = True, "", None
    watch.save()
    return watch


def switch_off(dataset: Dataset) -> None:
    """Stop watching; what was recorded stays, so that items keep their ids."""
    Watch.objects.filter(dataset=dataset).update(active=False, fault="")


def check_source(dataset: Dataset) -> None:
    """Raise InvalidQuery for a source that cannot be watched."""
    source = dataset.source
    if dataset.kind != Dataset.Kind.IMAGES or find_tables(source, ARCHIVE):
        raise InvalidQuery(NOT_WATCHED)
    if os.path.isdir(source):
        is_known = dataset.source_files.exists()
        if not is_known and not list_folder(Path(source)).images:
            raise InvalidQuery(NOT_WATCHED)
    elif (
        not os.path.isfile(source)
        or find_image_tables(source, dataset.columns)
        or not find_tables(source, TABLE)
    ):
        raise InvalidQuery(NOT_WATCHED)


def look(dataset_pk: int) -> None:
    """Look at a watched source that is due, and apply what has changed.

    Raises SearchUnavailable.
    """
    due = Watch.objects.due().filter(dataset=dataset_pk)
    watch = due.select_related("dataset").first()
    if watch is None:
        return
    row = Watch.objects.filter(pk=watch.pk, active=True, looked_at=watch.looked_at)
    if not row.update(looked_at=timezone.now()):
        return  # another worker looks
    row = Watch.objects.filter(pk=watch.pk)
    try:
        news = _look(watch.dataset)
    except SearchError as error:
        row.update(fault=error.message)
        return
    if news is None:
        row.update(fault=WAITS)
        return
    changes: dict[str, Any] = {"fault": ""}
    if news.new or news.removed or news.back:
        changes |= {
            "new": len(news.new) + len(news.back),
            "removed": len(news.removed),
            "changed_at": timezone.now(),
        }
    row.update(**changes)


def is_busy(dataset: Dataset) -> bool:
    """Return whether rows of a dataset are on their way, or being copied."""
    leased = Partition.objects.filter(dataset=dataset, lease_until__gte=timezone.now())
    return dataset.shards.filter(state__in=MOVING).exists() or leased.exists()


def _look(dataset: Dataset) -> News | None:
    """Apply what has changed; return it, or None while an import is in progress."""
    shards = dataset.shards.all()
    is_recorded = dataset.source_files.exists()
    is_in = shards.exists() and not shards.exclude(state=State.INGESTED).exists()
    if is_busy(dataset) or not (is_recorded or is_in):
        return None
    if os.path.isdir(dataset.source):
        return look_at_folder(dataset)
    return look_at_list(dataset)
