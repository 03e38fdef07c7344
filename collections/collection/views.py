"""The page of a collection: for its owner, for everyone, or for whoever has its link.

htmx asks at the same address for the pages to come and gets only their members.
"""

import logging
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_safe
from django.views.decorators.vary import vary_on_headers

from search.errors import (
    InvalidQuery,
    NotFound,
    SearchError,
    SearchUnavailable,
    check_form,
)
from search.models import Dataset
from search.query.filters import MAX_TEXT_LENGTH
from search.query.url_params import safe_url
from search.rate_limits import limited, limiter
from search.retrieval.item_lookup import ItemState
from search.retrieval.items import Hit
from search.web.middleware import HtmxRequest

from .. import sharing
from ..forms import CollectionForm, CollectionVisibilityForm
from ..models import Collection, CollectionItem
from ..pagination import (
    COLLECTION_ORDERS,
    ORDERS,
    Page,
    paginate,
    with_sorted_caption,
    with_sorted_name,
)
from ..responses import counted, errors_as_messages, success, wants_json
from ..sharing import Access, find_readable
from . import services, similarity
from .covers import choose_tiles, with_cover_tiles
from .item_keys import read
from .rows import states_of

ITEMS_PER_PAGE = 40
BELOW = "collection/_below.html"  # what stands under a member
UNLIKE = "unlike"
TITLES = {name: order.title for name, order in ORDERS.items()}
VIEWS = TITLES | {UNLIKE: "Least alike first"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShownItem:
    """A member as the page shows it; `number` counts from 1 in the order shown."""

    member: CollectionItem
    hit: Hit
    dataset: Any  # None when it is no more
    standing: ItemState
    number: int

    @property
    def address(self) -> str:
        """Of the picture's source; '' where a page must not link to it."""
        return safe_url(self.member.url)


def _compares(request: HttpRequest) -> bool:
    """Whether all members are compared with a vector for it."""
    return bool(request.GET.get("q")) or request.GET.get("order") == UNLIKE


@require_safe
@limited("search", when=_compares)
@vary_on_headers("HX-Request")
def page(
    request: HtmxRequest, key: UUID | None = None, token: str = ""
) -> HttpResponse:
    access = find_readable(Collection, request.user, key, token)
    view = _view(request)
    context: dict[str, Any] = {"access": access, "collection": access.object, **view}
    context["below"] = BELOW if access.is_mine else ""
    status = 200
    try:
        found = _found(access.object, view, request.GET.get("cursor", ""), request)
        context |= {"members": _shown(found), "more": _more(access, view, found.next)}
    except SearchError as error:
        context |= {"error": error, "again": request.get_full_path()}
        status = error.status
    if request.htmx and request.GET.get("cursor"):
        response = render(request, "collection/_members.html", context, status=status)
    else:
        context |= _around(request, access)
        response = render(request, "collection/page.html", context, status=status)
    if token:
        # Whoever has the link has it from its owner, and not from a search engine.
        response["X-Robots-Tag"] = "noindex, nofollow"
    return response


def _view(request: HttpRequest) -> dict[str, str]:
    """What is to be shown, and in which order."""
    words = request.GET.get("q", "").strip()[:MAX_TEXT_LENGTH]
    order = request.GET.get("order", "")
    return {"words": words, "order": order if order in VIEWS else "hand"}


def _found(
    collection: Collection, view: dict[str, str], cursor: str, request: HttpRequest
) -> Page:
    """The members for one page, each with its similarity or None."""
    if view["words"]:
        return similarity.similar_to_words(
            collection,
            view["words"],
            request.user,
            limiter(request),
            cursor,
            ITEMS_PER_PAGE,
        )
    if view["order"] == UNLIKE:
        return similarity.least_similar(collection, cursor, ITEMS_PER_PAGE)
    items = collection.items.all()
    if view["order"] == "caption":
        items = with_sorted_caption(items)
    found = paginate(items, ORDERS[view["order"]], cursor, ITEMS_PER_PAGE)
    return Page([(member, None) for member in found.rows], found.start, found.next)


def _more(access: Access[Collection], view: dict[str, str], cursor: str) -> str:
    if not cursor:
        return ""
    asked = {"q": view["words"], "order": view["order"], "cursor": cursor}
    told = {name: value for name, value in asked.items() if value}
    return f"{access.address()}?{urlencode(told)}"


def _shown(found: Page) -> list[ShownItem]:
    members = [member for member, _ in found.rows]
    datasets = _datasets({member.dataset for member in members})
    try:
        standings = states_of(members)
    except SearchUnavailable as error:
        # The page is worth showing all the same; pictures are guarded by themselves.
        logger.warning("What is gone is not marked: %s", error.message)
        standings = {}
    return [
        ShownItem(
            member,
            _hit(member, similarity),
            datasets.get(member.dataset),
            standings.get((member.dataset, member.item), ItemState.THERE),
            number,
        )
        for number, (member, similarity) in enumerate(found.rows, found.start + 1)
    ]


def _datasets(slugs: set[str]) -> dict[str, Any]:
    found = {}
    for slug in slugs:
        try:
            found[slug] = Dataset.for_slug(slug)
        except NotFound:
            continue
    return found


def _hit(member: CollectionItem, similarity: float | None) -> Hit:
    return Hit(
        id=member.item,
        url=member.url,
        caption=member.caption,
        similarity=similarity,
        caption_similarity=None,
        width=member.width,
        height=member.height,
        nsfw=member.nsfw,
        license=member.license,
    )


def _around(request: HttpRequest, access: Access[Collection]) -> dict[str, Any]:
    """What the whole page has, besides members."""
    collection = access.object
    counted = collection.items.values_list("dataset").annotate(count=Count("pk"))
    around: dict[str, Any] = {
        "views": VIEWS,
        "like_it": access.address("collection-like-it"),
        "as_json": access.address("collection-json"),
        "as_csv": access.address("collection-csv"),
        "copy_it": access.address("collection-copy"),
        "sources": [slug for slug, _ in counted.order_by("-count", "dataset")],
    }
    if access.is_mine:
        others = Collection.objects.owned_by(request.user).exclude(pk=collection.pk)
        around |= {
            "form": CollectionForm(instance=collection),
            "visibility": CollectionVisibilityForm(instance=collection),
            "link": request.build_absolute_uri(sharing.link_of(collection)),
            "others": others.filter(size__gt=0).order_by("-changed_at")[:200],
        }
    return around


COLLECTIONS_PER_PAGE = 36
MAX_DELETED = 50


@require_http_methods(["GET", "HEAD", "POST"])
@errors_as_messages
def my_collections(request: HttpRequest) -> HttpResponse:
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
    check_form(form)
    keys = read(request.POST["items"]) if request.POST.get("items") else []
    words = request.POST.get("words", "")
    made = services.create(request.user, form.instance, keys, words)
    address = reverse("collection", args=[made.pk])
    text = f"Made the collection “{made.name}”."
    if keys:
        text = f"Made “{made.name}” with {counted(made.size)}."
    undo = {"url": reverse("collection-delete", args=[made.pk]), "data": {}}
    return success(request, text, address, undo, id=str(made.pk))


@login_required
def _mine(
    request: HttpRequest, form: CollectionForm, status: int = 200
) -> HttpResponse:
    own = Collection.objects.owned_by(request.user)
    context = _listed(request, own) | {
        "form": form,
        "deleted": Collection.objects.deleted_by(request.user).order_by("-deleted_at")[
            :MAX_DELETED
        ],
    }
    return render(request, "collection/mine.html", context, status=status)


@require_safe
def public(request: HttpRequest) -> HttpResponse:
    """What its owners have opened to everyone."""
    return render(
        request, "collection/public.html", _listed(request, public_collections())
    )


def public_collections() -> QuerySet[Collection]:
    """Those that have pictures."""
    return Collection.objects.public().filter(size__gt=0)


def _listed(request: HttpRequest, collections: QuerySet[Collection]) -> dict:
    """One page of collections, with the pictures by which they are told apart."""
    asked = request.GET.get("sort", "")
    name = asked if asked in COLLECTION_ORDERS else "changed"
    page = paginate(
        with_cover_tiles(with_sorted_name(collections)),
        COLLECTION_ORDERS[name],
        request.GET.get("cursor", ""),
        COLLECTIONS_PER_PAGE,
    )
    choose_tiles(page.rows)
    return {
        "collections": page.rows,
        "next": page.next,
        "is_first": not page.start,
        "sort": name,
        "sorts": {key: order.title for key, order in COLLECTION_ORDERS.items()},
    }
