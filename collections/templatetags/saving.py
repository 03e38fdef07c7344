"""Template tag of the control that saves the search on the page."""

from typing import Any, NamedTuple

from django import template

from ..models import SavedSearch
from ..saved_search.saved_query import SavedQuery, canonical
from ..saved_search.services import find_same

register = template.Library()


class CurrentSearch(NamedTuple):
    query: SavedQuery
    name: str  # the suggested one
    saved: SavedSearch | None


@register.simple_tag(takes_context=True)
def current_search(
    context: dict[str, Any], address: str, dataset: str
) -> CurrentSearch:
    """Return a search as it would be saved, and what the user has saved of it."""
    query, user = canonical(address, dataset), context["request"].user
    return CurrentSearch(query, query.name(user), find_same(user, query))
