"""Pages that list collections: one's own, those deleted, those open to everyone."""

from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from search.errors import InvalidQuery

from ..models import Collection
from . import making
from .answers import count_of, done, told, wants_json
from .asked_items import read
from .covers import lay_tiles, with_tiles
from .forms import CollectionForm, check
from .paging import COLLECTION_ORDERS, cut, with_sorted_name

PER_PAGE = 36
MOST_DELETED = 50


@require_http_methods(["GET", "HEAD", "POST"])
@told
def mine(request: HttpRequest) -> HttpResponse:
    """The user's own collections; a form posted here makes one."""
    if request.method == "POST":
        if wants_json(request) and not request.user.is_authenticated:
            raise InvalidQuery("Sign in first: collections are kept in an account.")
        return create(request)
    return _mine(request, CollectionForm())


@login_required
def create(request: HttpRequest) -> HttpResponse:
    """Makes a collection, and puts items into it if the form names some."""
    form = CollectionForm(request.POST)
    if not form.is_valid() and not wants_json(request):
        return _mine(request, form, status=400)
    check(form)
    keys = read(request.POST["items"]) if request.POST.get("items") else []
    words = request.POST.get("words", "")
    made = making.make(request.user, form.instance, keys, words)
    address = reverse("collection", args=[made.pk])
    text = f"Made the collection “{made.name}”."
    if keys:
        text = f"Made “{made.name}” with {count_of(made.size)}."
    undo = {"url": reverse("collection-delete", args=[made.pk]), "data": {}}
    return done(request, text, address, undo, id=str(made.pk))


@login_required
def _mine(
    request: HttpRequest, form: CollectionForm, status: int = 200
) -> HttpResponse:
    own = Collection.objects.owned_by(request.user)
    context = _listed(request, own) | {
        "form": form,
        "deleted": Collection.objects.deleted_by(request.user).order_by("-deleted_at")[
            :MOST_DELETED
        ],
    }
    return render(request, "collecting/mine.html", context, status=status)


@require_safe
def public(request: HttpRequest) -> HttpResponse:
    """What its owners have opened to everyone."""
    return render(
        request, "collecting/public.html", _listed(request, open_to_everyone())
    )


def open_to_everyone() -> QuerySet[Collection]:
    """Those that have pictures."""
    return Collection.objects.open_to_everyone().filter(size__gt=0)


def _listed(request: HttpRequest, collections: QuerySet[Collection]) -> dict:
    """One page of collections, with the pictures by which they are told apart."""
    asked = request.GET.get("sort", "")
    name = asked if asked in COLLECTION_ORDERS else "changed"
    page = cut(
        with_tiles(with_sorted_name(collections)),
        COLLECTION_ORDERS[name],
        request.GET.get("cursor", ""),
        PER_PAGE,
    )
    lay_tiles(page.rows)
    return {
        "collections": page.rows,
        "next": page.next,
        "is_first": not page.start,
        "sort": name,
        "sorts": {key: order.title for key, order in COLLECTION_ORDERS.items()},
    }
