"""Serializers and fields that several resources of a user have in common."""

from typing import Any

from rest_framework import serializers
from rest_framework.serializers import (
    BooleanField,
    CharField,
    ChoiceField,
    DateTimeField,
    UUIDField,
)

from search.api.fields import (
    AddressField,
    ResponseSerializer,
    StrictSerializer,
    WordField,
    between,
)
from search.query.model import DEFAULT_LIMIT, MAX_PER_PAGE

from .. import sharing
from ..models.ownership import Shared
from ..sharing import Access

WHO_SEES = "`private`: you; `unlisted`: everyone with the link; `public`: everyone."


# --- Requests


def name_field(**options: Any) -> CharField:
    return CharField(max_length=120, **options)


def description_field(**options: Any) -> CharField:
    return CharField(max_length=2_000, allow_blank=True, **options)


def visibility_field(**options: Any) -> WordField:
    return WordField(Shared.Visibility.values, help_text=WHO_SEES, **options)


class PageParameters(StrictSerializer):
    in_address = True
    limit = serializers.IntegerField(default=DEFAULT_LIMIT, **between(1, MAX_PER_PAGE))
    cursor = CharField(
        default="", allow_blank=True, help_text="`next` of the answer before."
    )


class OpenOrMine(PageParameters):
    visibility = WordField(
        ["public"],
        required=False,
        help_text="`public`: the public ones of all users; by default yours.",
    )


# --- Responses


class SharedSerializer(ResponseSerializer):
    """Fields common to collections and concepts; the instance is an Access."""

    id = UUIDField(source="object.pk")
    name = CharField(source="object.name")
    description = CharField(source="object.description")
    is_mine = BooleanField(help_text="Whether you may change it.")
    visibility = ChoiceField(
        Shared.Visibility.values,
        allow_null=True,
        help_text="null for what is not yours.",
    )
    link = AddressField(
        allow_null=True,
        help_text="The URL to share; null if only you may see it, and for what is "
        "not yours.",
    )
    share_token = CharField(
        allow_null=True,
        help_text="Gives programs access at …/shared/<token>/; null if the link is.",
    )
    page = AddressField(help_text="The URL of its page.")
    created_at = DateTimeField(source="object.created_at")
    changed_at = DateTimeField(source="object.changed_at")

    def compute_visibility(self, access: Access) -> str | None:
        return access.object.visibility if access.is_mine else None

    def compute_link(self, access: Access) -> str | None:
        return sharing.link_of(access.object) if _has_link(access) else None

    def compute_share_token(self, access: Access) -> str | None:
        return access.object.share_token if _has_link(access) else None

    def compute_page(self, access: Access) -> str:
        return access.address()


def _has_link(access: Access) -> bool:
    """Return whether the user may give a link away."""
    return access.is_mine and access.object.visibility != Shared.Visibility.PRIVATE
