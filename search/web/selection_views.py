"""Download the items that are selected on a page as a file."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from search.csv_output import csv_heading, csv_lines
from search.errors import InvalidQuery, SearchError
from search.models import Viewer
from search.rate_limits import limited
from search.retrieval import service
from search.retrieval.items import check_item_id

MAX_SELECTED = 5_000
FACTS = ("url", "caption", "width", "height", "license", "nsfw")
COLUMNS = ("dataset", "id", *FACTS, "similarity")

Row = dict[str, Any]


@dataclass(frozen=True)
class Selection:
    """A selected item, with the similarity that the page showed, if any."""

    dataset: str
    id: int
    similarity: float | None


@require_POST
@limited("export")
def as_json(request: HttpRequest) -> HttpResponse:
    """Return a list of objects with the keys COLUMNS."""
    return _file(request, "json", lambda rows: json.dumps(rows, indent=2))


@require_POST
@limited("export")
def as_csv(request: HttpRequest) -> HttpResponse:
    return _file(request, "csv; charset=utf-8", _csv)


def _file(request: HttpRequest, kind: str, written: Any) -> HttpResponse:
    try:
        chosen = _read_selection(request.POST.get("items", ""))
        rows = list(_rows(chosen, request.user))
    except SearchError as error:
        problem = {"detail": error.message, "code": error.code}
        return JsonResponse(problem, status=error.status)
    suffix, _, _ = kind.partition(";")
    main = "application" if suffix == "json" else "text"
    response = HttpResponse(written(rows), content_type=f"{main}/{kind}")
    response["Content-Disposition"] = f'attachment; filename="selection.{suffix}"'
    return response


def _read_selection(text: str) -> list[Selection]:
    """Parse JSON: a list of {dataset, id, similarity}, the similarity optional.

    Raises InvalidQuery for anything else.
    """
    try:
        listed = json.loads(text)
        if not isinstance(listed, list) or len(listed) > MAX_SELECTED:
            raise InvalidQuery(f"Select up to {MAX_SELECTED:,} images.")
        return [_one(each) for each in listed]
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise InvalidQuery("This is not a list of selected images.") from error


def _one(given: Any) -> Selection:
    similarity = given.get("similarity") if isinstance(given, dict) else None
    known = similarity is not None and -1 <= (value := float(similarity)) <= 1
    item_id = check_item_id(int(given["id"]))
    return Selection(str(given["dataset"]), item_id, value if known else None)


def _rows(chosen: list[Selection], user: Viewer) -> Iterator[Row]:
    """Yield rows in the order of the selection; items removed since have no fields."""
    slugs = dict.fromkeys(each.dataset for each in chosen)
    hits = {
        slug: service.hits_by_id(
            slug, {e.id for e in chosen if e.dataset == slug}, user
        )
        for slug in slugs
    }
    for each in chosen:
        hit = hits[each.dataset].get(each.id)
        facts = {name: getattr(hit, name, None) for name in FACTS}
        yield {
            "dataset": each.dataset,
            "id": each.id,
            **facts,
            "similarity": each.similarity,
        }


def _csv(rows: list[Row]) -> str:
    cells = ([row[name] for name in COLUMNS] for row in rows)
    return csv_heading(COLUMNS) + "".join(csv_lines(cells))
