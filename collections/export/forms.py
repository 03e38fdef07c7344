"""Forms of an export: its source, its format, and the filters of its items."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from search.errors import InvalidQuery, NotFound, check_form
from search.models import Dataset
from search.query.filters import Filters, url_filters
from search.query.model import MAX_RESULTS, split_slugs
from search.rate_limits import limiter
from search.retrieval import service
from search.web.forms import SearchForm

from ..concept.services import datasets_of
from ..models import Collection, Concept
from ..saved_search.saved_query import SavedQuery, checked
from ..sharing import find_readable, parse_uuid
from . import export_request
from .export_request import KINDS, ExportRequest

FORMAT_LABELS = {
    "parquet": (
        "Parquet",
        "A table for pandas, DuckDB and Spark; can be imported again.",
    ),
    "csv": ("CSV", "A table for spreadsheets and text tools."),
    "json": ("JSON", "A list of objects for programs."),
    "img2dataset": (
        "List for img2dataset",
        "URLs and captions for the tool that downloads the image files.",
    ),
}
NOTHING = "Choose what to export first."
FIELDS = {"image": "Images", "text": "Captions", "both": "Best of both"}


class ExportForm(forms.Form):
    """Its errors are sentences for the user."""

    form = forms.ChoiceField(
        choices=[(name, title) for name, (title, _) in FORMAT_LABELS.items()],
        error_messages=dict.fromkeys(
            ("required", "invalid_choice"), "Choose an export format."
        ),
    )
    embeddings = forms.BooleanField(required=False)
    limit = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_RESULTS,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"),
            f"Export between 1 and {MAX_RESULTS:,} results.",
        ),
    )
    at_least = forms.FloatField(
        required=False,
        min_value=-1,
        max_value=1,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"),
            "The minimum similarity must be a number between −1 and 1.",
        ),
    )
    field = forms.ChoiceField(
        required=False,
        choices=FIELDS.items(),
        error_messages={"invalid_choice": "Compare images, captions or both."},
    )


@dataclass(frozen=True)
class Source:
    """The source of an export, from the parameters of a URL or a form."""

    kind: str
    collection: Collection | None = None
    concept: Concept | None = None
    search: SavedQuery | None = None
    dataset: Dataset | None = None

    @classmethod
    def of(cls, given: Mapping[str, str], user: Any) -> "Source":
        """Read the source. Raises InvalidQuery; NotFound if it is not readable."""
        kind = next((name for name in KINDS if given.get(name)), "")
        if kind == "collection":
            collection = find_readable(Collection, user, _id(given[kind])).object
            return cls(kind, collection=collection)
        if kind == "search":
            search = checked(given[kind], user)
            dataset = Dataset.for_slug(split_slugs(search.dataset)[0], user)
            return cls(kind, search=search, dataset=dataset)
        if kind == "concept":
            concept = find_readable(Concept, user, _id(given[kind])).object
            dataset = _dataset_of(concept, given, user)
            return cls(kind, concept=concept, dataset=dataset)
        if kind == "dataset":
            return cls(kind, dataset=Dataset.for_slug(given[kind], user))
        raise InvalidQuery(NOTHING)

    @property
    def named(self) -> dict[str, str]:
        """The parameters of its URL."""
        params = {}
        if self.collection:
            params["collection"] = str(self.collection.pk)
        if self.concept:
            params["concept"] = str(self.concept.pk)
        if self.search:
            params["search"] = self.search.address
        elif self.dataset:
            params["dataset"] = self.dataset.slug
        return params

    @property
    def address(self) -> str:
        return f"{reverse('export-new')}?{urlencode(self.named)}"

    def export_request(self, form: ExportForm, request: HttpRequest) -> ExportRequest:
        """Return the request of the form.

        Raise InvalidQuery, NotFound, CannotFetch, SearchUnavailable.
        """
        check_form(form)
        given, user = form.cleaned_data, request.user
        # Embeddings can be ticked with any format; those without them ignore it.
        with_embeddings = given["embeddings"] and given["form"] == "parquet"
        options: dict[str, Any] = {
            "form": given["form"],
            "with_embeddings": with_embeddings,
        }
        if self.collection is not None:
            return export_request.of_collection(user, self.collection.pk, **options)
        if self.search is not None:
            limit = given["limit"] or MAX_RESULTS
            return _of_search(self.search, limit, request, options)
        if self.dataset is None:
            raise InvalidQuery(NOTHING)
        filters = _filters(request.POST)
        if self.concept is None:
            return export_request.of_dataset(
                user, self.dataset.slug, filters, **options
            )
        if given["at_least"] is None:
            raise InvalidQuery("Enter a minimum similarity.")
        return export_request.of_concept(
            user,
            self.concept.pk,
            self.dataset.slug,
            given["at_least"],
            given["field"] or "image",
            filters,
            **options,
        )


def _of_search(
    search: SavedQuery, limit: int, request: HttpRequest, options: dict[str, Any]
) -> ExportRequest:
    form, slug = search.form, search.dataset
    form.check()
    words = form.read(slug, request.get_host(), request.user)
    query = form.search_query(slug, words)
    return export_request.of_search(
        query, request.user, limiter(request), **options, limit=limit
    )


def _dataset_of(concept: Concept, given: Mapping[str, str], user: Any) -> Dataset:
    """Return the dataset that is named, or the first of the concept's model."""
    if slug := given.get("dataset", ""):
        return Dataset.for_slug(slug, user)
    if not (datasets := datasets_of(concept, service.datasets(user))):
        raise NotFound("There is no dataset of this concept's model.")
    return datasets[0]


def _filters(given: Mapping[str, str]) -> Filters:
    """Return the filters chosen on the form; raise InvalidQuery."""
    form = filter_form(given)
    form.check()
    return Filters(**form.filters)


def filter_form(given: Mapping[str, str]) -> SearchForm:
    """Return the form of the filters that an export of all items takes."""
    names = [spec.name for spec in url_filters() if not spec.ranked_only]
    return SearchForm({name: given.get(name, "") for name in names})


def _id(text: str) -> UUID:
    return parse_uuid(text, NotFound("There is nothing with this ID to export."))
