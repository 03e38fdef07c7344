"""What the search page needs to know of a user's saved searches."""

from typing import Any, NamedTuple

from django import template

from ..models import SavedSearch
from ..saved_search import services
from ..saved_search.search_address import SavedQuery, canonical

register = template.Library()


class Kept(NamedTuple):
    asking: SavedQuery
    name: str  # that is proposed
    saved: SavedSearch | None


@register.simple_tag(takes_context=True)
def kept_search(context: dict[str, Any], address: str, dataset: str) -> Kept:
    """A search as it would be kept, and the one that this user has saved of it."""
    asking, user = canonical(address, dataset), context["request"].user
    return Kept(asking, asking.name(user), services.find_same(user, asking))
