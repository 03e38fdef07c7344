"""What a visitor asks for, from the address or from a form, as a SearchQuery."""

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from . import asking
from .errors import InvalidQuery
from .language import MOST_ASKED, Asked
from .links import DEFAULTS, search_url
from .pictures import MOST_BYTES
from .query import (
    LAST_ITEM,
    LONGEST_SIDE,
    MOST_TEXT,
    SearchQuery,
    Term,
    decode_embedding,
)

FIELDS = (("image", "Pictures"), ("text", "Captions"), ("both", "Both"))
MODES = (("ann", "Approximate"), ("exact", "Exact"))
SAFETY = (("safe", "Safe pictures only"), ("any", "All pictures"))
FOLDING = (("yes", "Near-duplicates folded"), ("no", "Near-duplicates shown"))
CHOSEN = ("nsfw", "min_width", "min_height", "caption", "site", "dedupe")
MOST_EMBEDDING = 12_000  # characters: 2,250 dimensions


def _first_sentence(form: forms.Form) -> str:
    return next(iter(form.errors.values()))[0]


def _pixels(name: str) -> forms.IntegerField:
    return forms.IntegerField(
        required=False,
        min_value=0,
        max_value=LONGEST_SIDE,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"), f"The {name} is a number of pixels."
        ),
    )


class SearchForm(forms.Form):
    """The parameters of the search page. Its errors are sentences for the user."""

    q = forms.CharField(
        required=False,
        max_length=MOST_ASKED,
        error_messages={"max_length": f"Describe it in {MOST_ASKED:,} characters."},
    )
    dataset = forms.SlugField(
        required=False,
        error_messages={"invalid": "There is no dataset of that name."},
    )
    field = forms.ChoiceField(
        required=False,
        choices=FIELDS,
        error_messages={
            "invalid_choice": "Search in pictures, in captions or in both."
        },
    )
    mode = forms.ChoiceField(
        required=False,
        choices=MODES,
        error_messages={"invalid_choice": "A search is approximate or exact."},
    )
    nsfw = forms.ChoiceField(
        required=False,
        choices=SAFETY,
        error_messages={"invalid_choice": "Show safe pictures or any."},
    )
    min_width = _pixels("least width")
    min_height = _pixels("least height")
    caption = forms.CharField(
        required=False,
        max_length=MOST_TEXT,
        error_messages={"max_length": f"Up to {MOST_TEXT:,} characters of a caption."},
    )
    site = forms.CharField(
        required=False,
        max_length=MOST_TEXT,
        error_messages={"max_length": "The filter site is a host such as flickr.com."},
    )
    dedupe = forms.ChoiceField(
        required=False,
        choices=FOLDING,
        error_messages={"invalid_choice": "Near-duplicates are folded: yes or no."},
    )
    item = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=LAST_ITEM,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"), "That is not the number of an item."
        ),
    )
    embedding = forms.CharField(
        required=False,
        max_length=MOST_EMBEDDING,
        error_messages={"max_length": "The picture in this address is not readable."},
    )
    cursor = forms.CharField(
        required=False,
        max_length=2_000,
        error_messages={"max_length": "This address does not lead to a next page."},
    )

    @property
    def asked(self) -> dict[str, str]:
        """As it was given, be it valid or not, for showing it again."""
        return {
            name: (self[name].value() or "").strip() or default
            for name, default in DEFAULTS.items()
        }

    @property
    def is_search(self) -> bool:
        return any(self.asked[name] for name in ("q", "item", "embedding"))

    def address(self, **changes: object) -> str:
        return search_url(self.asked, **changes)

    def check(self) -> None:
        if not self.is_valid():
            raise InvalidQuery(_first_sentence(self))

    def read(self, dataset: str, host: str) -> Asked:
        """How the words in the box are read."""
        return asking.read(self.cleaned_data["q"], dataset, host)

    def search_query(self, dataset: str, asked: Asked) -> SearchQuery:
        given = self.cleaned_data
        return asking.query(
            dataset,
            asked,
            self._terms(),
            self.filters,
            field=given["field"] or "image",
            mode=given["mode"] or "ann",
            cursor=given["cursor"],
        )

    @property
    def filters(self) -> dict[str, Any]:
        """Fields of query.Filters, only those that are chosen beside the box."""
        given = self.cleaned_data
        chosen = {name: given[name] for name in CHOSEN if given[name] not in ("", None)}
        if "dedupe" in chosen:
            chosen["dedupe"] = chosen["dedupe"] == "yes"
        return chosen

    def _terms(self) -> tuple[Term, ...]:
        given = self.cleaned_data
        terms = []
        if given["item"] is not None:
            terms.append(Term(item=given["item"]))
        if given["embedding"]:
            terms.append(Term(embedding=decode_embedding(given["embedding"])))
        return tuple(terms)


class PictureForm(forms.Form):
    # An ImageField would open the picture before the service guards against bombs.
    picture = forms.FileField(
        error_messages=dict.fromkeys(
            ("required", "invalid", "missing", "empty"), "Choose a picture first."
        )
    )

    def content(self) -> bytes:
        if not self.is_valid():
            raise InvalidQuery(_first_sentence(self))
        picture: UploadedFile = self.cleaned_data["picture"]
        # One byte too many is enough for the service to refuse it.
        return picture.read(MOST_BYTES + 1)
