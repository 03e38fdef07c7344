"""A collection is made, named and given a cover."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from search.errors import InvalidQuery
from search.retrieval import popularity

from .. import owning
from ..models import Collection
from .asked_items import Key, by_dataset, rows_of
from .members import Added, put_in, snapshots


def make(
    user: Any, collection: Collection, keys: Sequence[Key] = (), words: str = ""
) -> Collection:
    """Keeps a new collection as the user's, with these items in it if any are given.

    `words` are those of the search that the items came from. Raises InvalidQuery,
    SearchUnavailable; then nothing is kept.
    """
    known = snapshots(list(keys))
    added = None
    with transaction.atomic():
        owning.check_room(user, Collection)
        collection.owner = user
        collection.save(force_insert=True)
        if collection.visibility != Collection.Visibility.PRIVATE:
            owning.show_to(collection, collection.visibility)
        if keys:
            added = put_in(user, collection.pk, list(keys), known)
    if added:
        record(added, words)
        collection.refresh_from_db()
    return collection


def record(added: Added, words: str) -> None:
    """Counts what was added as picked for the words of the search it came from."""
    for slug, ids in by_dataset(list(added.new)).items():
        popularity.record(slug, ids, words, popularity.Kind.SAVED)


def rename(collection: Collection) -> None:
    """Keeps the name and the description that it was given."""
    # These alone: members may come in meanwhile.
    collection.save(update_fields=["name", "description", "changed_at"])


def choose_cover(collection: Collection, key: Key | None) -> None:
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
