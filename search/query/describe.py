"""Terms and filters in words, for labels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .filters import SPECS
from .model import Term


@dataclass(frozen=True)
class TermWords:
    """The words for kinds of terms; "{}" is the item's id, or the host of the URL."""

    item: str = "like item {}"
    embedding: str = "an image"
    image: str = "an image"
    image_url: str = "an image from {}"


PROSE = TermWords()
WITHOUT_HOST = TermWords(image_url="an image")
# As the search box would have it.
QUERY_LANGUAGE = TermWords("item:{}", "embedding", "image", "image")


def describe_term(
    term: Term, name_of: Callable[[str], str], words: TermWords = PROSE
) -> str:
    """Return a term in words, without its weight.

    `name_of` gives the words for a concept, by its id; what it raises is raised.
    """
    if term.text is not None:
        return term.text
    if term.concept is not None:
        return name_of(term.concept)
    if term.item is not None:
        return words.item.format(term.item)
    if term.image_url is not None:
        return words.image_url.format(urlsplit(term.image_url).netloc)
    return words.image if term.embedding is None else words.embedding


def with_sign(words: str, weight: float) -> str:
    """Return the words of a term with "not" before them if it pushes away."""
    return f"not {words}" if weight < 0 else words


def with_factor(words: str, weight: float) -> str:
    """Return the words of a term with its weight as a factor: − boat, 2 × boat."""
    if weight == 1:
        return words
    factor = "− " if weight == -1 else f"{weight:g} × ".replace("-", "−")
    return f"{factor}{words}"


def in_query_language(words: str, weight: float) -> str:
    """Return the words of a term with its weight as the search box has it."""
    if weight in (1, -1):
        return words if weight == 1 else f"-({words})"
    return f"{weight:g}:({words})"


def describe_filters(filters: Mapping[str, Any]) -> str:
    """Return the values of filters, by their names, in words."""
    return ", ".join(SPECS[name].describe(value) for name, value in filters.items())
