"""What a visitor asks for, from the address or from a form, as a SearchQuery."""

from django import forms
from django.core.files.uploadedfile import UploadedFile

from .errors import InvalidQuery
from .links import DEFAULTS, search_url
from .pictures import MOST_BYTES
from .query import LAST_ITEM, MOST_TEXT, SearchQuery, Term, decode_embedding

FIELDS = (("image", "Pictures"), ("text", "Captions"))
MODES = (("ann", "Approximate"), ("exact", "Exact"))
MOST_EMBEDDING = 12_000  # characters: 2,250 dimensions


def _first_sentence(form: forms.Form) -> str:
    return next(iter(form.errors.values()))[0]


class SearchForm(forms.Form):
    """The parameters of the search page. Its errors are sentences for the user."""

    q = forms.CharField(
        required=False,
        max_length=MOST_TEXT,
        error_messages={"max_length": f"Describe it in {MOST_TEXT:,} characters."},
    )
    dataset = forms.SlugField(
        required=False,
        error_messages={"invalid": "There is no dataset of that name."},
    )
    field = forms.ChoiceField(
        required=False,
        choices=FIELDS,
        error_messages={"invalid_choice": "Search in pictures or in captions."},
    )
    mode = forms.ChoiceField(
        required=False,
        choices=MODES,
        error_messages={"invalid_choice": "A search is approximate or exact."},
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

    def search_query(self, dataset: str) -> SearchQuery:
        self.check()
        given = self.cleaned_data
        return SearchQuery(
            dataset=dataset,
            terms=self._terms(),
            field=given["field"] or "image",
            mode=given["mode"] or "ann",
            cursor=given["cursor"],
        )

    def _terms(self) -> tuple[Term, ...]:
        given = self.cleaned_data
        terms = []
        if given["q"]:
            terms.append(Term(text=given["q"]))
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
