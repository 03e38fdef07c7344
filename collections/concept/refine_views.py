"""Views of the bar under the results: refine a search, and show its rounds."""

import logging
import math
import uuid
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from search.errors import InvalidQuery, SearchError
from search.models import Dataset
from search.query.filters import MAX_EXCLUDED, UNRESTRICTED
from search.rate_limits import limited, limiter
from search.retrieval import service
from search.retrieval.feedback import MAX_MARKS, STRENGTHS
from search.retrieval.items import check_item_id

from ..models import Concept, Refinement, Round
from ..models.ownership import AnyUser
from ..responses import errors_as_messages, wants_json
from ..saved_search.saved_query import checked
from . import rounds
from .rounds import RefinedSearch, address_of
from .visitor import known_visitor, visitor

MAX_SHOWN = 5_000

logger = logging.getLogger(__name__)


def refinement_state(
    before: RefinedSearch,
    refinement: Refinement,
    current: Round | None,
    with_seen: bool,
) -> dict[str, Any]:
    """Return what the bar shows: the steps, the current one, and its marks."""
    rounds = list(refinement.rounds.order_by("number", "created_at"))
    current_id = current.pk if current else None
    path = _path_to(current, rounds)
    following = [each for each in rounds if each.parent_id == current_id]
    state = {
        "steps": [
            _step(each, name, before, refinement, rounds, path)
            for each, name in _step_names(rounds)
        ],
        "current": str(current_id or ""),
        "label": refinement.label,
        "good": current.good if current else [],
        "bad": current.bad if current else [],
        "strength": current.strength if current else None,
        "back": _address(current.parent, refinement, before) if current else "",
        "ahead": address_of(following[-1], before) if following else "",
    }
    if current:
        state["with_seen"] = with_seen
        state["other"] = address_of(current, before, not with_seen)
    return state


def _step(
    each: Round | None,
    name: str,
    before: RefinedSearch,
    refinement: Refinement,
    rounds: list[Round],
    path: set[UUID],
) -> dict[str, Any]:
    key = each.pk if each else None
    following = [found for found in rounds if found.parent_id == key]
    # Of several following rounds, prefer the one that leads to the current one.
    chosen = [found for found in following if found.pk in path] or following
    return {
        "id": str(key or ""),
        "name": name,
        "address": _address(each, refinement, before),
        "on_way": key is None or key in path,
        "marks": _count_marks(each, chosen[-1]) if chosen else None,
    }


def _count_marks(shown: Round | None, marked: Round) -> dict[str, int]:
    """Return how many hits of a round were marked, and how many of these as good."""
    before = {*shown.good, *shown.bad} if shown else set()
    good, bad = set(marked.good) - before, set(marked.bad) - before
    return {"good": len(good), "all": len(good) + len(bad)}


def _path_to(current: Round | None, rounds: list[Round]) -> set[UUID]:
    """Return the ids of a round and its ancestors."""
    by_id: dict[UUID | None, Round] = {each.pk: each for each in rounds}
    path = set()
    while current is not None:
        path.add(current.pk)
        current = by_id.get(current.parent_id)
    return path


def _step_names(rounds: list[Round]) -> list[tuple[Round | None, str]]:
    """Name the rounds Start, 1, 2, and 2b for a second one of the same number."""
    named: list[tuple[Round | None, str]] = [(None, "Start")]
    count = 0
    for place, each in enumerate(rounds):
        is_first = place == 0 or rounds[place - 1].number != each.number
        count = 0 if is_first else count + 1
        letter = chr(ord("a") + count) if 0 < count < 26 else ""
        named.append((each, f"{each.number}{letter}"))
    return named


def _address(each: Round | None, refinement: Refinement, before: RefinedSearch) -> str:
    if each is None:
        return f"{reverse('search')}?{refinement.address}"
    return address_of(each, before)


@require_POST
@errors_as_messages
@limited("refine")
def refine(request: HttpRequest) -> HttpResponse:
    """Retune a search by marks on its hits; return the address of the round's search.

    `search` is its query string; `good`, `bad` and `shown` are comma-separated ids.
    """
    data = request.POST
    good = _ids(data.get("good", ""), MAX_MARKS)
    bad = _ids(data.get("bad", ""), MAX_MARKS)
    marks = rounds.Marks(
        good=good,
        bad=tuple(item for item in bad if item not in good),
        shown=_ids(data.get("shown", ""), MAX_EXCLUDED),
        strength=_strength(data.get("strength", "1")),
    )
    saved = checked(data.get("search", ""), request.user)
    before = rounds.read_refined_search(saved, request.get_host(), request.user)
    made = rounds.refine(before, marks, known_visitor(request), limiter(request))
    address = rounds.address_of(made, before)
    if wants_json(request):
        return JsonResponse({"id": str(made.pk), "address": address})
    # Django's redirect refuses addresses as long as those of large embeddings.
    return HttpResponse(status=303, headers={"Location": address})


@require_safe
@limited("item")
@never_cache
def history(request: HttpRequest) -> HttpResponse:
    """Return the steps of the visitor's refinement that a search is part of."""
    me = visitor(request)
    try:
        saved = checked(request.GET.get("search", ""), request.user)
        before = rounds.read_refined_search(saved, request.get_host(), request.user)
    except SearchError:
        return JsonResponse({"steps": []})  # the search page shows the error
    current = rounds.own_round(before.query, me)
    refinement = current.refinement if current else rounds.refinement_from(saved, me)
    if refinement is None:
        return JsonResponse({"steps": []})
    state = refinement_state(before, refinement, current, _with_seen(before))
    marked = [*state["good"], *state["bad"]]
    state["veiled"] = _veiled(before, marked, request.user)
    dataset = Dataset.for_slug(refinement.dataset, request.user)
    mine = Concept.objects.owned_by(request.user).filter(
        model=dataset.model, weights=dataset.weights
    )
    state["concepts"] = [
        {"id": str(key), "name": name} for key, name in mine.values_list("pk", "name")
    ]
    return JsonResponse(state)


def _veiled(before: RefinedSearch, ids: list[int], user: AnyUser) -> list[int]:
    """Return the items whose images the page blurs: all, while the engine is down."""
    shows_unrated = before.query.filters.nsfw == UNRESTRICTED
    try:
        hits = service.hits_by_id(before.query.dataset, ids, user)
    except SearchError as error:
        logger.warning("All marks are blurred: %s", error.message)
        return ids
    return [i for i in ids if i not in hits or hits[i].is_veiled(shows_unrated)]


def _with_seen(before: rounds.RefinedSearch) -> bool:
    concept = before.query.terms[0].concept
    return concept is not None and uuid.UUID(concept).version == 8


def _ids(text: str, maximum: int) -> tuple[int, ...]:
    """Parse comma-separated item ids; each is returned once. Raises InvalidQuery."""
    parts = [part for part in text.split(",") if part.strip()]
    if len(parts) > maximum:
        raise InvalidQuery(f"A round takes up to {maximum:,} images of each kind.")
    try:
        return tuple(dict.fromkeys(check_item_id(int(part)) for part in parts))
    except ValueError:
        raise InvalidQuery("These are not item IDs.") from None


def _strength(text: str) -> float:
    try:
        strength = float(text)
    except ValueError:
        strength = math.nan
    low, high = STRENGTHS
    if not low <= strength <= high:
        raise InvalidQuery(f"The strength must be between {low:g} and {high:g}.")
    return strength
