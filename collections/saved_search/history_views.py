"""Views of the search history: record, delete and clear."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from ..account.services import set_keeps_history
from ..responses import login_required, success, undo_by_token
from . import history, new_results, services
from .saved_query import checked


def _page() -> str:
    return reverse("saved-searches")


@require_POST
@login_required
def record_search(request: HttpRequest) -> HttpResponse:
    """Record a search whose hits are on the screen.

    For a saved search, return the shards that hold its new hits.
    """
    query = checked(request.POST.get("address", ""), request.user)
    is_kept = history.record(request.user, query)
    before = services.mark_viewed(request.user, query)
    new = new_results.new_shards(query.dataset, before) if before else []
    # Of several datasets, the page does not say which hits are new.
    shards = [] if "," in query.dataset else [number for _, number in new]
    return JsonResponse({"kept": is_kept, "new_shards": shards})


@require_POST
@login_required
def delete(request: HttpRequest, key: UUID) -> HttpResponse:
    entry = get_object_or_404(history.history_of(request.user), pk=key)
    undo = undo_by_token(reverse("restore-history"), history.delete(entry))
    return success(request, "Removed from your history.", _page(), undo)


@require_POST
@login_required
def restore(request: HttpRequest) -> HttpResponse:
    history.restore(request.user, request.POST.get("token", ""))
    return success(request, "Restored to your history.", _page())


@require_POST
@login_required
def clear(request: HttpRequest) -> HttpResponse:
    history.clear(request.user)
    return success(request, "History cleared.", _page())


@require_POST
@login_required
def keep(request: HttpRequest) -> HttpResponse:
    """Switch the history on or off; its entries stay until it is cleared."""
    keeps = request.POST.get("keep") == "yes"
    set_keeps_history(request.user, keeps)
    text = "on" if keeps else "off"
    return success(request, f"History is {text}.", _page())
