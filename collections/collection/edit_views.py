"""Views that change a collection: its items, their order and notes, cover, merging."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from search.errors import InvalidQuery, check_form
from search.request_bodies import MAX_LIST_BYTES, takes

from .. import undo_tokens
from ..forms import NoteForm
from ..models import Collection
from ..responses import Undo, counted, errors_as_messages, success, undo_by_token
from ..sharing import find_owned, lock_owned, parse_uuid
from . import members, services
from .item_keys import ItemKey, by_dataset, read, rows_of

MAX_TO_CHOOSE = 1_000


@takes(MAX_LIST_BYTES)
@require_POST
@errors_as_messages
def choose(request: HttpRequest) -> HttpResponse:
    """List the user's collections, with how many of the items each has."""
    keys = read(request.POST.get("items", ""))
    has_some = Q(pk__in=[])
    for slug, ids in by_dataset(keys).items():
        has_some |= Q(items__dataset=slug, items__item__in=ids)
    owned = Collection.objects.owned_by(request.user)
    rows = owned.filter(has_some).values_list("pk").annotate(has=Count("items"))
    has = dict(rows)
    listed = list(owned.order_by("-changed_at")[:MAX_TO_CHOOSE])
    services.subtract_hidden(listed, request.user)
    return JsonResponse(
        {
            "collections": [
                {
                    "name": each.name,
                    "size": each.pictures(),
                    "has": has.get(each.pk, 0),
                    "shared": each.visibility != Collection.Visibility.PRIVATE,
                    "url": _page(each.pk),
                }
                for each in listed
            ]
        }
    )


@takes(MAX_LIST_BYTES)
@require_POST
@errors_as_messages
def add(request: HttpRequest, key: UUID) -> HttpResponse:
    """Add items at the end."""
    collection = find_owned(Collection, request.user, key)
    added = members.add(request.user, key, read(request.POST.get("items", "")))
    services.record(added, request.POST.get("words", ""), request.user)
    return success(
        request,
        _summary(added, collection.name),
        _page(key),
        _undo(collection, "added", added.batch) if added.new else None,
        new=len(added.new),
        there=added.already_present,
        unknown=added.unknown,
    )


def _summary(added: members.Added, name: str) -> str:
    """Return the result of an addition, as one or more sentences."""
    new, present, unknown = len(added.new), added.already_present, added.unknown
    if new:
        sentences = [f"Added {counted(new)} to “{name}”."]
    else:
        sentences = [f"Nothing added to “{name}”."]
    if present:
        was = "was" if present == 1 else "were"
        sentences.append(f"{present:,} {was} already in it.")
    if unknown:
        are = "is" if unknown == 1 else "are"
        sentences.append(f"{unknown:,} {are} no longer in the dataset.")
    return " ".join(sentences)


@takes(MAX_LIST_BYTES)
@require_POST
@errors_as_messages
@transaction.atomic
def remove(request: HttpRequest, key: UUID) -> HttpResponse:
    """Remove items."""
    collection = lock_owned(Collection, request.user, key)
    removed = members.remove(collection, read(request.POST.get("items", "")))
    text = f"Removed {counted(len(removed))} from “{collection.name}”."
    undo = _undo(collection, "removed", removed)
    return success(request, text, _page(key), undo, size=collection.pictures())


@takes(MAX_LIST_BYTES)
@require_POST
@errors_as_messages
@transaction.atomic
def move(request: HttpRequest, key: UUID) -> HttpResponse:
    """Change the order made by hand."""
    collection = lock_owned(Collection, request.user, key)
    keys = read(request.POST.get("items", ""))
    to = request.POST.get("to", "")
    before = members.move(collection, keys, to, _anchor(request.POST))
    text = f"Moved {counted(len(before))}."
    undo = _undo(collection, "moved", before)
    return success(request, text, _page(key), undo, size=collection.pictures())


def _anchor(form: Mapping[str, str]) -> ItemKey | int | None:
    if place := form.get("place"):
        if not (place.isascii() and place.isdigit() and len(place) < 9):
            raise InvalidQuery("A position must be a number from 1.")
        return int(place)
    return read(form["anchor"])[0] if form.get("anchor") else None


@require_POST
@errors_as_messages
def note(request: HttpRequest, key: UUID) -> HttpResponse:
    """Set the note under an item."""
    collection = find_owned(Collection, request.user, key)
    keys = read(request.POST.get("items", ""))
    member = rows_of(collection.items.visible_to(request.user), keys).first()
    if member is None:
        raise InvalidQuery("This image is no longer in the collection.")
    check_form(NoteForm(request.POST, instance=member))
    member.save(update_fields=["note"])
    return JsonResponse({"note": member.note})


@require_POST
@errors_as_messages
def choose_cover(request: HttpRequest, key: UUID) -> HttpResponse:
    """Set or unset the cover item of a collection."""
    collection = find_owned(Collection, request.user, key)
    cover = read(request.POST["items"])[0] if request.POST.get("items") else None
    before = collection.cover_id
    services.choose_cover(collection, cover, request.user)
    text = (
        "Cover set to this image." if cover else "Cover set to the first four images."
    )
    return success(request, text, _page(key), cover=before)


@require_POST
@errors_as_messages
def merge(request: HttpRequest, key: UUID) -> HttpResponse:
    """Move the items of another collection into this one and delete that one."""
    target = find_owned(Collection, request.user, key)
    wrong = InvalidQuery("Choose a collection to merge into this one.")
    source_id = parse_uuid(request.POST.get("source", ""), wrong)
    source = find_owned(Collection, request.user, source_id)
    batch, new = services.merge(request.user, key, source_id)
    text = f"Merged “{source.name}” into this collection: added {counted(new)}."
    undo = _undo(target, "merged", (batch, source_id))
    return success(request, text, _page(key), undo)


@require_POST
@errors_as_messages
@transaction.atomic
def undo(request: HttpRequest, key: UUID) -> HttpResponse:
    """Undo the addition, removal, move or merge of a token."""
    collection = lock_owned(Collection, request.user, key)
    token = request.POST.get("token", "")
    change, value = undo_tokens.load(request.user, f"collection:{key}", token)
    text = "Undone."
    if change == "added":
        removed = members.undo_add(collection, value)
        text = f"Removed {counted(removed)} from “{collection.name}” again."
    elif change == "removed":
        members.undo_remove(collection, value)
    elif change == "moved":
        members.set_positions(collection, value)
    else:
        services.unmerge(request.user, collection, *value)
        text = "Merge undone."
    return success(request, text, _page(key), size=collection.pictures())


def _undo(collection: Collection, change: str, value: Any) -> Undo | None:
    kind = f"collection:{collection.pk}"
    token = undo_tokens.store(collection.owner_id, kind, (change, value))
    return undo_by_token(reverse("collection-undo", args=[collection.pk]), token)


def _page(key: UUID) -> str:
    return reverse("collection", args=[key])
