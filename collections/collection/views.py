"""The page of a collection and the lists of collections.

The page is for the owner, for everyone, or for those who have the link. htmx requests
further pages of items at the same address and gets only the items.
"""

import logging
from dataclasses import dataclass, field, replace
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_safe
from django.views.decorators.vary import vary_on_headers

from search.errors import InvalidQuery, SearchError, SearchUnavailable, check_form
from search.links import link_of
from search.models import Dataset
from search.query.filters import MAX_TEXT_LENGTH, UNRESTRICTED
from search.rate_limits import limited, limiter
from search.request_bodies import MAX_LIST_BYTES, takes
from search.retrieval.item_lookup import ItemState
from search.retrieval.items import Hit
from search.web.middleware import HtmxRequest

from .. import sharing
from ..forms import CollectionForm, CollectionVisibilityForm
from ..models import Collection, CollectionItem
from ..models.ownership import AnyUser
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
from .rows import rate, states_of

ITEMS_PER_PAGE = 40
COLLECTIONS_PER_PAGE = 36
MAX_DELETED = 50
MAX_TO_MERGE = 200
UNLIKE = "unlike"
VIEWS = {name: order.title for name, order in ORDERS.items()}
VIEWS |= {UNLIKE: "Outliers first"}

logger = logging.getLogger(__name__)


# --- The page of a collection


@dataclass(frozen=True)
class ShownItem:
    """An item as the page shows it; `number` counts from 1 in the order shown."""

    member: CollectionItem
    hit: Hit
    dataset: Dataset | None  # None: it was deleted
    state: ItemState
    number: int

    @property
    def address(self) -> str:
        """The URL of the source; "" if a page must not link to it."""
        return link_of(self.member.url)


@dataclass(frozen=True, kw_only=True)
class MembersContext:
    """The context of collection/_members.html: one page of items, or an error."""

    access: Access[Collection]
    collection: Collection
    below: str  # the template below each item, if any
    words: str  # the search in the collection, if any
    order: str  # a key of VIEWS
    members: list[ShownItem] = field(default_factory=list)
    more: str = ""  # the address of the next page
    error: SearchError | None = None
    again: str = ""  # after an error: the address of this page
    shows_unrated: bool = False  # without blurring them


@dataclass(frozen=True, kw_only=True)
class PageContext(MembersContext):
    """The context of collection/page.html; some of it for the owner only."""

    views: dict[str, str]
    like_it: str
    hits: list[Hit]  # of the members
    unveiled: str  # address of the same page with unrated items not blurred
    as_json: str
    as_csv: str
    copy_it: str
    sources: list[str]  # slugs of datasets, the most frequent first
    form: CollectionForm | None = None
    visibility: CollectionVisibilityForm | None = None
    link: str = ""
    others: QuerySet[Collection] | None = None  # that can be merged into this one


def _compares_vectors(request: HttpRequest) -> bool:
    return bool(request.GET.get("q")) or request.GET.get("order") == UNLIKE


@require_safe
@limited("search", when=_compares_vectors)
@vary_on_headers("HX-Request")
def page(
    request: HtmxRequest, key: UUID | None = None, token: str = ""
) -> HttpResponse:
    access = find_readable(Collection, request.user, key, token)
    services.subtract_hidden([access.object], request.user)
    context = _members_context(request, access)
    template = "collection/_members.html"
    if not (request.htmx and request.GET.get("cursor")):
        template = "collection/page.html"
        context = _page_context(request, context)
    status = context.error.status if context.error else 200
    response = render(request, template, vars(context), status=status)
    if token:
        # The link is a secret of the owner's; search engines must not list it.
        response["X-Robots-Tag"] = "noindex, nofollow"
    return response


def _members_context(
    request: HttpRequest, access: Access[Collection]
) -> MembersContext:
    words = request.GET.get("q", "").strip()[:MAX_TEXT_LENGTH]
    order = request.GET.get("order", "")
    context = MembersContext(
        access=access,
        collection=access.object,
        below="collection/_below.html" if access.is_mine else "",
        words=words,
        order=order if order in VIEWS else "hand",
        shows_unrated=request.GET.get("nsfw") == UNRESTRICTED,
    )
    try:
        found = _find_members(request, context)
        members, more = _shown_items(found), _next_address(context, found.next)
    except SearchError as error:
        return replace(context, error=error, again=request.get_full_path())
    return replace(context, members=members, more=more)


def _find_members(request: HttpRequest, context: MembersContext) -> Page:
    """Return one page of (item, similarity or None)."""
    collection, order = context.collection, context.order
    cursor = request.GET.get("cursor", "")
    if context.words:
        return similarity.similar_to_words(
            collection,
            context.words,
            request.user,
            limiter(request),
            cursor,
            ITEMS_PER_PAGE,
        )
    if order == UNLIKE:
        return similarity.least_similar(
            collection, request.user, cursor, ITEMS_PER_PAGE
        )
    items: QuerySet[CollectionItem] = collection.items.visible_to(request.user)
    if order == "caption":
        items = with_sorted_caption(items)
    found = paginate(items, ORDERS[order], cursor, ITEMS_PER_PAGE)
    return Page([(member, None) for member in found.rows], found.start, found.next)


def _next_address(context: MembersContext, cursor: str) -> str:
    if not cursor:
        return ""
    nsfw = UNRESTRICTED if context.shows_unrated else ""
    return _address(context, nsfw=nsfw, cursor=cursor)


def _address(context: MembersContext, **more: str) -> str:
    given = {"q": context.words, "order": context.order, **more}
    parameters = {name: value for name, value in given.items() if value}
    return f"{context.access.address()}?{urlencode(parameters)}"


def _shown_items(found: Page) -> list[ShownItem]:
    members = [member for member, _ in found.rows]
    rate(members)
    slugs = {member.dataset for member in members}
    datasets = {each.slug: each for each in Dataset.objects.filter(slug__in=slugs)}
    try:
        states = states_of(members)
    except SearchUnavailable as error:
        # The page is useful all the same, and removed images are not served anyway.
        logger.warning("Removed items are not marked: %s", error.message)
        states = {}
    return [
        ShownItem(
            member,
            _hit(member, similarity),
            datasets.get(member.dataset),
            states.get((member.dataset, member.item), ItemState.THERE),
            number,
        )
        for number, (member, similarity) in enumerate(found.rows, found.start + 1)
    ]


def _hit(member: CollectionItem, similarity: float | None) -> Hit:
    return Hit(
        dataset=member.dataset,
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


def _page_context(request: HttpRequest, members: MembersContext) -> PageContext:
    access, collection = members.access, members.collection
    items = collection.items.visible_to(request.user)
    counts = items.values_list("dataset").annotate(count=Count("pk"))
    context = PageContext(
        **vars(members),
        views=VIEWS,
        like_it=access.address("collection-like-it"),
        hits=[each.hit for each in members.members],
        unveiled=_address(members, nsfw=UNRESTRICTED),
        as_json=access.address("collection-json"),
        as_csv=access.address("collection-csv"),
        copy_it=access.address("collection-copy"),
        sources=[slug for slug, _ in counts.order_by("-count", "dataset")],
    )
    if not access.is_mine:
        return context
    others = Collection.objects.owned_by(request.user).exclude(pk=collection.pk)
    others = others.filter(size__gt=0).order_by("-changed_at")
    return replace(
        context,
        form=CollectionForm(instance=collection),
        visibility=CollectionVisibilityForm(instance=collection),
        link=request.build_absolute_uri(sharing.link_of(collection)),
        others=others[:MAX_TO_MERGE],
    )


# --- Lists of collections


@dataclass(frozen=True, kw_only=True)
class ListContext:
    """The context of collection/public.html: one page of collections."""

    collections: list[Collection]
    next: str  # cursor
    is_first: bool
    sort: str  # a key of `sorts`
    sorts: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class MyListContext(ListContext):
    """The context of collection/mine.html."""

    form: CollectionForm
    deleted: QuerySet[Collection]


@takes(MAX_LIST_BYTES)
@require_http_methods(["GET", "HEAD", "POST"])
@errors_as_messages
def my_collections(request: HttpRequest) -> HttpResponse:
    """Show the user's collections; create one from a form that is posted."""
    if request.method == "POST":
        if wants_json(request) and not request.user.is_authenticated:
            raise InvalidQuery("Sign in to use collections.")
        return create(request)
    return _my_list(request, CollectionForm())


@login_required
def create(request: HttpRequest) -> HttpResponse:
    """Create a collection, with the items that the form names, if any."""
    form = CollectionForm(request.POST)
    if not form.is_valid() and not wants_json(request):
        return _my_list(request, form, status=400)
    check_form(form)
    keys = read(request.POST["items"]) if request.POST.get("items") else []
    words = request.POST.get("words", "")
    made = services.create(request.user, form.instance, keys, words)
    text = f"Created “{made.name}”."
    if keys:
        text = f"Created “{made.name}” with {counted(made.size)}."
    undo = {"url": reverse("collection-delete", args=[made.pk]), "data": {}}
    return success(request, text, made.get_absolute_url(), undo, id=str(made.pk))


@login_required
def _my_list(
    request: HttpRequest, form: CollectionForm, status: int = 200
) -> HttpResponse:
    mine = Collection.objects.owned_by(request.user)
    deleted = Collection.objects.deleted_by(request.user).order_by("-deleted_at")
    context = MyListContext(
        **vars(_list_context(request, mine)), form=form, deleted=deleted[:MAX_DELETED]
    )
    return render(request, "collection/mine.html", vars(context), status=status)


@require_safe
def public(request: HttpRequest) -> HttpResponse:
    context = _list_context(request, public_collections(request.user))
    return render(request, "collection/public.html", vars(context))


def public_collections(user: AnyUser) -> QuerySet[Collection]:
    """Return the public collections in which the user sees something."""
    items = CollectionItem.objects.visible_to(user).filter(collection=OuterRef("pk"))
    return Collection.objects.public().filter(Exists(items))


def _list_context(
    request: HttpRequest, collections: QuerySet[Collection]
) -> ListContext:
    sort = request.GET.get("sort", "")
    if sort not in COLLECTION_ORDERS:
        sort = "changed"
    found = paginate(
        with_cover_tiles(with_sorted_name(collections), request.user),
        COLLECTION_ORDERS[sort],
        request.GET.get("cursor", ""),
        COLLECTIONS_PER_PAGE,
    )
    choose_tiles(found.rows, request.user)
    services.subtract_hidden(found.rows, request.user)
    return ListContext(
        collections=found.rows,
        next=found.next,
        is_first=not found.start,
        sort=sort,
        sorts={key: order.title for key, order in COLLECTION_ORDERS.items()},
    )
