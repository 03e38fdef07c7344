"""What the owner of a collection changes in it as a whole."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from search.errors import InvalidQuery, NotFound
from search.rate_limits import limited

from .. import sharing
from ..models import Collection
from ..responses import counted, errors_as_messages, success
from ..sharing import NONE, find_owned, find_readable, lock_owned
from . import services
from .forms import CollectionForm, VisibilityForm, check
from .item_keys import read
from .members import undo_add


@require_POST
@errors_as_messages
def edit(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    """Gives it another name and description."""
    collection = find_owned(request.user, collection_id)
    form = CollectionForm(request.POST, instance=collection)
    check(form)
    services.rename(collection)
    return success(request, "Saved.", _page(collection_id), name=collection.name)


@require_POST
@errors_as_messages
@transaction.atomic
def delete(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    collection = lock_owned(request.user, collection_id)
    sharing.delete(collection)
    undo = {"url": reverse("collection-restore", args=[collection_id]), "data": {}}
    text = f"Deleted “{collection.name}”."
    return success(request, text, reverse("collections"), undo)


@require_POST
@errors_as_messages
def restore(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    collection = sharing.undelete(request.user, Collection, collection_id)
    if collection is None:
        raise NotFound(NONE)
    return success(request, f"“{collection.name}” is back.", _page(collection_id))


@require_POST
@errors_as_messages
def change_visibility(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    """Decides who may see it. Once private again, a link given away leads nowhere."""
    collection = find_owned(request.user, collection_id)
    form = VisibilityForm(request.POST, instance=collection)
    check(form)
    sharing.set_visibility(collection, form.cleaned_data["visibility"])
    text = {
        Collection.Visibility.PRIVATE: "Only you see this collection now.",
        Collection.Visibility.UNLISTED: "Whoever has the link sees it now.",
        Collection.Visibility.PUBLIC: "Everyone sees this collection now.",
    }[Collection.Visibility(collection.visibility)]
    return success(request, text, _page(collection_id) + "#share")


@require_POST
@errors_as_messages
def renew_link(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    """Revokes the link that was given away."""
    sharing.renew_link(find_owned(request.user, collection_id))
    text = "There is a new link; the old one leads nowhere."
    return success(request, text, _page(collection_id) + "#share")


@require_POST
@errors_as_messages
def choose_cover(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    """One member stands for all; without one, the first four do."""
    collection = find_owned(request.user, collection_id)
    key = read(request.POST["items"])[0] if request.POST.get("items") else None
    before = collection.cover_id
    services.choose_cover(collection, key)
    text = "This picture is the cover now." if key else "The first four are shown."
    return success(request, text, _page(collection_id), cover=before)


@require_POST
@errors_as_messages
def merge(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    """Takes all of another collection in; that one is deleted."""
    find_owned(request.user, collection_id)
    try:
        source = find_owned(request.user, UUID(request.POST.get("source", "")))
    except ValueError:
        raise InvalidQuery("Choose the collection to be merged into this.") from None
    batch, new = services.merge(request.user, collection_id, source.pk)
    undo = {
        "url": reverse("collection-unmerge", args=[collection_id]),
        "data": {"batch": str(batch), "source": str(source.pk)},
    }
    text = f"Merged “{source.name}” into this: {counted(new)} more."
    return success(request, text, _page(collection_id), undo)


@require_POST
@errors_as_messages
def unmerge(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    find_owned(request.user, collection_id)
    batch, source = posted_uuid(request, "batch"), posted_uuid(request, "source")
    services.unmerge(request.user, collection_id, batch, source)
    return success(request, "Taken apart again.", _page(collection_id))


@require_POST
@errors_as_messages
@transaction.atomic
def undo_batch(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    """Undoes an addition."""
    collection = lock_owned(request.user, collection_id)
    gone = undo_add(collection, posted_uuid(request, "batch"))
    text = f"Took {counted(gone)} out of “{collection.name}” again."
    return success(request, text, _page(collection_id))


@login_required
@require_POST
@errors_as_messages
@limited("copy")
def copy(
    request: HttpRequest, collection_id: UUID | None = None, token: str = ""
) -> HttpResponse:
    """Anyone may copy what they may see to a collection of their own."""
    made = services.copy(
        request.user, find_readable(request.user, collection_id, token).collection
    )
    undo = {"url": reverse("collection-delete", args=[made.pk]), "data": {}}
    text = f"“{made.name}” is among your collections."
    return success(request, text, _page(made.pk), undo)


def posted_uuid(request: HttpRequest, name: str) -> UUID:
    try:
        return UUID(request.POST.get(name, ""))
    except ValueError:
        raise InvalidQuery("This can no longer be undone.") from None


def _page(collection_id: UUID) -> str:
    return reverse("collection", args=[collection_id])
