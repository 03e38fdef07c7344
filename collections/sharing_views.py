"""Views that edit, share, delete and restore a collection or a concept.

The URL patterns name the model.
"""

from collections.abc import Callable
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from search.errors import check_form
from search.rate_limits import limited

from . import sharing
from .collection import services as collection_services
from .concept import services as concept_services
from .forms import (
    CollectionForm,
    CollectionVisibilityForm,
    ConceptForm,
    ConceptVisibilityForm,
)
from .models import Collection, Concept
from .models.ownership import Shared
from .responses import errors_as_messages, success
from .sharing import find_owned, find_readable, lock_owned

Model = type[Shared]

NAME_FORMS: dict[Model, type[ModelForm]] = {
    Collection: CollectionForm,
    Concept: ConceptForm,
}
VISIBILITY_FORMS: dict[Model, type[ModelForm]] = {
    Collection: CollectionVisibilityForm,
    Concept: ConceptVisibilityForm,
}
LIST_PAGES: dict[Model, str] = {Collection: "collections", Concept: "concepts"}
RESTORE_PAGES: dict[Model, str] = {
    Collection: "collection-restore",
    Concept: "concept-undelete",
}

COPY: dict[Model, Callable[..., Shared]] = {
    Collection: collection_services.copy,
    Concept: concept_services.copy,
}


@require_POST
@errors_as_messages
def edit(request: HttpRequest, key: UUID, model: Model) -> HttpResponse:
    """Change the name and the description."""
    shared = find_owned(model, request.user, key)
    check_form(NAME_FORMS[model](request.POST, instance=shared))
    sharing.rename(shared)
    return success(request, "Saved.", shared.get_absolute_url(), name=shared.name)


@require_POST
@errors_as_messages
@transaction.atomic
def delete(request: HttpRequest, key: UUID, model: Model) -> HttpResponse:
    shared = lock_owned(model, request.user, key)
    sharing.delete(shared)
    undo = {"url": reverse(RESTORE_PAGES[model], args=[key]), "data": {}}
    text = f"Deleted “{shared.name}”."
    return success(request, text, reverse(LIST_PAGES[model]), undo)


@require_POST
@errors_as_messages
def restore(request: HttpRequest, key: UUID, model: Model) -> HttpResponse:
    """Undo a deletion."""
    shared = sharing.restore(model, request.user, key)
    return success(request, f"Restored “{shared.name}”.", shared.get_absolute_url())


@require_POST
@errors_as_messages
def change_visibility(request: HttpRequest, key: UUID, model: Model) -> HttpResponse:
    """Set who may see it. Making it private revokes its link."""
    shared = find_owned(model, request.user, key)
    form = VISIBILITY_FORMS[model](request.POST, instance=shared)
    check_form(form)
    sharing.set_visibility(shared, form.cleaned_data["visibility"])
    return success(request, _who_sees(shared), _share_panel(shared))


def _who_sees(shared: Shared) -> str:
    if shared.visibility == shared.Visibility.PRIVATE:
        return f"Only you can view this {shared._meta.verbose_name}."
    if shared.visibility == shared.Visibility.UNLISTED:
        return "Anyone with the link can view it."
    if isinstance(shared, Concept):
        return "Everyone can view this concept and search with it."
    return "Everyone can view this collection."


@require_POST
@errors_as_messages
def renew_link(request: HttpRequest, key: UUID, model: Model) -> HttpResponse:
    """Replace the link by another one."""
    shared = find_owned(model, request.user, key)
    sharing.renew_link(shared)
    text = "Link reset. The old link no longer works."
    return success(request, text, _share_panel(shared))


@login_required
@require_POST
@errors_as_messages
@limited("copy")
def copy(
    request: HttpRequest, model: Model, key: UUID | None = None, token: str = ""
) -> HttpResponse:
    """Copy what the user may see to an object of their own."""
    found = find_readable(model, request.user, key, token).object
    made = COPY[model](request.user, found)
    undo_page = f"{made._meta.model_name}-delete"
    undo = {"url": reverse(undo_page, args=[made.pk]), "data": {}}
    text = f"Copied to your {made._meta.verbose_name_plural} as “{made.name}”."
    return success(request, text, made.get_absolute_url(), undo)


def _share_panel(shared: Shared) -> str:
    return f"{shared.get_absolute_url()}#share"
