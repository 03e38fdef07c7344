"""Downloads of a collection as JSON or CSV, and the search for similar images."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from uuid import UUID

from django.db.models import Count
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.text import slugify
from django.views.decorators.http import require_http_methods, require_safe

from search.csv_output import CONTENT_TYPE, csv_heading, csv_lines, streamed_file
from search.errors import NotFound
from search.models import Dataset
from search.query.model import encode_embedding
from search.query.url_params import search_url
from search.rate_limits import bucket_owner, limited
from search.retrieval import popularity

from ..models import Collection
from ..models.ownership import AnyUser
from ..sharing import find_readable
from . import similarity
from .item_keys import ItemKey, by_dataset
from .rows import COLUMNS, Row, batches

CONTENT_TYPES = {"json": "application/json", "csv": CONTENT_TYPE}


@require_http_methods(["GET", "HEAD", "POST"])
@limited("export")
def export(
    request: HttpRequest, form: str, key: UUID | None = None, token: str = ""
) -> StreamingHttpResponse:
    """Stream the items as a file; only the owner gets the notes."""
    access = find_readable(Collection, request.user, key, token)
    if request.method == "POST":  # a GET changes nothing
        _record_picks(access.object, request)
    pieces = write(access.object, request.user, form, with_notes=access.is_mine)
    name = f"{slugify(access.object.name)[:60] or 'collection'}.{form}"
    return streamed_file(pieces, name, CONTENT_TYPES[form])


def _record_picks(collection: Collection, request: HttpRequest) -> None:
    """Count the items as picked, unless they are too many to be picked by hand."""
    if collection.size > popularity.MAX_AT_ONCE:
        return
    rows = collection.items.visible_to(request.user).values_list("dataset", "item")
    for slug, ids in by_dataset([ItemKey(*row) for row in rows]).items():
        popularity.record(
            slug, ids, "", popularity.Kind.EXPORTED, bucket_owner(request)
        )


def write(
    collection: Collection, user: AnyUser, form: str, *, with_notes: bool
) -> Iterator[str]:
    """Return the pieces of the file; the first batch is read before this returns.

    Raises SearchUnavailable. Later errors break off the file.
    """
    rows = batches(collection, user, with_notes=with_notes)
    rows = chain([next(rows, [])], rows)
    write_pieces = _write_json if form == "json" else _write_csv
    return write_pieces(collection, rows, with_notes)


def _write_json(
    collection: Collection, found: Iterable[list[Row]], with_notes: bool
) -> Iterator[str]:
    about = {"name": collection.name, "description": collection.description}
    yield json.dumps(about, ensure_ascii=False)[:-1] + ', "items": ['
    before = "\n"
    for rows in found:
        pieces = (json.dumps(row, ensure_ascii=False) for row in rows)
        if rows:
            yield before + ",\n".join(pieces)
            before = ",\n"
    yield "\n]}\n"


def _write_csv(
    collection: Collection, found: Iterable[list[Row]], with_notes: bool
) -> Iterator[str]:
    names = [name for name in COLUMNS if with_notes or name != "note"]
    yield csv_heading(names)
    for rows in found:
        yield "".join(csv_lines([row[name] for name in names] for row in rows))


@require_safe
@limited("search")
def more_like_it(
    request: HttpRequest, key: UUID | None = None, token: str = ""
) -> HttpResponse:
    """Redirect to the search by the mean embedding of the items.

    A search by the collection's id leaves its items out. Users of a link may not read
    the collection by its id: they get a search by the mean itself.
    """
    access = find_readable(Collection, request.user, key, token)
    if slug := request.GET.get("dataset", ""):
        Dataset.for_slug(slug, request.user)
    slug = slug or _main_dataset(access.object, request.user)
    term = {"concept": str(access.object.pk)}
    if access.token:
        mean = similarity.mean(access.object, slug, request.user)
        term = {"embedding": encode_embedding(mean)}
    # Django's redirect refuses addresses as long as those of large embeddings.
    address = search_url(term | {"dataset": slug})
    return HttpResponse(status=303, headers={"Location": address})


def _main_dataset(collection: Collection, user: AnyUser) -> str:
    """Return the slug of the dataset of most items. Raises NotFound."""
    items = collection.items.visible_to(user)
    counts = items.values_list("dataset").annotate(count=Count("pk"))
    main = counts.order_by("-count").first()
    if main is None:
        raise NotFound("This collection has no images yet.")
    return main[0]
