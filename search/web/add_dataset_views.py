"""The three steps in which staff adds a dataset: where, what, and by which model.

Each step is a page with a URL of its own, in which all that was chosen before is kept:
Back and reload work, also without JavaScript. A step that is refused is shown again, or
the one before it, with the reason and all that was typed.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from search.encoder.catalogue import Model, encodes_here
from search.errors import InvalidQuery, SearchError
from search.ingestion import notices
from search.ingestion.setup import creation, folders, uploads
from search.ingestion.setup.contents import Contents
from search.ingestion.setup.creation import Refused
from search.ingestion.setup.estimates import Estimate, estimate
from search.ingestion.setup.model_choices import Tested, model_choices, try_model
from search.ingestion.setup.previews import previews
from search.ingestion.setup.ratings import rated_values
from search.ingestion.sources.image_fetch import SourceImage
from search.models import Dataset
from search.query.ratings import NAMES as RATING_NAMES
from search.query.ratings import RatingRules
from search.removals.takedowns import needs_removal_list

from .draft_form import COLUMN, OTHER_MODEL, SEPARATOR, SOURCE_FIELDS, DraftForm
from .middleware import HtmxRequest
from .search_views import with_status
from .staff import for_staff_who_add

LABELS = {
    "url": "Address of the image",
    "caption": "Caption",
    "image": "Image",
    "nsfw": "Rating (safe or not)",
    "license": "License",
    "embedding": "Embedding of the image",
    "text_embedding": "Embedding of the caption",
}
SHOWN_ROWS, SHOWN_COLUMNS, SHOWN_LENGTH = 5, 8, 120
WITHHELD = "Images of LAION are shown once a removal list is loaded."


def on_source(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Call a view with the draft and what is at its source; else show the first step.

    The view gets the form, the dataset as it would be, and its contents.
    """

    @wraps(view)
    def wrapped(request: HtmxRequest) -> HttpResponse:
        form = DraftForm(request.POST if request.method == "POST" else request.GET)
        dataset = form.dataset()
        try:
            found = creation.look(dataset, is_local=False, kind=form.given["kind"])
        except SearchError as error:
            return render_where(request, form, error)
        return view(request, form, dataset, found)

    return wrapped


@require_safe
@for_staff_who_add
def where(request: HtmxRequest) -> HttpResponse:
    """Render the first step: where are the images."""
    return render_where(request, DraftForm(request.GET))


@require_safe
@for_staff_who_add
@on_source
def contents(
    request: HtmxRequest, form: DraftForm, dataset: Dataset, found: Contents
) -> HttpResponse:
    """Render the second step: what is there, and which column is what."""
    return _render(request, "contents", _contents(form, dataset, found))


@require_safe
@for_staff_who_add
@on_source
def model(
    request: HtmxRequest, form: DraftForm, dataset: Dataset, found: Contents
) -> HttpResponse:
    """Render the third step: by which model, and how safe it is."""
    if found.question:
        asked = InvalidQuery(found.question)
        page = _contents(form, dataset, found)
        return _render(request, "contents", page, asked)
    return _render(request, "model", _model(form, dataset, found))


@require_POST
@for_staff_who_add
@on_source
def test(
    request: HtmxRequest, form: DraftForm, dataset: Dataset, found: Contents
) -> HttpResponse:
    """Embed one of the images by the chosen model, and show the third step again."""
    page = _model(form, dataset, found)
    try:
        _check_chosen(dataset)
        creation.check_model(dataset, found)
        tested = try_model(dataset, _an_image(dataset, found))
    except SearchError as error:
        return _render(request, "model", page | {"failed": {"model": error.message}})
    page |= _costs(form, dataset, found, tested)
    return _render(request, "model", page)


@require_POST
@for_staff_who_add
@on_source
def start_import(
    request: HtmxRequest, form: DraftForm, dataset: Dataset, found: Contents
) -> HttpResponse:
    """Create the dataset, start its import, and go to its page."""
    try:
        _check_chosen(dataset)
        creation.check(dataset, found, starts=True)
        access = creation.find_access(form.access)
        creation.create_and_start(dataset, access)
        notices.subscribe(dataset, request.user)
    except SearchError as error:
        page = _model(form, dataset, found)
        if isinstance(error, Refused):
            of_model = {"weights": "model", "dimension": "model"}
            page["failed"] = {of_model.get(k, k): v for k, v in error.errors.items()}
        return _render(request, "model", page, error)
    page_of_import = redirect("ingestion", slug=dataset.slug)
    if request.htmx:  # the page is another one, not a further step
        return HttpResponseClientRedirect(page_of_import.url)
    return page_of_import


def _render(
    request: HtmxRequest,
    step: str,
    page: dict[str, Any],
    error: SearchError | None = None,
) -> HttpResponse:
    page |= {"step": step, "error": error}
    response = render(request, f"adding/{step}.html", page)
    return with_status(response, error) if error else response


def render_where(
    request: HtmxRequest,
    form: DraftForm,
    error: SearchError | None = None,
    url: str = "",
) -> HttpResponse:
    """Render the first step, with what was refused: perhaps the address of a file."""
    folder = request.GET.get("folder", "")
    try:
        listing = folders.browse(folder)
    except SearchError as unlisted:
        error, listing = error or unlisted, folders.browse()
    page = {
        "form": form,
        "given": form.given,
        "listing": listing,
        "roots": folders.roots(),
        "typed": "" if form.is_remote else form.given["source"] or folder,
        "base": form.given["source"] if form.is_remote else "",
        "defaults": Dataset(),
        "url": url,
        "uploads": uploads.unused(request.user.pk),
        "upload_limits": {
            "files": uploads.MAX_FILES,
            "bytes": uploads.MAX_FILE_BYTES,
        },
    }
    return _render(request, "where", page, error)


def _contents(form: DraftForm, dataset: Dataset, found: Contents) -> dict[str, Any]:
    withheld = needs_removal_list(dataset)
    shown = [] if withheld else previews(found.candidates)
    return {
        "form": form,
        "dataset": dataset,
        "found": found,
        "kinds": [(kind, Dataset.Kind(kind).label) for kind in found.kinds],
        "hidden": list(form.hidden("kind", COLUMN, "rating")),
        "roles": _roles(form, found),
        "rows": _rows(found),
        "previews": [each for each in shown if each.data],
        "unreadable": [each for each in shown if each.reason],
        "withheld": WITHHELD if withheld and found.candidates else "",
        "ratings": rated_values(found.sample, RatingRules.from_json(dataset.ratings)),
        "meanings": list(RATING_NAMES),
        "estimate": estimate(found),
        "back": _address("dataset-add", form, SOURCE_FIELDS),
    }


def _roles(form: DraftForm, found: Contents) -> list[dict[str, Any]]:
    """Return the selects of columns."""
    return [
        {
            "name": f"{COLUMN}{role}",
            "label": LABELS[role],
            "column": found.roles.get(role, ""),
            "chosen": form.columns.get(role, ""),
        }
        for role in found.assignable
    ]


def _rows(found: Contents) -> dict[str, Any]:
    """Return the first rows, and the names of their first columns."""
    sample = found.sample.slice(0, SHOWN_ROWS)
    names = sample.column_names[:SHOWN_COLUMNS]
    return {
        "names": names,
        "left_off": len(sample.column_names) - len(names),
        "cells": [
            [_shown(row.get(name)) for name in names] for row in sample.to_pylist()
        ],
    }


def _shown(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}…"


def _model(form: DraftForm, dataset: Dataset, found: Contents) -> dict[str, Any]:
    choices = model_choices(found)
    chosen = form.given["model"] or (_value(choices[0]) if choices else OTHER_MODEL)
    return {
        "form": form,
        "dataset": dataset,
        "found": found,
        "hidden": list(form.hidden(*OWN_FIELDS)),
        "models": [(_value(each), each) for each in choices],
        "chosen": chosen,
        "other": OTHER_MODEL,
        "safeties": Dataset.Safety.choices,
        "visibilities": Dataset.Visibility.choices,
        "chosen_only": Dataset.Visibility.CHOSEN,
        "needs_list": found.kind == Dataset.Kind.LAION,
        "has_list": not needs_removal_list(Dataset(kind=found.kind)),
        "embeds": found.kind == Dataset.Kind.IMAGES,
        "encodes_here": encodes_here(),
        "back": _address("dataset-add-contents", form, None),
        "failed": {},
    }


OWN_FIELDS = (
    *("title", "slug", "description", "license"),
    *("visibility", "allowed_users", "allowed_groups"),
    *("model", "other_model", "other_weights", "safety"),
    "without_removal_list",
)


def _value(model: Model) -> str:
    return SEPARATOR.join(model.key)


def _check_chosen(dataset: Dataset) -> None:
    """Raise Refused unless a model was chosen."""
    if not dataset.model:
        raise Refused({"model": creation.NO_MODEL})


def _costs(
    form: DraftForm, dataset: Dataset, found: Contents, tested: Tested
) -> dict[str, Any]:
    models = {each.key: each for each in model_choices(found)}
    model = models.get(form.chosen_model)
    known = model or Model(dataset.model, dataset.weights, tested.dimension, "")
    costs: Estimate = estimate(found, known, tested.seconds)
    return {"tested": tested, "estimate": costs}


def _an_image(dataset: Dataset, found: Contents) -> SourceImage | None:
    """Return the first image of the sample that can be read."""
    if needs_removal_list(dataset):
        return None
    for candidate in found.candidates:
        try:
            return candidate.load()
        except SearchError:
            continue
    return None


def _address(name: str, form: DraftForm, fields: tuple[str, ...] | None) -> str:
    """Return the address of an earlier step, with some of what was chosen, or all."""
    kept = [(key, value) for key, value in form.hidden() if value]
    if fields is not None:
        kept = [(key, value) for key, value in kept if key in fields]
    query = QueryDict(mutable=True)
    for key, value in kept:
        query.appendlist(key, value)
    return f"{reverse(name)}?{query.urlencode()}"
