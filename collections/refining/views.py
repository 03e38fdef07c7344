"""Rounds of refining, as the bar under the results asks for them."""

import math
import uuid

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from search.errors import InvalidQuery, SearchError
from search.rate_limits import limited
from search.retrieval.feedback import MOST_MARKS, STRENGTHS
from search.retrieval.items import checked_id
from search.retrieval.service import dataset_named

from ..collecting.answers import told, wants_json
from ..models import Concept
from ..saving.addresses import checked
from . import history as steps
from . import rounds
from .visitors import known_visitor, visitor

MOST_SHOWN = 5_000


@require_POST
@told
@limited("refine")
def refine(request: HttpRequest) -> HttpResponse:
    """Retunes a search by marks on its hits; answers where to find the round's hits.

    `search` is its query string, `good`, `bad` and `shown` are ids between commas.
    """
    given = request.POST
    good = _ids(given.get("good", ""), MOST_MARKS)
    bad = _ids(given.get("bad", ""), MOST_MARKS)
    marks = rounds.Marks(
        good=good,
        bad=tuple(item for item in bad if item not in good),
        shown=_ids(given.get("shown", ""), MOST_SHOWN),
        strength=_strength(given.get("strength", "1")),
    )
    asking = checked(given.get("search", ""))
    before = rounds.searched(asking, request.user, request.get_host())
    made = rounds.refine(before, marks, known_visitor(request))
    address = rounds.address_of(made, before)
    if wants_json(request):
        return JsonResponse({"id": str(made.pk), "address": address})
    # Django's redirect refuses addresses as long as those of large embeddings.
    return HttpResponse(status=303, headers={"Location": address})


@require_safe
@limited("item")
@never_cache
def history(request: HttpRequest) -> HttpResponse:
    """The steps of the refinement that a search is part of; of another's, nothing."""
    me = visitor(request)
    try:
        asking = checked(request.GET.get("search", ""))
        before = rounds.searched(asking, request.user, request.get_host())
    except SearchError:
        return JsonResponse({"steps": []})  # the page of this search says what is wrong
    current = rounds.own_round(before.asked, me)
    refinement = current.refinement if current else rounds.begun_at(asking, me)
    if refinement is None:
        return JsonResponse({"steps": []})
    told = steps.told(before, refinement, current, _with_seen(before))
    dataset = dataset_named(refinement.dataset)
    mine = Concept.objects.owned_by(request.user).filter(
        model=dataset.model, weights=dataset.weights
    )
    told["concepts"] = [
        {"id": str(key), "name": name} for key, name in mine.values_list("pk", "name")
    ]
    return JsonResponse(told)


def _with_seen(before: rounds.Searched) -> bool:
    concept = before.asked.terms[0].concept
    return concept is not None and uuid.UUID(concept).version == 8


def _ids(text: str, most: int) -> tuple[int, ...]:
    """Each once, in their order. Raises InvalidQuery for what is no list of ids."""
    given = [part for part in text.split(",") if part.strip()]
    if len(given) > most:
        raise InvalidQuery(f"A round takes up to {most:,} pictures of a kind.")
    try:
        return tuple(dict.fromkeys(checked_id(int(part)) for part in given))
    except ValueError:
        raise InvalidQuery("These are not the numbers of items.") from None


def _strength(text: str) -> float:
    try:
        strength = float(text)
    except ValueError:
        strength = math.nan
    least, most = STRENGTHS
    if not least <= strength <= most:
        raise InvalidQuery(f"The strength lies between {least:g} and {most:g}.")
    return strength
