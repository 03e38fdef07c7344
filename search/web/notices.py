"""The notices on imports that every page of their starter shows."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from search.ingestion.notices import Notice, notices_for

from .staff import may


def import_notices(request: HttpRequest) -> dict[str, Any]:
    """Return the notices as a variable of templates, looked up if one shows it."""
    return {"import_notices": SimpleLazyObject(lambda: _notices(request))}


def _notices(request: HttpRequest) -> list[Notice]:
    user = getattr(request, "user", None)
    if user is None or not user.is_staff or not may(user, "change"):
        return []
    shown = request.resolver_match
    is_import = shown is not None and shown.url_name == "ingestion"
    slug = shown.kwargs.get("slug") if shown and is_import else None
    return [each for each in notices_for(user) if each.dataset.slug != slug]
