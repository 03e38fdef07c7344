"""The page of saved searches and history, and changes of one saved search."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from search.errors import SearchError, TooManyRequests
from search.models import Dataset
from search.query.filters import UNRESTRICTED
from search.query.model import split_slugs
from search.rate_limits import limiter

from ..account.services import keeps_history
from ..models import HistoryEntry, SavedSearch
from ..models.saved_search import MAX_NAME_LENGTH
from ..responses import login_required, success, undo_by_token
from ..sharing import parse_uuid
from . import history, new_results, services
from .saved_query import SavedQuery, checked, words_of

MAX_SHOWN = 50  # of the history, at first


@dataclass(frozen=True)
class Row:
    """A search on the page."""

    entry: SavedSearch | HistoryEntry
    query: SavedQuery
    words: Sequence[str]
    title: str  # of its dataset; "" if that was deleted


@dataclass(frozen=True, kw_only=True)
class PageContext:
    """The context of saved_search/page.html."""

    rows: list[Row]
    days: list[tuple[date, list[Row]]]  # the history
    history_count: int
    more_history: bool
    keeps_history: bool
    max_name: int


@dataclass(frozen=True, kw_only=True)
class PreviewContext:
    """The context of saved_search/_glance.html: a preview or an error."""

    saved: SavedSearch
    since: str
    glance: new_results.Preview | None = None
    shows_unrated: bool = False  # without blurring them
    error: str = ""


@require_safe
@never_cache
@login_required
def searches(request: HttpRequest) -> HttpResponse:
    datasets = Dataset.objects.visible_to(request.user)
    titles = dict(datasets.values_list("slug", "title"))
    entries = history.history_of(request.user)
    count = entries.count()
    if "all" not in request.GET:
        entries = entries[:MAX_SHOWN]
    mine = list(services.saved_searches_of(request.user))
    words = words_of([services.saved_query_of(each) for each in mine], request.user)
    context = PageContext(
        rows=[
            _row(each, titles, its_words)
            for each, its_words in zip(mine, words, strict=True)
        ],
        days=[
            (day, [_row(entry, titles, [entry.label]) for entry in of_day])
            for day, of_day in history.by_day(entries)
        ],
        history_count=count,
        more_history=count > len(entries),
        keeps_history=keeps_history(request.user),
        max_name=MAX_NAME_LENGTH,
    )
    return render(request, "saved_search/page.html", vars(context))


def _row(
    entry: SavedSearch | HistoryEntry, titles: dict[str, str], words: Sequence[str]
) -> Row:
    query = SavedQuery(entry.dataset, entry.address)
    slugs = split_slugs(entry.dataset)
    known = [titles[slug] for slug in slugs if slug in titles]
    title = " and ".join(known) if len(known) == len(slugs) else ""
    return Row(entry, query, words, title)


@require_safe
@never_cache
@login_required
def preview(request: HttpRequest, key: UUID) -> HttpResponse:
    """Show the first images of a saved search, and how many hits are new."""
    context = _preview_context(request, _find_mine(request, key))
    return render(request, "saved_search/_glance.html", vars(context))


def _preview_context(request: HttpRequest, saved: SavedSearch) -> PreviewContext:
    since, error = new_results.since_text(saved.looked_at), ""
    try:
        found = new_results.cached_preview(
            saved,
            request.user,
            request.get_host(),
            limiter(request),
        )
        nsfw = services.saved_query_of(saved).form.params["nsfw"]
        return PreviewContext(
            saved=saved, since=since, glance=found, shows_unrated=nsfw == UNRESTRICTED
        )
    except TooManyRequests:
        error = "Too many searches at once. Reload the page in a minute."
    except SearchError as search_error:
        error = search_error.message
    return PreviewContext(saved=saved, since=since, error=error)


@require_POST
@login_required
def save(request: HttpRequest) -> HttpResponse:
    query = checked(request.POST.get("address", ""), request.user)
    saved, is_new = services.save(request.user, query, request.POST.get("name", ""))
    about: dict[str, Any] = {"id": saved.pk, "name": saved.name}
    if not is_new:
        text = f"You already saved this search as “{saved.name}”."
        return success(request, text, _page(), **about)
    undo = {"url": reverse("delete-search", args=[saved.pk]), "data": {}}
    return success(request, f"Saved as “{saved.name}”.", _page(), undo, **about)


@require_POST
@login_required
def rename(request: HttpRequest, key: UUID) -> HttpResponse:
    saved = _find_mine(request, key)
    undo = {"url": request.path, "data": {"name": saved.name}}
    services.rename(saved, request.POST.get("name", ""))
    text = f"Renamed to “{saved.name}”."
    return success(request, text, _page(), undo, name=saved.name)


@require_POST
@login_required
def change(request: HttpRequest, key: UUID) -> HttpResponse:
    """Replace the query by the one in `address`."""
    saved = _find_mine(request, key)
    query = checked(request.POST.get("address", ""), request.user)
    undo = {"url": request.path, "data": {"address": saved.address}}
    services.change(saved, query)
    text = f"Updated “{saved.name}”."
    return success(request, text, _page(), undo, name=saved.name)


@require_POST
@login_required
def move(request: HttpRequest, key: UUID) -> HttpResponse:
    """Move a search behind `after` (to the front if empty), or a `step` up or down."""
    saved = _find_mine(request, key)
    if step := request.POST.get("step"):
        services.move_one_step(saved, down=step == "down")
    elif after := request.POST.get("after", ""):
        services.move(saved, _find_mine(request, parse_uuid(after, Http404())))
    else:
        services.move(saved, None)
    return success(request, f"Moved “{saved.name}”.", _page())


@require_POST
@login_required
def delete(request: HttpRequest, key: UUID) -> HttpResponse:
    saved = _find_mine(request, key)
    undo = undo_by_token(reverse("restore-search"), services.delete(saved))
    return success(request, f"Deleted “{saved.name}”.", _page(), undo)


@require_POST
@login_required
def restore(request: HttpRequest) -> HttpResponse:
    """Undo a deletion."""
    saved = services.restore(request.user, request.POST.get("token", ""))
    return success(request, f"Restored “{saved.name}”.", _page())


def _find_mine(request: HttpRequest, key: UUID) -> SavedSearch:
    return get_object_or_404(services.saved_searches_of(request.user), pk=key)


def _page() -> str:
    return reverse("saved-searches")
