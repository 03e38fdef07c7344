"""A user's things as the API tells them; their shapes are in answers.py."""

from collections.abc import Sequence

from django.urls import reverse
from rest_framework.request import Request

from search.api.representations import THUMBNAIL, Told
from search.query.url_params import safe_url
from search.retrieval.item_lookup import Standing
from search.thumbnails import address

from .. import owning
from ..collecting import reaching
from ..collecting.paging import Cut
from ..collecting.rows import standings_of
from ..models import Collection, CollectionItem, Concept, ConceptVersion, SavedSearch
from ..refining import kept
from ..saving import saved
from ..saving.addresses import words_of

FACTS = ("url", "caption", "width", "height", "nsfw", "license")
NO_FACTS = {
    "url": "",
    "caption": "",
    "width": 0,
    "height": 0,
    "nsfw": "",
    "license": "",
}


def told_page(results: list[Told], cut: Cut) -> Told:
    return {"results": results, "next": cut.next or None}


def _told_shared(
    way: reaching.Reached | kept.Reached, thing: Collection | Concept, request: Request
) -> Told:
    """As answers.SharedAnswer."""
    given_away = way.is_mine and thing.visibility != thing.Visibility.PRIVATE
    link = request.build_absolute_uri(owning.link_of(thing)) if given_away else None
    return {
        "id": thing.pk,
        "name": thing.name,
        "description": thing.description,
        "is_mine": way.is_mine,
        "visibility": thing.visibility if way.is_mine else None,
        "link": link,
        "share_token": thing.share_token if given_away else None,
        "page": request.build_absolute_uri(way.address()),
        "created_at": thing.created_at,
        "changed_at": thing.changed_at,
    }


# --- Collections


def told_collections(ways: Sequence[reaching.Reached], request: Request) -> list[Told]:
    """As answers.CollectionAnswer."""
    chosen = {way.collection.cover_id for way in ways} - {None}
    # A cover that is no member any more is none.
    covers = CollectionItem.objects.in_bulk(chosen)
    return [
        _told_shared(way, way.collection, request)
        | {
            "size": way.collection.size,
            "cover": _key(covers.get(way.collection.cover_id)),
        }
        for way in ways
    ]


def told_collection(way: reaching.Reached, request: Request) -> Told:
    return told_collections([way], request)[0]


def _key(member: CollectionItem | None) -> Told | None:
    return {"dataset": member.dataset, "id": member.item} if member else None


def told_members(
    members: Sequence[CollectionItem], first: int, is_mine: bool, request: Request
) -> list[Told]:
    """As answers.MemberAnswer; `first` is the place of the first one.

    Of what must not be shown there are no facts. Raises SearchUnavailable, since the
    engine knows what that is.
    """
    standings = standings_of(list(members))
    return [
        _told_member(member, standings[member.dataset, member.item], request)
        | {"place": place, "note": member.note if is_mine else None}
        for place, member in enumerate(members, first)
    ]


def _told_member(member: CollectionItem, standing: Standing, request: Request) -> Told:
    facts = {name: getattr(member, name) for name in FACTS}
    if standing is Standing.REMOVED:
        facts = NO_FACTS
    picture = page = None
    if standing is Standing.THERE:
        page = reverse("item", args=[member.dataset, member.item])
        if safe_url(member.url):
            picture = address(member.dataset, member.item, THUMBNAIL)
    return {
        "dataset": member.dataset,
        "id": member.item,
        "standing": standing.value,
        **facts,
        "added_at": member.added_at,
        "thumbnail": request.build_absolute_uri(picture) if picture else None,
        "page": request.build_absolute_uri(page) if page else None,
    }


# --- Saved searches


def told_searches(
    rows: Sequence[SavedSearch], first: int, request: Request
) -> list[Told]:
    """As answers.SavedSearchAnswer; `first` is the place of the first one."""
    askings = [saved.asking_of(row) for row in rows]
    words = words_of(askings, request.user)
    return [
        {
            "id": row.pk,
            "name": row.name,
            "dataset": row.dataset,
            "address": row.address,
            "url": request.build_absolute_uri(asking.url),
            "words": said,
            "place": place,
            "created_at": row.created_at,
            "looked_at": row.looked_at,
        }
        for place, (row, asking, said) in enumerate(
            zip(rows, askings, words, strict=True), first
        )
    ]


# --- Concepts


def told_concept_row(way: kept.Reached, request: Request) -> Told:
    """As answers.ConceptRow."""
    concept = way.concept
    return _told_shared(way, concept, request) | {
        "model": concept.model,
        "weights": concept.weights,
        "dimension": len(concept.embedding),
        "version": concept.version,
    }


def told_concept(way: kept.Reached, request: Request) -> Told:
    """As answers.ConceptAnswer."""
    return told_concept_row(way, request) | {
        "made_of": kept.how_made(way.concept, is_mine=way.is_mine),
        "embedding": way.concept.embedding.tolist(),
    }


def told_version(version: ConceptVersion, way: kept.Reached) -> Told:
    """As answers.VersionAnswer."""
    concept, how = way.concept, version.made_of
    return {
        "number": version.number,
        "created_at": version.created_at,
        "is_current": version.number == concept.version,
        "likeness": float(version.embedding @ concept.embedding),
        "made_of": how if way.is_mine else kept.openly(how),
    }
