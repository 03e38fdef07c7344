"""What anyone may take from a collection they see: a file, or pictures like these."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from uuid import UUID

from django.db.models import Count
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.text import slugify
from django.views.decorators.http import require_http_methods, require_safe

from search.csv_output import CONTENT_TYPE, csv_lines, streamed_file
from search.errors import NotFound
from search.models import Dataset
from search.query.model import encode_embedding
from search.query.url_params import search_url
from search.rate_limits import limited
from search.retrieval import popularity

from ..models import Collection
from ..sharing import find_readable
from . import similarity
from .item_keys import ItemKey, by_dataset
from .rows import COLUMNS, Row, batches

FORMS = {"json": "application/json", "csv": CONTENT_TYPE}


def written(collection: Collection, form: str, *, with_notes: bool) -> Iterator[str]:
    """The file, piece by piece; the first is there when this returns.

    Raises SearchUnavailable; once begun, a file that cannot be completed breaks off.
    """
    found = batches(collection, with_notes=with_notes)
    found = chain([next(found, [])], found)
    write = _json if form == "json" else _csv
    return write(collection, found, with_notes)


def _json(
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


def _csv(
    collection: Collection, found: Iterable[list[Row]], with_notes: bool
) -> Iterator[str]:
    names = [name for name in COLUMNS if with_notes or name != "note"]
    yield from csv_lines([names])
    for rows in found:
        yield "".join(csv_lines([row[name] for name in names] for row in rows))


@require_http_methods(["GET", "HEAD", "POST"])
@limited("export")
def export(
    request: HttpRequest,
    form: str,
    key: UUID | None = None,
    token: str = "",
) -> StreamingHttpResponse:
    """The members as a file; notes are in that of the owner alone."""
    access = find_readable(Collection, request.user, key, token)
    if request.method == "POST":  # a GET changes nothing
        _record(access.object)
    pieces = written(access.object, form, with_notes=access.is_mine)
    name = f"{slugify(access.object.name)[:60] or 'collection'}.{form}"
    return streamed_file(pieces, name, FORMS[form])


def _record(collection: Collection) -> None:
    """Counts the members as picked, unless there are too many for having been."""
    if collection.size > popularity.MAX_AT_ONCE:
        return
    rows = collection.items.values_list("dataset", "item")
    for slug, ids in by_dataset([ItemKey(*row) for row in rows]).items():
        popularity.record(slug, ids, "", popularity.Kind.EXPORTED)


@require_safe
@limited("search")
def more_like_it(
    request: HttpRequest, key: UUID | None = None, token: str = ""
) -> HttpResponse:
    """Sends on to a search by the mean of the pictures.

    By its id the search knows the collection and leaves its members out. Who came
    through a link does not reach it by its id; their search has the mean itself.
    """
    access = find_readable(Collection, request.user, key, token)
    if slug := request.GET.get("dataset", ""):
        Dataset.for_slug(slug)
    slug = slug or _main_dataset(access.object)
    asked = {"concept": str(access.object.pk)}
    if access.token:
        asked = {"embedding": encode_embedding(similarity.mean(access.object, slug))}
    # Django's redirect refuses addresses as long as those of large embeddings.
    address = search_url(asked | {"dataset": slug})
    return HttpResponse(status=303, headers={"Location": address})


def _main_dataset(collection: Collection) -> str:
    """The one that most members are of. Raises NotFound."""
    counted = collection.items.values_list("dataset").annotate(count=Count("pk"))
    main = counted.order_by("-count").first()
    if main is None:
        raise NotFound("There are no pictures in this collection yet.")
    return main[0]
