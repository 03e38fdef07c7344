"""The query of a search: its terms and the SearchQuery, validated when created."""

import base64
import binascii
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from search.errors import InvalidQuery

from .filters import MAX_TEXT_LENGTH, Filters

FIELDS = ("image", "text", "both")
MODES = ("ann", "exact")
SORTS = ("similarity", "size", "popularity")
MAX_DATASETS = 16  # of a search: each takes a search of its own
MAX_TERMS = 16
MAX_URL_LENGTH = 2_000
MAX_IMAGES = 4  # of a query, given or by their URL: each takes time to decode
MAX_WEIGHT = 100.0
DEFAULT_LIMIT = 40
MAX_PER_PAGE = 100
MAX_RESULTS = 10_000  # of a search, all pages together
# The share of the true nearest that an approximate search is to find.
DEFAULT_RECALL, MIN_RECALL, MAX_RECALL = 0.95, 0.5, 0.999
# What to_dict writes.
TERM_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("text", "image", "image_url", "embedding", "concept"), str),
    "item": int,
    "weight": (int, float),
}
QUERY_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("dataset", "field", "mode", "sort", "cursor"), str),
    "terms": list,
    "filters": dict,
    "limit": int,
    "recall": (int, float),
}
SHORTENED = "~"  # before what shorten_embedding writes
MIN_NORM = 1e-6  # a shorter vector has no direction


@dataclass(frozen=True)
class Term:
    """One part of a query: exactly one kind of content, and its weight.

    `text` is words, `image` the bytes of an image file, `image_url` where to fetch one,
    `item` an item's id, `embedding` a vector, `concept` the id of a Concept.
    """

    text: str | None = None
    image: bytes | None = None
    image_url: str | None = None
    item: int | None = None
    embedding: tuple[float, ...] | None = None
    concept: str | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if sum(value is not None for value in self._kinds()) != 1:
            raise InvalidQuery(
                "A term is exactly one of text, image, image_url, item, embedding "
                "and concept."
            )
        if self.text is not None:
            _check_text(self.text)
        if self.image_url is not None and len(self.image_url) > MAX_URL_LENGTH:
            raise InvalidQuery(
                f"The image URL is longer than {MAX_URL_LENGTH:,} characters."
            )
        if self.embedding is not None and not np.isfinite(self.embedding).all():
            raise InvalidQuery("The embedding contains numbers that are not finite.")
        if not (math.isfinite(self.weight) and abs(self.weight) <= MAX_WEIGHT):
            raise InvalidQuery(
                f"A weight must be between −{MAX_WEIGHT:g} and {MAX_WEIGHT:g}."
            )

    @property
    def image_source(self) -> bytes | str | None:
        """Return the bytes or the URL of an image that has to be decoded."""
        return self.image_url if self.image is None else self.image

    def _kinds(self) -> tuple[object, ...]:
        return (
            self.text,
            self.image,
            self.image_url,
            self.item,
            self.embedding,
            self.concept,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the content and the weight in JSON's own types.

        An image is in base64, an embedding as encode_embedding writes it.
        """
        given = {name: value for name, value in vars(self).items() if value is not None}
        given["weight"] = float(self.weight)
        if self.image is not None:
            given["image"] = base64.b64encode(self.image).decode()
        if self.embedding is not None:
            given["embedding"] = encode_embedding(self.embedding)
        return given

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what to_dict wrote; raise InvalidQuery for anything else."""
        try:
            given = dict(values)
            _check_types(given, TERM_TYPES)
            if "image" in given:
                given["image"] = base64.b64decode(given["image"], validate=True)
            if "embedding" in given:
                given["embedding"] = decode_embedding(given["embedding"])
            return cls(**given)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidQuery("This is not a term of a query.") from error


def _check_text(text: str) -> None:
    if not text.strip():
        raise InvalidQuery("There are no words to search for.")
    if len(text) > MAX_TEXT_LENGTH:
        raise InvalidQuery(
            f"The text has {len(text):,} characters; use up to {MAX_TEXT_LENGTH:,}."
        )


@dataclass(frozen=True)
class SearchQuery:
    """A search, or with `cursor` a further page of one.

    `dataset` is the slug of a dataset, or of several, separated by commas.
    """

    dataset: str
    terms: tuple[Term, ...]
    field: str = "image"
    mode: str = "ann"
    filters: Filters = Filters()
    sort: str = "similarity"
    limit: int = DEFAULT_LIMIT
    cursor: str = ""
    recall: float = DEFAULT_RECALL

    def __post_init__(self) -> None:
        if not self.terms and not self.cursor:
            raise InvalidQuery("There is nothing to search for.")
        if len(self.datasets) > MAX_DATASETS:
            raise InvalidQuery(f"Up to {MAX_DATASETS} datasets are searched at once.")
        if len(self.terms) > MAX_TERMS:
            raise InvalidQuery(f"A search can have up to {MAX_TERMS} terms.")
        if sum(term.image_source is not None for term in self.terms) > MAX_IMAGES:
            raise InvalidQuery(f"A search can have up to {MAX_IMAGES} images.")
        if self.field not in FIELDS:
            raise InvalidQuery("The field must be image, text or both.")
        if self.mode not in MODES:
            raise InvalidQuery("The mode must be ann or exact.")
        if self.sort not in SORTS:
            raise InvalidQuery("The sort must be similarity, size or popularity.")
        if not 1 <= self.limit <= MAX_PER_PAGE:
            raise InvalidQuery(f"A page has 1 to {MAX_PER_PAGE} results.")
        if not MIN_RECALL <= self.recall <= MAX_RECALL:
            raise InvalidQuery(
                f"The recall must be between {MIN_RECALL:g} and {MAX_RECALL:g}."
            )

    @property
    def datasets(self) -> tuple[str, ...]:
        """The slugs of the datasets that are searched."""
        return split_slugs(self.dataset)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in JSON's own types, for storage."""
        return {
            "dataset": self.dataset,
            "terms": [term.to_dict() for term in self.terms],
            "field": self.field,
            "mode": self.mode,
            "filters": self.filters.to_dict(),
            "sort": self.sort,
            "limit": self.limit,
            "cursor": self.cursor,
            "recall": self.recall,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what to_dict wrote, by this version or an earlier one.

        What is missing has its default. Raise InvalidQuery for anything else.
        """
        try:
            given = dict(values)
            _check_types(given, QUERY_TYPES)
            given["terms"] = tuple(map(Term.from_dict, given["terms"]))
            if "filters" in given:
                given["filters"] = Filters.from_dict(given["filters"])
            return cls(**given)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidQuery("This is not a search.") from error


def split_slugs(text: str) -> tuple[str, ...]:
    """Return each of the slugs between commas once, at least one, perhaps ""."""
    slugs = dict.fromkeys(map(str.strip, text.split(",")))
    return tuple(filter(None, slugs)) or ("",)


def _check_types(
    values: Mapping[str, Any], types: Mapping[str, type | tuple[type, ...]]
) -> None:
    """Raise TypeError for a value of another type, KeyError for an unknown name."""
    for name, value in values.items():
        if not isinstance(value, types[name]):
            raise TypeError(name)


def unit_vector(
    numbers: np.ndarray | Sequence[float], dimension: int, name: str, others: str
) -> np.ndarray:
    """Return a vector of length 1 in the direction of these numbers, float64.

    Errors call the vector by its `name`, and what has the right dimension `others`.
    Raises InvalidQuery for another dimension and for a length of zero or infinity.
    """
    vector = np.asarray(numbers, np.float64)
    if vector.shape != (dimension,):
        raise InvalidQuery(
            f"The {name} has {vector.size:,} numbers; {others} have {dimension}."
        )
    with np.errstate(over="ignore"):  # an infinite length is refused below
        length = float(np.linalg.norm(vector))
    if not MIN_NORM < length < math.inf:
        raise InvalidQuery(
            f"The {name} has no direction: its length is zero or endless."
        )
    return vector / length


def encode_embedding(vector: Iterable[float]) -> str:
    """Return a vector as text for a URL: base64url of its little-endian float32."""
    return _base64url(np.asarray(vector, "<f4"))


def shorten_embedding(vector: Iterable[float]) -> str:
    """Return it half as long, of float16, so that a URL has room for several."""
    return SHORTENED + _base64url(np.asarray(vector, "<f2"))


def _base64url(numbers: np.ndarray) -> str:
    return base64.urlsafe_b64encode(numbers.tobytes()).decode().rstrip("=")


def decode_embedding(text: str) -> tuple[float, ...]:
    """Return the vector that one of these wrote; raise InvalidQuery for other text."""
    numbers = "<f2" if text.startswith(SHORTENED) else "<f4"
    digits = text.removeprefix(SHORTENED).rstrip("=")
    try:
        data = base64.b64decode(digits + "=" * (-len(digits) % 4), b"-_", validate=True)
        return tuple(np.frombuffer(data, numbers).tolist())
    except (binascii.Error, ValueError) as error:
        raise InvalidQuery(
            "The embedding is not base64url of little-endian float32 numbers."
        ) from error
