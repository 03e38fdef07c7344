"""A collection is made, named and given a cover."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, transaction
from django.utils import timezone

from search.errors import InvalidQuery, NotFound
from search.retrieval import popularity

from .. import sharing
from ..models import Collection, CollectionItem
from ..sharing import lock_owned
from .item_keys import ItemKey, by_dataset, rows_of
from .members import (
    GAP,
    SNAPSHOT,
    Added,
    bound,
    check_room,
    insert,
    last_position,
    recount,
    snapshots,
    undo_add,
)


def create(
    user: Any, collection: Collection, keys: Sequence[ItemKey] = (), words: str = ""
) -> Collection:
    """Keeps a new collection as the user's, with these items in it if any are given.

    `words` are those of the search that the items came from. Raises InvalidQuery,
    SearchUnavailable; then nothing is kept.
    """
    known = snapshots(list(keys))
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
        record(added, words)
        collection.refresh_from_db()
    return collection


def record(added: Added, words: str) -> None:
    """Counts what was added as picked for the words of the search it came from."""
    for slug, ids in by_dataset(list(added.new)).items():
        popularity.record(slug, ids, words, popularity.Kind.SAVED)


def choose_cover(collection: Collection, key: ItemKey | None) -> None:
    """One member stands for all; without one, the first four do.

    Raises InvalidQuery for what is no member.
    """
    member = None
    if key is not None:
        member = rows_of(collection.items.all(), [key]).first()
        if member is None:
            raise InvalidQuery("This picture is not in the collection any more.")
    collection.cover = member
    collection.save(update_fields=["cover"])


def merge(user: Any, target_id: UUID, source_id: UUID) -> tuple[UUID, int]:
    """Pours one of the user's collections into another and deletes it.

    Returns the batch of what is new in the target, for unmerge, and how many that is.
    Raises NotFound, InvalidQuery.
    """
    if target_id == source_id:
        raise InvalidQuery("Choose another collection than this one.")
    batch = uuid4()
    with transaction.atomic():
        # Always in the same order, or two merges could wait for each other.
        first, second = sorted((target_id, source_id))
        both = {pk: lock_owned(Collection, user, pk) for pk in (first, second)}
        target, source = both[target_id], both[source_id]
        new = source.size - _shared(target, source)
        check_room(target, new)
        _copy_items(source, target, batch, with_notes=True)
        recount(target)
        sharing.delete(source)
    return batch, new


def unmerge(user: Any, target_id: UUID, batch: UUID, source_id: UUID) -> None:
    """Undoes a merge: the source is back, what came of it has left.

    Raises NotFound, InvalidQuery.
    """
    with transaction.atomic():
        undo_add(lock_owned(Collection, user, target_id), batch)
        with suppress(NotFound):
            sharing.restore(Collection, user, source_id)


def copy(user: Any, source: Collection) -> Collection:
    """A private collection of the user's with the same members, in the same order.

    Notes are copied from the user's own alone: those of others are private. Raises
    InvalidQuery.
    """
    with transaction.atomic():
        sharing.check_room(user, Collection)
        made = Collection.objects.create(
            owner=user,
            name=f"{source.name[:110]} (copy)",
            description=source.description,
        )
        _copy_items(source, made, uuid4(), with_notes=source.owner_id == user.pk)
        recount(made)
    return made


def _shared(target: Collection, source: Collection) -> int:
    """How many items both have."""
    table = CollectionItem._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM {table} AS one JOIN {table} AS other "
            "ON one.dataset = other.dataset AND one.item = other.item "
            "WHERE one.collection_id = %s AND other.collection_id = %s",
            [bound(target), bound(source)],
        )
        return cursor.fetchone()[0]


def _copy_items(
    source: Collection, target: Collection, batch: UUID, *, with_notes: bool
) -> None:
    """Adds what the target lacks at its end, in the order that the source has."""
    table, copied = CollectionItem._meta.db_table, ", ".join(SNAPSHOT)
    added_at = CollectionItem._meta.get_field("added_at")
    came_in_batch = CollectionItem._meta.get_field("batch")
    note = "note" if with_notes else "''"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (collection_id, dataset, item, {copied}, note, "
            "position, added_at, batch) "
            f"SELECT %s, dataset, item, {copied}, {note}, "
            "%s + %s * row_number() OVER (ORDER BY position, id), %s, %s "
            f"FROM {table} WHERE collection_id = %s "
            "ORDER BY position, id ON CONFLICT DO NOTHING",
            [
                bound(target),
                last_position(target),
                GAP,
                added_at.get_db_prep_value(timezone.now(), connection),
                came_in_batch.get_db_prep_value(batch, connection),
                bound(source),
            ],
        )
