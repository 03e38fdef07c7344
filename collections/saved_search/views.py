"""Saved searches: their page, and what can be done with one of them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from search.errors import SearchError, TooManyRequests
from search.models import Dataset
from search.rate_limits import limiter
from search.retrieval.column_stats import has_safety

from ..account.services import keeps_history
from ..models import HistoryEntry, SavedSearch
from ..responses import login_required, success
from ..sharing import parse_uuid
from . import history, new_results, services
from .search_address import SavedQuery, checked, words_of

SHOWN_AT_FIRST = 50  # of the history


@dataclass(frozen=True)
class Row:
    """A search on the page. `title` is its dataset's, "" if that is gone."""

    kept: SavedSearch | HistoryEntry
    asking: SavedQuery
    words: list[str]
    title: str


@require_safe
@never_cache
@login_required
def searches(request: HttpRequest) -> HttpResponse:
    titles = dict(Dataset.objects.values_list("slug", "title"))
    entries = history.history_of(request.user)
    count = entries.count()
    if "all" not in request.GET:
        entries = entries[:SHOWN_AT_FIRST]
    mine = list(services.saved_searches_of(request.user))
    words = words_of([services.saved_query_of(each) for each in mine], request.user)
    context = {
        "rows": [
            _row(each, titles, said) for each, said in zip(mine, words, strict=True)
        ],
        "days": [
            (day, [_row(entry, titles, [entry.label]) for entry in of_day])
            for day, of_day in history.by_day(entries)
        ],
        "history_count": count,
        "more_history": count > len(entries),
        "keeps_history": keeps_history(request.user),
        "most_name": services.MAX_NAME_LENGTH,
    }
    return render(request, "saved_search/page.html", context)


def _row(
    kept: SavedSearch | HistoryEntry, titles: dict[str, str], words: list[str]
) -> Row:
    asking = SavedQuery(kept.dataset, kept.address)
    return Row(kept, asking, words, titles.get(kept.dataset, ""))


def _page() -> str:
    return reverse("saved-searches")


def _mine(request: HttpRequest, key: UUID) -> SavedSearch:
    return get_object_or_404(services.saved_searches_of(request.user), pk=key)


@require_safe
@never_cache
@login_required
def preview(request: HttpRequest, key: UUID) -> HttpResponse:
    """The first pictures of a saved search, and how many of all are new."""
    search = _mine(request, key)
    context: dict[str, Any] = {
        "saved": search,
        "since": new_results.since_text(search.looked_at),
    }
    try:
        found = new_results.cached_preview(
            search,
            request.user,
            request.get_host(),
            limiter(request),
        )
        unsafe = services.saved_query_of(search).form.asked["nsfw"] == "any"
        dataset = Dataset.for_slug(search.dataset)
        context["veiled"] = not (unsafe or has_safety(dataset))
        context["glance"] = found
    except TooManyRequests:
        context["error"] = "Too many searches at once. Reload the page in a minute."
    except SearchError as error:
        context["error"] = error.message
    return render(request, "saved_search/_glance.html", context)


@require_POST
@login_required
def save(request: HttpRequest) -> HttpResponse:
    asking = checked(request.POST.get("address", ""))
    search, is_new = services.save(request.user, asking, request.POST.get("name", ""))
    told: dict[str, Any] = {"id": search.pk, "name": search.name}
    if not is_new:
        text = f"You have saved this search already, as “{search.name}”."
        return success(request, text, _page(), **told)
    undo = {"url": reverse("delete-search", args=[search.pk]), "data": {}}
    text = f"Saved as “{search.name}”."
    return success(request, text, _page(), undo, **told)


@require_POST
@login_required
def rename(request: HttpRequest, key: UUID) -> HttpResponse:
    search = _mine(request, key)
    undo = {"url": request.path, "data": {"name": search.name}}
    services.rename(search, request.POST.get("name", ""))
    return success(
        request, f"Renamed to “{search.name}”.", _page(), undo, name=search.name
    )


@require_POST
@login_required
def change(request: HttpRequest, key: UUID) -> HttpResponse:
    """Has it ask for what stands in `address`."""
    search = _mine(request, key)
    asking = checked(request.POST.get("address", ""))
    undo = {"url": request.path, "data": {"address": search.address}}
    services.change(search, asking)
    text = f"“{search.name}” asks for this from now on."
    return success(request, text, _page(), undo, name=search.name)


@require_POST
@login_required
def move(request: HttpRequest, key: UUID) -> HttpResponse:
    """Behind the search `after`, first where that is empty; or a `step` up or down."""
    search = _mine(request, key)
    if step := request.POST.get("step"):
        services.move_one_step(search, down=step == "down")
    else:
        after = request.POST.get("after", "")
        services.move(
            search, _mine(request, parse_uuid(after, Http404())) if after else None
        )
    return success(request, f"Moved “{search.name}”.", _page())


@require_POST
@login_required
def delete(request: HttpRequest, key: UUID) -> HttpResponse:
    search = _mine(request, key)
    undo = {
        "url": reverse("restore-search"),
        "data": {"deleted": services.delete(search)},
    }
    return success(request, f"Deleted “{search.name}”.", _page(), undo)


@require_POST
@login_required
def restore(request: HttpRequest) -> HttpResponse:
    search = services.restore(request.user, request.POST.get("deleted", ""))
    return success(request, f"“{search.name}” is back.", _page())
