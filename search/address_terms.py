"""Terms that stand in an address beside the words: items, pictures, concepts.

Each is a parameter that may stand several times, and may have a weight before it:
item=7, item=-0.5:7, embedding=2:…, concept=….
"""

from collections.abc import Callable
from typing import Any

from django import forms

from .errors import InvalidQuery
from .query.model import LAST_ITEM, MOST_TERMS, Term, decode_embedding
from .query.parser import CONCEPT, ITEM
from .query.url_params import weighed

MOST_EMBEDDING = 12_000  # characters: 2,250 dimensions
NO_ITEM = "That is not the number of an item."
NO_PICTURE = "The picture in this address is not readable."
NO_CONCEPT = "That is not the id of a concept."


class TermsField(forms.Field):
    """All values of a parameter, as Terms. `read` makes one of a value and a weight."""

    widget = forms.MultipleHiddenInput

    def __init__(self, read: Callable[[str, float], Term]):
        super().__init__(required=False)
        self.read = read

    def to_python(self, values: Any) -> tuple[Term, ...]:
        given = listed(values)
        if len(given) > MOST_TERMS:
            raise forms.ValidationError(f"A search has at most {MOST_TERMS} terms.")
        try:
            return tuple(
                self.read(term, weight) for weight, term in map(weighed, given)
            )
        except InvalidQuery as error:
            raise forms.ValidationError(error.message) from error


def listed(values: Any) -> list[str]:
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
    if len(text) > MOST_EMBEDDING:
        raise InvalidQuery(NO_PICTURE)
    return Term(embedding=decode_embedding(text), weight=weight)


def concept_term(number: str, weight: float) -> Term:
    if not CONCEPT.fullmatch(number):
        raise InvalidQuery(NO_CONCEPT)
    return Term(concept=number.lower(), weight=weight)
