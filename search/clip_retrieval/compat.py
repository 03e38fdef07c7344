"""Translate the requests of clip-retrieval's clients into searches.

use_mclip, aesthetic_score, aesthetic_weight and use_violence_detector have no
counterpart here and are ignored.
"""

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest
from django.urls import Resolver404, resolve
from rest_framework import serializers

from search.api.fields import ShortListField
from search.api.serializers import MAX_NUMBERS, image_bytes
from search.errors import InvalidQuery
from search.links import is_local_image, link_of
from search.query.filters import LAST_ITEM
from search.query.model import MAX_RESULTS, Term
from search.request_bodies import check_json
from search.retrieval import service

IMAGE = "image"  # the modality; any other one searches captions
DIGITS = len(str(LAST_ITEM))


class KnnSerializer(serializers.Serializer):
    """The body of POST /knn-service; null and empty values count as missing."""

    text = serializers.CharField(
        default=None, allow_null=True, allow_blank=True, trim_whitespace=False
    )
    image = serializers.CharField(default=None, allow_null=True, allow_blank=True)
    image_url = serializers.CharField(default=None, allow_null=True, allow_blank=True)
    embedding_input = ShortListField(
        child=serializers.FloatField(),
        default=None,
        allow_null=True,
        max_length=MAX_NUMBERS,
    )
    modality = serializers.CharField()
    num_images = serializers.IntegerField(min_value=0)
    num_result_ids = serializers.IntegerField(
        default=None, allow_null=True, min_value=0
    )
    indice_name = serializers.CharField(allow_null=True, allow_blank=True)
    deduplicate = serializers.BooleanField(default=False, allow_null=True)
    use_safety_model = serializers.BooleanField(default=True, allow_null=True)

    @property
    def field(self) -> str:
        return "image" if self.validated_data["modality"] == IMAGE else "text"

    @property
    def nsfw(self) -> str:
        """Return "safe" unless the safety model is explicitly false."""
        return "any" if self.validated_data["use_safety_model"] is False else "safe"

    @property
    def detailed_count(self) -> int:
        """Return how many of the first results come with their metadata."""
        return self.validated_data["num_images"]

    @property
    def count(self) -> int:
        """Return the number of results, capped at MAX_RESULTS. Raises InvalidQuery."""
        wanted = self.validated_data["num_result_ids"]
        if wanted is None:
            wanted = self.detailed_count
        if not wanted:
            raise InvalidQuery("num_images: Ask for one result at least.")
        return min(wanted, MAX_RESULTS)

    def term(self) -> Term:
        """Return the text, else the image, its URL or the embedding.

        Raises InvalidQuery.
        """
        given = self.validated_data
        if given["text"]:
            return Term(text=given["text"])
        if given["image"]:
            # Base64 may contain line breaks.
            return Term(image=image_bytes("".join(given["image"].split())))
        if given["image_url"]:
            return Term(image_url=given["image_url"])
        if given["embedding_input"]:
            return Term(embedding=tuple(given["embedding_input"]))
        raise InvalidQuery(
            "There is nothing to search for: give a text, an image, an image_url or "
            "an embedding_input."
        )


def ids_of(body: dict[str, Any]) -> list[int | None]:
    """Return the ids in the body of POST /metadata; None for impossible ones.

    clip-front sends ids of more than 15 digits as strings. Raises InvalidQuery.
    """
    ids = body.get("ids")
    if not isinstance(ids, list):
        raise InvalidQuery("ids: Give a list of ids.")
    if len(ids) > MAX_RESULTS:
        raise InvalidQuery(f"ids: At most {MAX_RESULTS:,} are taken.")
    return [_id(given) for given in ids]


def _id(given: Any) -> int | None:
    if isinstance(given, str) and given.isdecimal() and given.isascii():
        given = int(given) if len(given) <= DIGITS else LAST_ITEM + 1
    if isinstance(given, bool) or not isinstance(given, int):
        raise InvalidQuery("ids: An id is a whole number.")
    return given if 0 <= given <= LAST_ITEM else None


def parse_body(data: bytes, max_bytes: int) -> dict[str, Any]:
    """Return the JSON object in a body of any content type. Raises InvalidQuery."""
    check_json(data, max_bytes)
    try:
        body = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidQuery("The body of the request is not JSON.") from error
    if not isinstance(body, dict):
        raise InvalidQuery("The body of the request is not a JSON object.")
    return body


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def with_stored_embedding(term: Term, slug: str, request: HttpRequest) -> Term:
    """Return a term of an item's URL as one of the item's stored embedding.

    The URL is that of the item's image, of its page here or of its thumbnail; the item
    is of this dataset. Other terms are returned unchanged.
    """
    if term.image_url is None:
        return term
    item_id = _item(term.image_url, slug, request)
    if item_id is None:
        return term
    found = service.embeddings(slug, "image", [item_id], request.user)
    if item_id not in found:
        return term
    return replace(term, image_url=None, embedding=tuple(found[item_id].tolist()))


def shown_url(url: str, request: HttpRequest) -> str:
    """Return an item's URL as a link, absolute also for a path on this server."""
    link = link_of(url)
    return request.build_absolute_uri(link) if is_local_image(link) else link


def _item(url: str, slug: str, request: HttpRequest) -> int | None:
    try:
        parts = urlsplit(url)
        found = resolve(parts.path) if parts.netloc == request.get_host() else None
    except (ValueError, Resolver404):
        found = None
    if found and found.view_name in ("item", "thumbnail"):
        item_id = found.kwargs["item_id"]
        ours = found.kwargs["slug"] == slug and item_id <= LAST_ITEM
        return item_id if ours else None
    is_local = found is not None and is_local_image(parts.path)
    known_url = parts.path if is_local else url
    return service.item_id_by_url(slug, known_url, request.user)
