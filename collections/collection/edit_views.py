"""Views that change a collection as a whole: cover, merging, undoing."""

from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from search.errors import InvalidQuery

from ..models import Collection
from ..responses import counted, errors_as_messages, success
from ..sharing import find_owned, lock_owned, parse_uuid
from . import services
from .item_keys import read
from .members import undo_add


@require_POST
@errors_as_messages
def choose_cover(request: HttpRequest, key: UUID) -> HttpResponse:
    """Set the item whose image stands for all, or unset it."""
    collection = find_owned(Collection, request.user, key)
    cover = read(request.POST["items"])[0] if request.POST.get("items") else None
    before = collection.cover_id
    services.choose_cover(collection, cover)
    text = "This picture is the cover now." if cover else "The first four are shown."
    return success(request, text, _page(key), cover=before)


@require_POST
@errors_as_messages
def merge(request: HttpRequest, key: UUID) -> HttpResponse:
    """Move the items of another collection into this one and delete that one."""
    find_owned(Collection, request.user, key)
    source_id = parse_uuid(
        request.POST.get("source", ""),
        InvalidQuery("Choose the collection to be merged into this."),
    )
    source = find_owned(Collection, request.user, source_id)
    batch, new = services.merge(request.user, key, source_id)
    undo = {
        "url": reverse("collection-unmerge", args=[key]),
        "data": {"batch": str(batch), "source": str(source_id)},
    }
    text = f"Merged “{source.name}” into this: {counted(new)} more."
    return success(request, text, _page(key), undo)


@require_POST
@errors_as_messages
def unmerge(request: HttpRequest, key: UUID) -> HttpResponse:
    find_owned(Collection, request.user, key)
    batch, source = _undo_key(request, "batch"), _undo_key(request, "source")
    services.unmerge(request.user, key, batch, source)
    return success(request, "Taken apart again.", _page(key))


@require_POST
@errors_as_messages
@transaction.atomic
def undo_batch(request: HttpRequest, key: UUID) -> HttpResponse:
    """Undo an addition."""
    collection = lock_owned(Collection, request.user, key)
    removed = undo_add(collection, _undo_key(request, "batch"))
    text = f"Took {counted(removed)} out of “{collection.name}” again."
    return success(request, text, _page(key))


def _undo_key(request: HttpRequest, name: str) -> UUID:
    error = InvalidQuery("This can no longer be undone.")
    return parse_uuid(request.POST.get(name, ""), error)


def _page(key: UUID) -> str:
    return reverse("collection", args=[key])
