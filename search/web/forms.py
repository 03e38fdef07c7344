"""Forms of the search page: from URL parameters and uploads to a SearchQuery."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from search.errors import InvalidQuery, check_form
from search.evaluation.recall import WIDER_RECALL
from search.images.formats import MAX_BYTES
from search.models import Viewer
from search.query.filters import (
    LAST_ITEM,
    MAX_TEXT_LENGTH,
    NO,
    YES,
    Choice,
    Control,
    FilterSpec,
    Ids,
    Number,
    Switch,
    Text,
    Whole,
    url_filters,
)
from search.query.model import (
    DEFAULT_RECALL,
    MAX_IMAGES,
    MAX_RECALL,
    MAX_TERMS,
    MAX_WEIGHT,
    MIN_RECALL,
    SearchQuery,
    Term,
    decode_embedding,
    split_slugs,
)
from search.query.parsed import ParsedQuery
from search.query.parser import CONCEPT, ITEM, MAX_QUERY_LENGTH
from search.query.url_params import (
    TERMS,
    search_query_string,
    search_url,
    split_weight,
    url_defaults,
)
from search.retrieval import query_reader

MAX_EMBEDDING = 12_000  # characters: 2,250 dimensions
NO_ITEM = "This is not an item ID."
EMBEDDING_TOO_LONG = "The image in this URL cannot be read."
NO_CONCEPT = "This is not a concept ID."


class TermsField(forms.Field):
    """All values of a parameter as Terms; `read` makes one of a value and a weight."""

    widget = forms.MultipleHiddenInput

    def __init__(self, read: Callable[[str, float], Term]):
        super().__init__(required=False)
        self.read = read

    def to_python(self, values: Any) -> tuple[Term, ...]:
        given = split_values(values)
        if len(given) > MAX_TERMS:
            raise forms.ValidationError(f"A search can have up to {MAX_TERMS} terms.")
        try:
            return tuple(
                self.read(term, weight) for weight, term in map(split_weight, given)
            )
        except InvalidQuery as error:
            raise forms.ValidationError(error.message) from error


def split_values(values: Any) -> list[str]:
    """Return the values of a parameter as a list, without blank ones."""
    if values is None or isinstance(values, str | int):
        values = [values]
    texts = (str(value).strip() for value in values if value is not None)
    return [text for text in texts if text]


def item_term(number: str, weight: float) -> Term:
    if not ITEM.fullmatch(number) or int(number) > LAST_ITEM:
        raise InvalidQuery(NO_ITEM)
    return Term(item=int(number), weight=weight)


def embedding_term(text: str, weight: float) -> Term:
    if len(text) > MAX_EMBEDDING:
        raise InvalidQuery(EMBEDDING_TOO_LONG)
    return Term(embedding=decode_embedding(text), weight=weight)


def concept_term(number: str, weight: float) -> Term:
    if not CONCEPT.fullmatch(number):
        raise InvalidQuery(NO_CONCEPT)
    return Term(concept=number.lower(), weight=weight)


FIELDS = (("image", "Images"), ("text", "Captions"), ("both", "Both"))
MODES = (("ann", "Approximate"), ("exact", "Exact"))
SORT_CHOICES = (
    ("similarity", "Most similar first"),
    ("size", "Largest first"),
    ("popularity", "Most popular first"),
)
RECALL_CHOICES = {
    f"{recall:g}": f"{name}: finds {100 * recall:g} of 100"
    for name, recall in (("Usual", DEFAULT_RECALL), ("High", WIDER_RECALL))
}


def recall_choices(current: str) -> list[tuple[str, str]]:
    """Return the values of `recall` to choose from, with the current one."""
    choices = {current: f"As in the address: {current}", **RECALL_CHOICES}
    return sorted(choices.items())


def _text(sentence: str, max_length: int = MAX_TEXT_LENGTH) -> forms.CharField:
    return forms.CharField(
        required=False, max_length=max_length, error_messages={"max_length": sentence}
    )


def _choice(choices: tuple[tuple[str, str], ...], sentence: str) -> forms.ChoiceField:
    return forms.ChoiceField(
        required=False, choices=choices, error_messages={"invalid_choice": sentence}
    )


class OffCheckbox(forms.CheckboxInput):
    """A checkbox that is checked for "no" and sends that."""

    def __init__(self, attrs: dict[str, str] | None = None):
        super().__init__(attrs, check_test=lambda value: value == NO[0])

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        context["widget"]["value"] = NO[0]
        return context

    # The text itself, where a checkbox makes a bool of it.
    value_from_datadict = forms.Widget.value_from_datadict


def filter_field(spec: FilterSpec) -> forms.Field:
    """Return the field of a filter; its cleaned value is None or "" if not given."""
    codes = ("invalid", "min_value", "max_value", "max_length", "invalid_choice")
    errors = dict.fromkeys(codes, spec.error)
    common: dict[str, Any] = {"required": False, "error_messages": errors}
    common["widget"] = _filter_widget(spec)
    match spec.type:
        case Whole(minimum=least, maximum=most):
            return forms.IntegerField(min_value=least, max_value=most, **common)
        case Number(minimum=lowest, maximum=highest):
            return forms.FloatField(min_value=lowest, max_value=highest, **common)
        case Text():
            return forms.CharField(max_length=MAX_TEXT_LENGTH, **common)
        case Choice(choices=choices):
            any_of_them = [("", spec.control.placeholder)] if spec.control else []
            return forms.ChoiceField(choices=[*any_of_them, *choices], **common)
        case Switch(labels=labels):
            return forms.TypedChoiceField(
                choices=((YES[0], labels[0]), (NO[0], labels[1])),
                coerce={YES[0]: True, NO[0]: False}.__getitem__,
                empty_value=None,
                **common,
            )
        case Ids():
            raise TypeError(f"The filter {spec.name} has no field in a form.")


def _filter_widget(spec: FilterSpec) -> forms.Widget:
    control = spec.control or Control("")
    attributes = dict(control.attributes)
    match spec.type:
        case Switch():
            return OffCheckbox(attributes)
        case Choice():
            return forms.Select(attributes)
        case Text():
            return forms.TextInput(
                {
                    "placeholder": control.placeholder,
                    "autocomplete": "off",
                    **attributes,
                }
            )
    return forms.NumberInput({"placeholder": control.placeholder, **attributes})


@dataclass(frozen=True)
class FilterInput:
    """The control of a filter as the templates show it; `input` is its HTML."""

    control: Control
    input: str
    is_tick: bool


SLUGS = r"\A[-\w]+(,[-\w]+)*\Z"
MAX_SLUGS_LENGTH = 700


class JoinedInput(forms.TextInput):
    """The values of a parameter that may occur several times, with commas between."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> str:
        values = data.getlist(name) if hasattr(data, "getlist") else [data.get(name)]
        return ",".join(split_slugs(",".join(split_values(values))))


class SearchForm(forms.Form):
    """The parameters of the search page. Its errors are sentences for the user."""

    q = _text(
        f"Your search is too long: use up to {MAX_QUERY_LENGTH:,} characters.",
        MAX_QUERY_LENGTH,
    )
    dataset = forms.RegexField(
        SLUGS,
        required=False,
        max_length=MAX_SLUGS_LENGTH,
        widget=JoinedInput,
        error_messages=dict.fromkeys(
            ("invalid", "max_length"), "There is no dataset with this name."
        ),
    )
    field = _choice(FIELDS, "Search in images, captions or both.")
    mode = _choice(MODES, "The search mode must be approximate or exact.")
    sort = _choice(SORT_CHOICES, "Sort by similarity, size or popularity.")
    recall = forms.FloatField(
        required=False,
        min_value=MIN_RECALL,
        max_value=MAX_RECALL,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"),
            f"The recall must be a number between {MIN_RECALL:g} and {MAX_RECALL:g}.",
        ),
    )
    item = TermsField(item_term)
    embedding = TermsField(embedding_term)
    concept = TermsField(concept_term)
    cursor = _text("This link to the next page is not valid.", 2_000)

    def __init__(self, data: Mapping[str, Any] | None = None):
        super().__init__(data, auto_id=False)
        filters = {spec.name: filter_field(spec) for spec in url_filters()}
        self.fields |= filters
        self.order_fields(["q", "dataset", "field", "mode", "sort", *filters])

    @cached_property
    def params(self) -> dict[str, Any]:
        """The parameters as submitted, valid or not, to display them again.

        Texts, by the name of the parameter; lists of texts for TERMS.
        """
        return {
            name: split_values(self[name].value())
            if name in TERMS
            else str(self[name].value() or "").strip() or default
            for name, default in url_defaults().items()
        }

    @property
    def is_search(self) -> bool:
        params = self.params
        return any(params[name] for name in ("q", *TERMS))

    def url(self, **changes: object) -> str:
        """Return the URL of the search page with these parameters, some changed."""
        return search_url(self.params, **changes)

    def query_string(self, *without: str) -> str:
        """Return the parameters as a query string, some of them left out."""
        return search_query_string({**self.params, **dict.fromkeys(without, "")})

    def check(self) -> None:
        """Raise InvalidQuery with the first error, if there is one."""
        check_form(self)

    def read(self, dataset: str, host: str, user: Viewer) -> ParsedQuery:
        """Parse the words in the box."""
        return query_reader.read(self.cleaned_data["q"], dataset, host, user)

    def search_query(
        self, dataset: str, parsed: ParsedQuery, **options: Any
    ) -> SearchQuery:
        """Return the query of the parsed words and the other parameters."""
        given = self.cleaned_data
        return query_reader.query(
            dataset,
            parsed,
            tuple(term for name in TERMS for term in given[name]),
            self.filters,
            field=given["field"] or "image",
            mode=given["mode"] or "ann",
            sort=given["sort"] or "similarity",
            recall=given["recall"] or DEFAULT_RECALL,
            cursor=given["cursor"],
            **options,
        )

    @property
    def filters(self) -> dict[str, Any]:
        """The values of the filters that have parameters of their own."""
        given = self.cleaned_data
        return {
            spec.name: given[spec.name]
            for spec in url_filters()
            if given[spec.name] not in ("", None)
        }

    def filter_inputs(
        self, names: Collection[str], **attributes: str | bool
    ) -> list[FilterInput]:
        """Return the controls of those of these filters that have one, with HTML."""
        return [
            FilterInput(
                spec.control,
                self[spec.name].as_widget(attrs={**attributes}),
                isinstance(spec.type, Switch),
            )
            for spec in url_filters()
            if spec.control and spec.name in names
        ]


class ManyFiles(forms.FileInput):
    allow_multiple_selected = True


class ImagesField(forms.FileField):
    """Several files under one name, as a list of at least one."""

    widget = ManyFiles

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        files = data if isinstance(data, list) else [data]
        clean = super().clean
        return [clean(file, initial) for file in files or [None]]


class ImageForm(forms.Form):
    """Images to search by; `beside` adds them to the current search."""

    # An ImageField would open the image before the service guards against bombs.
    picture = ImagesField(
        error_messages=dict.fromkeys(
            ("required", "invalid", "missing", "empty"), "Choose an image first."
        )
    )
    weight = forms.FloatField(
        required=False,
        min_value=-MAX_WEIGHT,
        max_value=MAX_WEIGHT,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"),
            f"A weight must be between −{MAX_WEIGHT:g} and {MAX_WEIGHT:g}.",
        ),
    )
    beside = forms.BooleanField(required=False)
    # Among the embeddings of the search, where those of the images go; else at the end.
    place = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_TERMS,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"), "This search has no such image."
        ),
    )

    def terms(self) -> list[Term]:
        """Return a term for each image; raise InvalidQuery."""
        check_form(self)
        files: list[UploadedFile] = self.cleaned_data["picture"]
        if len(files) > MAX_IMAGES:
            raise InvalidQuery(f"A search can have up to {MAX_IMAGES} images.")
        weight = self.cleaned_data["weight"]
        weight = 1.0 if weight is None else weight
        # One byte too many is enough for the service to refuse the file.
        return [Term(image=file.read(MAX_BYTES + 1), weight=weight) for file in files]
