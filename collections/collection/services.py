"""Create, merge and copy collections."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, transaction
from django.db.models import Count
from django.utils import timezone

from search.errors import InvalidQuery, NotFound
from search.models import SYSTEM, Dataset, Viewer
from search.retrieval import popularity

from .. import sharing
from ..models import Collection, CollectionItem
from ..models.ownership import AnyUser
from ..positions import GAP
from ..sharing import lock_owned
from .item_keys import ItemKey, by_dataset, rows_of
from .members import (
    SNAPSHOT,
    Added,
    check_room,
    collection_sql_id,
    insert,
    last_position,
    recount,
    snapshots,
    undo_add,
)


def create(
    user: Any, collection: Collection, keys: Sequence[ItemKey] = (), words: str = ""
) -> Collection:
    """Save a new collection of the user's, with these items.

    `words` are those of the search that found the items. Raises InvalidQuery and
    SearchUnavailable; then nothing is saved.
    """
    known = snapshots(list(keys), user)
    added = None
    with transaction.atomic():
        sharing.check_room(user, Collection)
        collection.owner = user
        collection.save(force_insert=True)
        if collection.visibility != Collection.Visibility.PRIVATE:
            sharing.set_visibility(collection, collection.visibility)
        if keys:
            added = insert(user, collection.pk, list(keys), known)
    if added:
        record(added, words, user)
        collection.refresh_from_db()
    return collection


def record(added: Added, words: str, user: AnyUser) -> None:
    """Count the added items as picked for the words of the search that found them."""
    for slug, ids in by_dataset(list(added.new)).items():
        popularity.record(slug, ids, words, popularity.Kind.SAVED, f"user-{user.pk}")


def choose_cover(collection: Collection, key: ItemKey | None, user: AnyUser) -> None:
    """Set the cover item; None: the first four are the cover.

    Raises InvalidQuery if the collection does not have the item.
    """
    member = None
    if key is not None:
        member = rows_of(collection.items.visible_to(user), [key]).first()
        if member is None:
            raise InvalidQuery("This image is no longer in the collection.")
    collection.cover = member
    collection.save(update_fields=["cover"])


def merge(user: AnyUser, target_id: UUID, source_id: UUID) -> tuple[UUID, int]:
    """Copy the items of a collection into another one and delete it.

    Returns the batch of the new items in the target, for unmerge, and their number.
    Raises NotFound, InvalidQuery.
    """
    if target_id == source_id:
        raise InvalidQuery("Choose a different collection.")
    batch = uuid4()
    with transaction.atomic():
        # Always in the same order, or two merges could deadlock.
        first, second = sorted((target_id, source_id))
        both = {pk: lock_owned(Collection, user, pk) for pk in (first, second)}
        target, source = both[target_id], both[source_id]
        new = source.size - _count_shared(target, source)
        check_room(target, new)
        _copy_items(source, target, batch, SYSTEM, with_notes=True)
        recount(target)
        sharing.delete(source)
    return batch, new


def unmerge(user: AnyUser, target: Collection, batch: UUID, source_id: UUID) -> None:
    """Undo a merge into a locked collection: restore the source.

    Raises InvalidQuery when the user has as many collections as one may have.
    """
    undo_add(target, batch)
    with suppress(NotFound):  # it was restored already
        sharing.restore(Collection, user, source_id)


def copy(user: Any, source: Collection) -> Collection:
    """Return a private copy with the items that the user sees, in the same order.

    Notes are private: they are copied only if the user owns the source. Raises
    InvalidQuery when the user has too many collections.
    """
    with transaction.atomic():
        sharing.check_room(user, Collection)
        made = Collection.objects.create(
            owner=user,
            name=f"{source.name[:110]} (copy)",
            description=source.description,
        )
        is_mine = source.owner_id == user.pk
        _copy_items(source, made, uuid4(), user, with_notes=is_mine)
        recount(made)
    return made


def subtract_hidden(collections: Sequence[Collection], user: AnyUser) -> None:
    """Set each `size`, not saved, to the number of items that the user may see."""
    hidden = list(Dataset.objects.hidden_from(user).values_list("slug", flat=True))
    if not hidden:
        return
    items = CollectionItem.objects.filter(
        collection__in=collections, dataset__in=hidden
    )
    counts = dict(items.values_list("collection").annotate(count=Count("pk")))
    for collection in collections:
        collection.size -= counts.get(collection.pk, 0)


def _count_shared(target: Collection, source: Collection) -> int:
    """Return how many items are in both."""
    table = CollectionItem._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM {table} AS one JOIN {table} AS other "
            "ON one.dataset = other.dataset AND one.item = other.item "
            "WHERE one.collection_id = %s AND other.collection_id = %s",
            [collection_sql_id(target), collection_sql_id(source)],
        )
        return cursor.fetchone()[0]


def _copy_items(
    source: Collection,
    target: Collection,
    batch: UUID,
    viewer: Viewer,
    *,
    with_notes: bool,
) -> None:
    """Append the items that the target lacks, in the order of the source.

    Only those of datasets that the viewer may see.
    """
    hidden = list(Dataset.objects.hidden_from(viewer).values_list("slug", flat=True))
    seen = f"AND dataset NOT IN ({', '.join(['%s'] * len(hidden))}) " if hidden else ""
    table, fields = CollectionItem._meta.db_table, ", ".join(SNAPSHOT)
    added_at = CollectionItem._meta.get_field("added_at")
    batch_field = CollectionItem._meta.get_field("batch")
    note = "note" if with_notes else "''"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (collection_id, dataset, item, {fields}, note, "
            "position, added_at, batch) "
            f"SELECT %s, dataset, item, {fields}, {note}, "
            "%s + %s * row_number() OVER (ORDER BY position, id), %s, %s "
            f"FROM {table} WHERE collection_id = %s {seen}"
            "ORDER BY position, id ON CONFLICT DO NOTHING",
            [
                collection_sql_id(target),
                last_position(target),
                GAP,
                added_at.get_db_prep_value(timezone.now(), connection),
                batch_field.get_db_prep_value(batch, connection),
                collection_sql_id(source),
                *hidden,
            ],
        )
