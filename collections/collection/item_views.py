"""What the owner of a collection changes about its members: asked for by scripts."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from search.errors import InvalidQuery, check_form

from .. import undo_tokens
from ..forms import NoteForm
from ..models import Collection
from ..responses import counted, errors_as_messages, success
from ..sharing import find_owned, lock_owned
from . import members, services
from .item_keys import ItemKey, by_dataset, read, rows_of

MAX_TO_CHOOSE = 1_000


@require_POST
@errors_as_messages
def choose(request: HttpRequest) -> HttpResponse:
    """The user's collections to add items to, with how many of them each has."""
    keys = read(request.POST.get("items", ""))
    held = Q(pk__in=[])
    for slug, ids in by_dataset(keys).items():
        held |= Q(items__dataset=slug, items__item__in=ids)
    own_ones = Collection.objects.owned_by(request.user)
    has = dict(own_ones.filter(held).values_list("pk").annotate(has=Count("items")))
    found = own_ones.order_by("-changed_at")[:MAX_TO_CHOOSE]
    return JsonResponse(
        {
            "collections": [
                {
                    "name": each.name,
                    "size": each.pictures(),
                    "has": has.get(each.pk, 0),
                    "shared": each.visibility != Collection.Visibility.PRIVATE,
                    "url": reverse("collection", args=[each.pk]),
                }
                for each in found
            ]
        }
    )


@require_POST
@errors_as_messages
def add(request: HttpRequest, key: UUID) -> HttpResponse:
    collection = find_owned(Collection, request.user, key)
    keys = read(request.POST.get("items", ""))
    added = members.add(request.user, key, keys)
    services.record(added, request.POST.get("words", ""))
    undo = {
        "url": reverse("collection-take-back", args=[key]),
        "data": {"batch": str(added.batch)},
    }
    return success(
        request,
        _told_of(added, collection.name),
        reverse("collection", args=[key]),
        undo if added.new else None,
        new=len(added.new),
        there=added.there,
        unknown=added.unknown,
    )


def _told_of(added: members.Added, name: str) -> str:
    """What came of adding, as one or more sentences."""
    new, there, unknown = len(added.new), added.there, added.unknown
    if new:
        sentences = [f"Added {counted(new)} to “{name}”."]
    else:
        sentences = [f"Nothing was added to “{name}”."]
    if there:
        was = "was" if there == 1 else "were"
        sentences.append(f"{there:,} {was} in it already.")
    if unknown:
        are = "is" if unknown == 1 else "are"
        sentences.append(f"{unknown:,} {are} not in the dataset any more.")
    return " ".join(sentences)


@require_POST
@errors_as_messages
@transaction.atomic
def remove(request: HttpRequest, key: UUID) -> HttpResponse:
    collection = lock_owned(Collection, request.user, key)
    gone = members.remove(collection, read(request.POST.get("items", "")))
    text = f"Took {counted(len(gone))} out of “{collection.name}”."
    return _undoable(request, collection, text, "removed", gone)


@require_POST
@errors_as_messages
@transaction.atomic
def move(request: HttpRequest, key: UUID) -> HttpResponse:
    """Changes the order made by hand."""
    collection = lock_owned(Collection, request.user, key)
    keys = read(request.POST.get("items", ""))
    to = request.POST.get("to", "")
    before = members.move(collection, keys, to, _anchor(request.POST))
    text = f"Moved {counted(len(before))}."
    return _undoable(request, collection, text, "moved", before)


def _anchor(asked: Any) -> ItemKey | int | None:
    if place := asked.get("place"):
        if not (place.isascii() and place.isdigit() and len(place) < 9):
            raise InvalidQuery("A place is a number, counted from 1.")
        return int(place)
    return read(asked["anchor"])[0] if asked.get("anchor") else None


@require_POST
@errors_as_messages
@transaction.atomic
def undo(request: HttpRequest, key: UUID) -> HttpResponse:
    """Puts back what was removed, or to where it was moved from."""
    collection = lock_owned(Collection, request.user, key)
    what, kept = undo_tokens.load(collection, request.POST.get("token", ""))
    if what == "removed":
        members.undo_remove(collection, kept)
    else:
        members.position_for(collection, kept)
    to = reverse("collection", args=[key])
    return success(request, "All is as it was.", to, size=collection.pictures())


@require_POST
@errors_as_messages
def note(request: HttpRequest, key: UUID) -> HttpResponse:
    """Writes the note under a member."""
    collection = find_owned(Collection, request.user, key)
    keys = read(request.POST.get("items", ""))
    member = rows_of(collection.items.all(), keys).first()
    if member is None:
        raise InvalidQuery("This picture is not in the collection any more.")
    form = NoteForm(request.POST, instance=member)
    check_form(form)
    member.save(update_fields=["note"])
    return JsonResponse({"note": member.note})


def _undoable(
    request: HttpRequest, collection: Collection, text: str, what: str, kept: Any
) -> HttpResponse:
    token = undo_tokens.store(collection, what, kept)
    url = reverse("collection-undo", args=[collection.pk])
    undo = {"url": url, "data": {"token": token}} if token else None
    to = reverse("collection", args=[collection.pk])
    return success(request, text, to, undo, size=collection.pictures())
