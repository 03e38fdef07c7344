"""What the API of a user's things answers with, told by serializers for the schema.

The answers themselves are made in telling.py; tests hold the two together.
"""

from collections.abc import Sequence

from django.urls import reverse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.serializers import (
    BooleanField,
    CharField,
    ChoiceField,
    DateTimeField,
    DictField,
    FloatField,
    IntegerField,
    ListField,
    UUIDField,
)

from search.api.fields import Json as Told
from search.api.fields import count_field, id_field
from search.api.item_serializers import THUMBNAIL
from search.query.url_params import safe_url
from search.retrieval.item_lookup import ItemState
from search.thumbnails import thumbnail_url

from .. import sharing
from ..collection.rows import states_of
from ..concept import services as concept_services
from ..models import Collection, CollectionItem, Concept, ConceptVersion, SavedSearch
from ..models.ownership import Shared
from ..pagination import Page
from ..saved_search import services as saved_search_services
from ..saved_search.search_address import words_of


def _next() -> CharField:
    return CharField(
        allow_null=True, help_text="The `cursor` of the next page; null at the end."
    )


class SharedAnswer(serializers.Serializer):
    """What collections and concepts have in common."""

    id = UUIDField()
    name = CharField()
    description = CharField()
    is_mine = BooleanField(help_text="Whether you may change it.")
    visibility = ChoiceField(
        Shared.Visibility.values,
        allow_null=True,
        help_text="null for what is not yours.",
    )
    link = CharField(
        allow_null=True,
        help_text="The address of the page to give away; null if only you see it, and "
        "for what is not yours.",
    )
    share_token = CharField(
        allow_null=True,
        help_text="By it programs read what is shared, at …/shared/<token>/; null as "
        "the link is.",
    )
    page = CharField(help_text="The address of its page.")
    created_at = DateTimeField()
    changed_at = DateTimeField()


class KeyAnswer(serializers.Serializer):
    """An item of a dataset."""

    dataset = CharField()
    id = id_field()


class CollectionAnswer(SharedAnswer):
    """A named set of items in an order made by hand."""

    size = count_field("How many items are in it.")
    cover = KeyAnswer(
        allow_null=True, help_text="The member that stands for all, if one was chosen."
    )


class CollectionPage(serializers.Serializer):
    results = CollectionAnswer(many=True)
    next = _next()


class MemberAnswer(KeyAnswer):
    """An item of a collection, with what was known of it when it came in."""

    standing = ChoiceField(
        [standing.value for standing in ItemState],
        help_text="`there`: it can be found. `gone`: its dataset has it no more. "
        "`removed`: it must not be shown any more, and the facts are left empty.",
    )
    place = IntegerField(
        min_value=1, help_text="In the order made by hand, counted from 1."
    )
    url = CharField(help_text="Where the picture was found; it may have gone.")
    caption = CharField()
    width = count_field("Pixels; 0 when it is not known.")
    height = count_field("Pixels; 0 when it is not known.")
    nsfw = CharField(help_text="The dataset's own word for it, such as UNLIKELY.")
    license = CharField()
    note = CharField(allow_null=True, help_text="null in what is not yours.")
    added_at = DateTimeField()
    thumbnail = CharField(
        allow_null=True,
        help_text="The address of a small picture; null where there can be none.",
    )
    page = CharField(
        allow_null=True, help_text="The address of the item's page, if it is there."
    )


class MemberPage(serializers.Serializer):
    results = MemberAnswer(many=True)
    next = _next()


class AddedAnswer(serializers.Serializer):
    """What came of adding items."""

    new = count_field("How many came in.")
    there = count_field("How many were in it before.")
    unknown = count_field("How many are not in their datasets.")
    size = count_field("How many items are in it now.")


class RemovedAnswer(serializers.Serializer):
    removed = count_field("How many were in it before.")
    size = count_field("How many items are in it now.")


class SavedSearchAnswer(serializers.Serializer):
    """A search with a name, to run again."""

    id = UUIDField()
    name = CharField()
    dataset = CharField()
    address = CharField(help_text="The query string of the search page.")
    url = CharField(help_text="The address of the search page for it.")
    words = ListField(
        child=CharField(), help_text="What it asks for, and how, in words."
    )
    place = IntegerField(min_value=1, help_text="Among yours, counted from 1.")
    created_at = DateTimeField()
    looked_at = DateTimeField(help_text="When its hits were looked at last.")


class SavedSearchDetail(SavedSearchAnswer):
    new = IntegerField(
        min_value=0,
        allow_null=True,
        help_text="How many of its nearest 200 hits came in since it was looked at; "
        "null when nothing came in, or when it cannot be searched any more.",
    )


class SavedSearchPage(serializers.Serializer):
    results = SavedSearchAnswer(many=True)
    next = _next()


class ConceptRow(SharedAnswer):
    """A tuned embedding with a name, a term of searches in datasets of its model."""

    model = CharField(help_text="The model that made the embedding.")
    weights = CharField(help_text="Those of the model; empty when it has but one.")
    dimension = IntegerField(min_value=1, help_text="Numbers of the embedding.")
    version = IntegerField(min_value=1, help_text="The number of the current version.")


class ConceptPage(serializers.Serializer):
    results = ConceptRow(many=True)
    next = _next()


MADE_OF = (
    "Where the vector comes from, as far as it is known: `dataset`, `search`, `words`, "
    "`rounds`, `good`, `bad`, `strength`, `file`, `restored_from`. Of what is not "
    "yours, neither the search nor the marks."
)


class ConceptAnswer(ConceptRow):
    made_of = DictField(help_text=MADE_OF)
    embedding = ListField(
        child=FloatField(), help_text="That of the current version, of unit length."
    )


class VersionAnswer(serializers.Serializer):
    """A vector that a concept has or had."""

    number = IntegerField(min_value=1)
    created_at = DateTimeField()
    is_current = BooleanField()
    likeness = FloatField(help_text="The cosine of its vector and the current one.")
    made_of = DictField(help_text=MADE_OF)


class VersionPage(serializers.Serializer):
    results = VersionAnswer(many=True)
    next = _next()


FACTS = ("url", "caption", "width", "height", "nsfw", "license")
NO_FACTS = {
    "url": "",
    "caption": "",
    "width": 0,
    "height": 0,
    "nsfw": "",
    "license": "",
}


def page_json(results: list[Told], cut: Page) -> Told:
    return {"results": results, "next": cut.next or None}


def _told_shared(
    way: sharing.Access,
    thing: Collection | Concept,
    request: Request,
) -> Told:
    """As answers.SharedAnswer."""
    given_away = way.is_mine and thing.visibility != thing.Visibility.PRIVATE
    link = request.build_absolute_uri(sharing.link_of(thing)) if given_away else None
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


def collections_json(
    ways: Sequence[sharing.Access[Collection]], request: Request
) -> list[Told]:
    """As answers.CollectionAnswer."""
    chosen = {way.object.cover_id for way in ways} - {None}
    # A cover that is no member any more is none.
    covers = CollectionItem.objects.in_bulk(chosen)
    return [
        _told_shared(way, way.object, request)
        | {
            "size": way.object.size,
            "cover": _key(covers.get(way.object.cover_id)),
        }
        for way in ways
    ]


def collection_json(way: sharing.Access[Collection], request: Request) -> Told:
    return collections_json([way], request)[0]


def _key(member: CollectionItem | None) -> Told | None:
    return {"dataset": member.dataset, "id": member.item} if member else None


def members_json(
    members: Sequence[CollectionItem], first: int, is_mine: bool, request: Request
) -> list[Told]:
    """As answers.MemberAnswer; `first` is the place of the first one.

    Of what must not be shown there are no facts. Raises SearchUnavailable, since the
    engine knows what that is.
    """
    standings = states_of(list(members))
    return [
        _told_member(member, standings[member.dataset, member.item], request)
        | {"place": place, "note": member.note if is_mine else None}
        for place, member in enumerate(members, first)
    ]


def _told_member(member: CollectionItem, standing: ItemState, request: Request) -> Told:
    facts = {name: getattr(member, name) for name in FACTS}
    if standing is ItemState.REMOVED:
        facts = NO_FACTS
    picture = page = None
    if standing is ItemState.THERE:
        page = reverse("item", args=[member.dataset, member.item])
        if safe_url(member.url):
            picture = thumbnail_url(member.dataset, member.item, THUMBNAIL)
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


def searches_json(
    rows: Sequence[SavedSearch], first: int, request: Request
) -> list[Told]:
    """As answers.SavedSearchAnswer; `first` is the place of the first one."""
    askings = [saved_search_services.saved_query_of(row) for row in rows]
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


def concept_row_json(way: sharing.Access[Concept], request: Request) -> Told:
    """As answers.ConceptRow."""
    concept = way.object
    return _told_shared(way, concept, request) | {
        "model": concept.model,
        "weights": concept.weights,
        "dimension": len(concept.embedding),
        "version": concept.version,
    }


def concept_json(way: sharing.Access[Concept], request: Request) -> Told:
    """As answers.ConceptAnswer."""
    return concept_row_json(way, request) | {
        "made_of": concept_services.how_made(way.object, is_mine=way.is_mine),
        "embedding": way.object.embedding.tolist(),
    }


def version_json(version: ConceptVersion, way: sharing.Access[Concept]) -> Told:
    """As answers.VersionAnswer."""
    concept, how = way.object, version.made_of
    return {
        "number": version.number,
        "created_at": version.created_at,
        "is_current": version.number == concept.version,
        "likeness": float(version.embedding @ concept.embedding),
        "made_of": how if way.is_mine else concept_services.openly(how),
    }
