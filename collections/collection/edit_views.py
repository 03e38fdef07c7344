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
from ..responses import count_of, done, told
from ..sharing import NONE, locked, own, reached
from . import services
from .forms import CollectionForm, VisibilityForm, check
from .item_keys import read
from .members import take_back


@require_POST
@told
def edit(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    """Gives it another name and description."""
    collection = own(request.user, collection_id)
    form = CollectionForm(request.POST, instance=collection)
    check(form)
    services.rename(collection)
    return done(request, "Saved.", _page(collection_id), name=collection.name)


@require_POST
@told
@transaction.atomic
def delete(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    collection = locked(request.user, collection_id)
    sharing.delete(collection)
    undo = {"url": reverse("collection-restore", args=[collection_id]), "data": {}}
    text = f"Deleted “{collection.name}”."
    return done(request, text, reverse("collections"), undo)


@require_POST
@told
def restore(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    collection = sharing.bring_back(request.user, Collection, collection_id)
    if collection is None:
        raise NotFound(NONE)
    return done(request, f"“{collection.name}” is back.", _page(collection_id))


@require_POST
@told
def show_to(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    """Decides who may see it. Once private again, a link given away leads nowhere."""
    collection = own(request.user, collection_id)
    form = VisibilityForm(request.POST, instance=collection)
    check(form)
    sharing.show_to(collection, form.cleaned_data["visibility"])
    text = {
        Collection.Visibility.PRIVATE: "Only you see this collection now.",
        Collection.Visibility.UNLISTED: "Whoever has the link sees it now.",
        Collection.Visibility.PUBLIC: "Everyone sees this collection now.",
    }[Collection.Visibility(collection.visibility)]
    return done(request, text, _page(collection_id) + "#share")


@require_POST
@told
def renew_link(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    """Revokes the link that was given away."""
    sharing.renew_link(own(request.user, collection_id))
    text = "There is a new link; the old one leads nowhere."
    return done(request, text, _page(collection_id) + "#share")


@require_POST
@told
def choose_cover(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    """One member stands for all; without one, the first four do."""
    collection = own(request.user, collection_id)
    key = read(request.POST["items"])[0] if request.POST.get("items") else None
    before = collection.cover_id
    services.choose_cover(collection, key)
    text = "This picture is the cover now." if key else "The first four are shown."
    return done(request, text, _page(collection_id), cover=before)


@require_POST
@told
def merge(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    """Takes all of another collection in; that one is deleted."""
    own(request.user, collection_id)
    try:
        source = own(request.user, UUID(request.POST.get("source", "")))
    except ValueError:
        raise InvalidQuery("Choose the collection to be merged into this.") from None
    batch, new = services.merge(request.user, collection_id, source.pk)
    undo = {
        "url": reverse("collection-unmerge", args=[collection_id]),
        "data": {"batch": str(batch), "source": str(source.pk)},
    }
    text = f"Merged “{source.name}” into this: {count_of(new)} more."
    return done(request, text, _page(collection_id), undo)


@require_POST
@told
def unmerge(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    own(request.user, collection_id)
    batch, source = asked_uuid(request, "batch"), asked_uuid(request, "source")
    services.unmerge(request.user, collection_id, batch, source)
    return done(request, "Taken apart again.", _page(collection_id))


@require_POST
@told
@transaction.atomic
def take_back_batch(request: HttpRequest, collection_id: UUID) -> HttpResponse:
    """Undoes an addition."""
    collection = locked(request.user, collection_id)
    gone = take_back(collection, asked_uuid(request, "batch"))
    text = f"Took {count_of(gone)} out of “{collection.name}” again."
    return done(request, text, _page(collection_id))


@login_required
@require_POST
@told
@limited("copy")
def copy(
    request: HttpRequest, collection_id: UUID | None = None, token: str = ""
) -> HttpResponse:
    """Anyone may copy what they may see to a collection of their own."""
    made = services.copy(
        request.user, reached(request.user, collection_id, token).collection
    )
    undo = {"url": reverse("collection-delete", args=[made.pk]), "data": {}}
    text = f"“{made.name}” is among your collections."
    return done(request, text, _page(made.pk), undo)


def asked_uuid(request: HttpRequest, name: str) -> UUID:
    try:
        return UUID(request.POST.get(name, ""))
    except ValueError:
        raise InvalidQuery("This can no longer be undone.") from None


def _page(collection_id: UUID) -> str:
    return reverse("collection", args=[collection_id])
