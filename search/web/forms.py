"""What a visitor asks for, from the address or from a form, as a SearchQuery."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from search.errors import InvalidQuery, check_form
from search.images.decode import MAX_BYTES
from search.query.model import (
    LAST_ITEM,
    MAX_SIDE_PX,
    MAX_TERMS,
    MAX_TEXT_LENGTH,
    MAX_WEIGHT,
    SearchQuery,
    Term,
    decode_embedding,
)
from search.query.parsed import ParsedQuery
from search.query.parser import CONCEPT, ITEM, MAX_QUERY_LENGTH
from search.query.url_params import (
    DEFAULTS,
    TERMS,
    search_query_string,
    search_url,
    split_weight,
)
from search.retrieval import query_reader

MAX_EMBEDDING = 12_000  # characters: 2,250 dimensions
NO_ITEM = "That is not the number of an item."
NO_IMAGE = "The picture in this address is not readable."
NO_CONCEPT = "That is not the id of a concept."


class TermsField(forms.Field):
    """All values of a parameter, as Terms. `read` makes one of a value and a weight."""

    widget = forms.MultipleHiddenInput

    def __init__(self, read: Callable[[str, float], Term]):
        super().__init__(required=False)
        self.read = read

    def to_python(self, values: Any) -> tuple[Term, ...]:
        given = split_values(values)
        if len(given) > MAX_TERMS:
            raise forms.ValidationError(f"A search has at most {MAX_TERMS} terms.")
        try:
            return tuple(
                self.read(term, weight) for weight, term in map(split_weight, given)
            )
        except InvalidQuery as error:
            raise forms.ValidationError(error.message) from error


def split_values(values: Any) -> list[str]:
    """What a parameter has, however it was given; blanks are nothing."""
    if values is None or isinstance(values, str | int):
        values = [values]
    told = (str(value).strip() for value in values if value is not None)
    return [value for value in told if value]


def item_term(number: str, weight: float) -> Term:
    if not ITEM.fullmatch(number) or int(number) > LAST_ITEM:
        raise InvalidQuery(NO_ITEM)
    return Term(item=int(number), weight=weight)


def embedding_term(text: str, weight: float) -> Term:
    if len(text) > MAX_EMBEDDING:
        raise InvalidQuery(NO_IMAGE)
    return Term(embedding=decode_embedding(text), weight=weight)


def concept_term(number: str, weight: float) -> Term:
    if not CONCEPT.fullmatch(number):
        raise InvalidQuery(NO_CONCEPT)
    return Term(concept=number.lower(), weight=weight)


FIELDS = (("image", "Pictures"), ("text", "Captions"), ("both", "Both"))
MODES = (("ann", "Approximate"), ("exact", "Exact"))
SAFETY_CHOICES = (("safe", "On"), ("any", "Off"))
DEDUPE_CHOICES = (("yes", "Near-duplicates folded"), ("no", "Near-duplicates shown"))
ORIENTATION_CHOICES = (
    ("landscape", "Landscape"),
    ("portrait", "Portrait"),
    ("square", "Square"),
)
SORT_CHOICES = (
    ("similarity", "Most similar first"),
    ("size", "Largest first"),
    ("popularity", "Most often picked first"),
)
FILTER_NAMES = (
    *("nsfw", "min_width", "max_width", "min_height", "max_height", "orientation"),
    *("caption", "site", "license", "min_similarity", "dedupe", "cutoff"),
)
MAX_IMAGES = 4  # at once; an address has no room for many more
YES_NO = {"yes": True, "no": False}


def _pixels(name: str) -> forms.IntegerField:
    return forms.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_SIDE_PX,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"), f"The {name} is a number of pixels."
        ),
    )


def _similarity(name: str) -> forms.FloatField:
    return forms.FloatField(
        required=False,
        min_value=-1,
        max_value=1,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"),
            f"The {name} is a number between −1 and 1.",
        ),
    )


def _words(sentence: str, most: int = MAX_TEXT_LENGTH) -> forms.CharField:
    return forms.CharField(
        required=False, max_length=most, error_messages={"max_length": sentence}
    )


def _choice(choices: tuple[tuple[str, str], ...], sentence: str) -> forms.ChoiceField:
    return forms.ChoiceField(
        required=False, choices=choices, error_messages={"invalid_choice": sentence}
    )


class SearchForm(forms.Form):
    """The parameters of the search page. Its errors are sentences for the user."""

    q = _words(f"Describe it in {MAX_QUERY_LENGTH:,} characters.", MAX_QUERY_LENGTH)
    dataset = forms.SlugField(
        required=False,
        error_messages={"invalid": "There is no dataset of that name."},
    )
    field = _choice(FIELDS, "Search in pictures, in captions or in both.")
    mode = _choice(MODES, "A search is approximate or exact.")
    sort = _choice(
        SORT_CHOICES, "Pictures come by similarity, by size or by popularity."
    )
    nsfw = _choice(SAFETY_CHOICES, "Show safe pictures or any.")
    min_width = _pixels("least width")
    max_width = _pixels("greatest width")
    min_height = _pixels("least height")
    max_height = _pixels("greatest height")
    orientation = _choice(
        ORIENTATION_CHOICES, "Pictures are landscape, portrait or square."
    )
    caption = _words(f"Up to {MAX_TEXT_LENGTH:,} characters of a caption.")
    site = _words("The filter site is a host such as flickr.com.")
    license = _words(f"Up to {MAX_TEXT_LENGTH:,} characters of a license.")
    min_similarity = _similarity("least similarity of picture and caption")
    dedupe = _choice(DEDUPE_CHOICES, "Near-duplicates are folded: yes or no.")
    cutoff = _similarity("cutoff")
    item = TermsField(item_term)
    embedding = TermsField(embedding_term)
    concept = TermsField(concept_term)
    cursor = _words("This address does not lead to a next page.", 2_000)

    @property
    def asked(self) -> dict[str, Any]:
        """As it was given, be it valid or not, for showing it again.

        Texts by the name of their parameter; of TERMS, lists of them.
        """
        return {
            name: split_values(self[name].value())
            if name in TERMS
            else str(self[name].value() or "").strip() or default
            for name, default in DEFAULTS.items()
        }

    @property
    def is_search(self) -> bool:
        asked = self.asked
        return any(asked[name] for name in ("q", *TERMS))

    def address(self, **changes: object) -> str:
        return search_url(self.asked, **changes)

    def told(self, *without: str) -> str:
        """The parameters as they stand in an address, some of them left out."""
        return search_query_string({**self.asked, **dict.fromkeys(without, "")})

    def check(self) -> None:
        check_form(self)

    def read(self, dataset: str, host: str) -> ParsedQuery:
        """How the words in the box are read."""
        return query_reader.read(self.cleaned_data["q"], dataset, host)

    def search_query(
        self, dataset: str, asked: ParsedQuery, **options: Any
    ) -> SearchQuery:
        given = self.cleaned_data
        return query_reader.query(
            dataset,
            asked,
            tuple(term for name in TERMS for term in given[name]),
            self.filters,
            field=given["field"] or "image",
            mode=given["mode"] or "ann",
            sort=given["sort"] or "similarity",
            cursor=given["cursor"],
            **options,
        )

    @property
    def filters(self) -> dict[str, Any]:
        """Fields of query.Filters, only those that are chosen beside the box."""
        given = self.cleaned_data
        chosen = {
            name: given[name] for name in FILTER_NAMES if given[name] not in ("", None)
        }
        if "dedupe" in chosen:
            chosen["dedupe"] = YES_NO[chosen["dedupe"]]
        return chosen


class ManyFiles(forms.FileInput):
    allow_multiple_selected = True


class ImagesField(forms.FileField):
    """Several files by one name, as a list of at least one."""

    widget = ManyFiles

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        files = data if isinstance(data, list) else [data]
        clean = super().clean
        return [clean(file, initial) for file in files or [None]]


class ImageForm(forms.Form):
    """Pictures to search by, and how: alone, or beside what is searched for already."""

    # An ImageField would open the picture before the service guards against bombs.
    picture = ImagesField(
        error_messages=dict.fromkeys(
            ("required", "invalid", "missing", "empty"), "Choose a picture first."
        )
    )
    weight = forms.FloatField(
        required=False,
        min_value=-MAX_WEIGHT,
        max_value=MAX_WEIGHT,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"),
            f"A weight lies between −{MAX_WEIGHT:g} and {MAX_WEIGHT:g}.",
        ),
    )
    beside = forms.BooleanField(required=False)

    def terms(self) -> list[Term]:
        """A term for each picture. Raises InvalidQuery."""
        check_form(self)
        files: list[UploadedFile] = self.cleaned_data["picture"]
        if len(files) > MAX_IMAGES:
            raise InvalidQuery(f"Search by up to {MAX_IMAGES} pictures at once.")
        weight = self.cleaned_data["weight"]
        weight = 1.0 if weight is None else weight
        # One byte too many is enough for the service to refuse it.
        return [Term(image=file.read(MAX_BYTES + 1), weight=weight) for file in files]
