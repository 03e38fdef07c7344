"""Cover tiles of collections: the chosen cover, or the first four safe items."""

from collections.abc import Iterable
from typing import Any

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Lower, Trim

from search.models import Dataset
from search.query import ratings

from ..models import Collection, CollectionItem
from ..models.ownership import AnyUser
from .rows import rate

TILES = 4
UNSAFE_WORDS = [word for word in ratings.RATINGS if ratings.is_unsafe(word)]


def with_cover_tiles(
    collections: QuerySet[Collection], user: AnyUser
) -> QuerySet[Collection]:
    """Annotate with the primary keys of the items to show, tile_0 to tile_3.

    They are the first that are not rated unsafe; those that are not rated are blurred.
    """
    whole = Dataset.objects.whole_ratings()
    safe = [slug for slug in whole if ratings.is_safe(whole[slug])]
    unsafe = [slug for slug in whole if ratings.is_unsafe(whole[slug])]
    first = (
        CollectionItem.objects.visible_to(user)
        .annotate(rating=Lower(Trim("nsfw")))
        .filter(collection=OuterRef("pk"))
        .exclude(~Q(dataset__in=safe), rating__in=UNSAFE_WORDS)
        .exclude(dataset__in=unsafe)
        .order_by("position", "pk")
        .values("pk")
    )
    tiles = {
        f"tile_{number}": Subquery(first[number : number + 1])
        for number in range(TILES)
    }
    return collections.annotate(**tiles)


def choose_tiles(collections: Iterable[Collection], user: AnyUser) -> None:
    """Set `tiles`, the items to show, on collections from `with_cover_tiles`."""
    collections = list(collections)
    wanted = {pk for each in collections for pk in _candidate_keys(each)}
    members = CollectionItem.objects.visible_to(user).in_bulk(wanted)
    rate(members.values())
    for each in collections:
        cover = members.get(each.cover_id)
        if cover is not None and _is_cover(cover, each):
            each.tiles = [cover]
        else:
            tiles = (members[pk] for pk in _tile_keys(each) if pk in members)
            each.tiles = [tile for tile in tiles if not ratings.is_unsafe(tile.nsfw)]


def _is_cover(member: CollectionItem, collection: Collection) -> bool:
    unsafe = ratings.is_unsafe(member.nsfw)
    return not unsafe and member.collection_id == collection.pk


def _candidate_keys(collection: Collection) -> list[Any]:
    return [*_tile_keys(collection), *filter(None, [collection.cover_id])]


def _tile_keys(collection: Any) -> list[int]:
    keys = (getattr(collection, f"tile_{number}") for number in range(TILES))
    return [pk for pk in keys if pk is not None]
