"""The places that the command palette offers: pages, datasets, what a user keeps."""

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from search.rate_limits import limited
from search.retrieval import service

from .models import Collection, Concept, SavedSearch
from .saved_search.services import saved_query_of

MAX_OF_KIND = 300

Entry = dict[str, str]


@require_safe
@never_cache
@limited("item")
def palette(request: HttpRequest) -> JsonResponse:
    """Return groups of places, each with a label, a detail and an address."""
    user = request.user
    groups = {"Pages": _pages(request)}
    groups["Datasets"] = [
        _entry(each.title, each.get_absolute_url(), each.slug)
        for each in service.datasets(user)
    ]
    if user.is_authenticated:
        groups["Collections"] = [
            _entry(each.name, each.get_absolute_url(), each.pictures())
            for each in Collection.objects.owned_by(user)[:MAX_OF_KIND]
        ]
        groups["Saved searches"] = [
            _entry(each.name, saved_query_of(each).url)
            for each in SavedSearch.objects.visible_to(user)[:MAX_OF_KIND]
        ]
        groups["Concepts"] = [
            _entry(each.name, each.get_absolute_url())
            for each in Concept.objects.owned_by(user)[:MAX_OF_KIND]
        ]
    listed = [{"title": title, "entries": entries} for title, entries in groups.items()]
    return JsonResponse({"groups": listed})


def _pages(request: HttpRequest) -> list[Entry]:
    user = request.user
    pages: Iterable[tuple[str, str, bool]] = (
        ("Search", "search", True),
        ("Datasets", "datasets", True),
        ("Add dataset", "dataset-add", _is_staff(user)),
        ("My collections", "collections", user.is_authenticated),
        ("Public collections", "collections-public", True),
        ("My searches", "saved-searches", user.is_authenticated),
        ("Concepts", "concepts", user.is_authenticated),
        ("Exports", "exports", user.is_authenticated),
        ("Account", "account", user.is_authenticated),
        ("API", "api-docs", True),
        ("Help", "help", True),
        ("Admin", "admin:index", _is_staff(user)),
        ("Sign in", "account_login", not user.is_authenticated),
        ("Create account", "account_signup", not user.is_authenticated),
    )
    return [_entry(label, reverse(name)) for label, name, offered in pages if offered]


def _is_staff(user: Any) -> bool:
    return bool(user.is_staff)


def _entry(label: str, address: str, detail: str = "") -> Entry:
    return {"label": label, "address": address, "detail": detail}
