"""What can be asked: terms, filters, and a query of both, checked on the way in."""

import base64
import binascii
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from search.errors import InvalidQuery

FIELDS = ("image", "text", "both")
MODES = ("ann", "exact")
NSFW = ("safe", "any")
SORTS = ("similarity", "size", "popularity")
ORIENTATIONS = ("landscape", "portrait", "square")
MAX_TERMS = 16
MAX_TEXT_LENGTH = 1_000
MAX_URL_LENGTH = 2_000
MAX_FETCHED = 4  # pictures by their address; each may take seconds
MAX_WEIGHT = 100.0
MAX_IDS = 5_000  # their digits have to fit into one field of a request to the engine
MAX_EXCLUDED = MAX_IDS  # not to be split: each engine's list has to be whole
LAST_ITEM = 2**53 - 1  # JavaScript keeps integers up to here
MAX_SIDE_PX = 2**32 - 1  # pixels
DEFAULT_LIMIT = 40
MAX_PER_PAGE = 100
MAX_RESULTS = 10_000  # of a search, all pages together
WORD = re.compile(r"[^\W_]")  # a letter or a digit of any script
SHORTENED = "~"  # before what shorten_embedding writes
SITE = re.compile(r"[^\W_]([\w.-]*[^\W_])?")


@dataclass(frozen=True)
class Term:
    """One part of a query: exactly one of these, and its weight.

    `text` is words, `image` a picture's bytes, `image_url` where to fetch one, `item`
    an item's id, `embedding` the numbers themselves, `concept` the id of a Concept.
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
                f"The picture's address is longer than {MAX_URL_LENGTH:,} characters."
            )
        if self.embedding is not None and not np.isfinite(self.embedding).all():
            raise InvalidQuery("The embedding holds numbers that are not finite.")
        if not (math.isfinite(self.weight) and abs(self.weight) <= MAX_WEIGHT):
            raise InvalidQuery(
                f"A weight lies between −{MAX_WEIGHT:g} and {MAX_WEIGHT:g}."
            )

    def _kinds(self) -> tuple[object, ...]:
        return (
            self.text,
            self.image,
            self.image_url,
            self.item,
            self.embedding,
            self.concept,
        )


def _check_text(text: str) -> None:
    if not text.strip():
        raise InvalidQuery("There are no words to search for.")
    if len(text) > MAX_TEXT_LENGTH:
        raise InvalidQuery(
            f"The text is {len(text):,} characters long; up to {MAX_TEXT_LENGTH:,} "
            "can be searched for."
        )


@dataclass(frozen=True)
class Filters:
    """Which items may be among the results; None and "" ask for nothing.

    `min_similarity` is of the dataset's own image–caption score, `cutoff` of the
    similarity to the query; `caption` holds words that must all occur; `site` takes
    a host's subdomains along.
    """

    nsfw: str = "safe"
    min_width: int | None = None
    max_width: int | None = None
    min_height: int | None = None
    max_height: int | None = None
    orientation: str = ""
    min_similarity: float | None = None
    license: str = ""
    caption: str = ""
    site: str = ""
    exclude: tuple[int, ...] = ()
    dedupe: bool = True
    cutoff: float | None = None

    def __post_init__(self) -> None:
        if self.nsfw not in NSFW:
            raise InvalidQuery("The filter nsfw is safe or any.")
        for name in ("min_width", "max_width", "min_height", "max_height"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= MAX_SIDE_PX:
                raise InvalidQuery(f"The filter {name} is a number of pixels.")
        if self.orientation and self.orientation not in ORIENTATIONS:
            raise InvalidQuery(
                "The filter orientation is landscape, portrait or square."
            )
        for name in ("min_similarity", "cutoff"):
            value = getattr(self, name)
            if value is not None and not -1 <= value <= 1:
                raise InvalidQuery(f"The filter {name} lies between −1 and 1.")
        for name in ("license", "caption", "site"):
            if len(getattr(self, name)) > MAX_TEXT_LENGTH:
                raise InvalidQuery(
                    f"The filter {name} is longer than {MAX_TEXT_LENGTH:,} characters."
                )
        if self.caption and not WORD.search(self.caption):
            raise InvalidQuery("The filter caption holds no word.")
        if self.site and not SITE.fullmatch(self.site):
            raise InvalidQuery("The filter site is a host such as flickr.com.")
        if len(self.exclude) > MAX_EXCLUDED:
            raise InvalidQuery(f"At most {MAX_EXCLUDED:,} items can be excluded.")
        if not all(0 <= item <= LAST_ITEM for item in self.exclude):
            raise InvalidQuery("The filter exclude holds what is no item's id.")


@dataclass(frozen=True)
class SearchQuery:
    dataset: str
    terms: tuple[Term, ...]
    field: str = "image"
    mode: str = "ann"
    filters: Filters = Filters()
    sort: str = "similarity"
    limit: int = DEFAULT_LIMIT
    cursor: str = ""

    def __post_init__(self) -> None:
        if not self.terms and not self.cursor:
            raise InvalidQuery("There is nothing to search for.")
        if len(self.terms) > MAX_TERMS:
            raise InvalidQuery(f"A query has at most {MAX_TERMS} terms.")
        if sum(term.image_url is not None for term in self.terms) > MAX_FETCHED:
            raise InvalidQuery(
                f"A query has at most {MAX_FETCHED} pictures by their addresses."
            )
        if self.field not in FIELDS:
            raise InvalidQuery("The field to search is image, text or both.")
        if self.mode not in MODES:
            raise InvalidQuery("The mode is ann or exact.")
        if self.sort not in SORTS:
            raise InvalidQuery("Hits are sorted by similarity, size or popularity.")
        if not 1 <= self.limit <= MAX_PER_PAGE:
            raise InvalidQuery(f"A page has 1 to {MAX_PER_PAGE} results.")


def encode_embedding(vector: Iterable[float]) -> str:
    """A vector as text for an address: base64url of its little-endian float32."""
    return _base64url(np.asarray(vector, "<f4"))


def shorten_embedding(vector: Iterable[float]) -> str:
    """Half as long, of float16: so that an address has room for several pictures."""
    return SHORTENED + _base64url(np.asarray(vector, "<f2"))


def _base64url(numbers: np.ndarray) -> str:
    return base64.urlsafe_b64encode(numbers.tobytes()).decode().rstrip("=")


def decode_embedding(text: str) -> tuple[float, ...]:
    """The vector that one of these wrote; InvalidQuery for any other text."""
    numbers = "<f2" if text.startswith(SHORTENED) else "<f4"
    digits = text.removeprefix(SHORTENED).rstrip("=")
    try:
        data = base64.b64decode(digits + "=" * (-len(digits) % 4), b"-_", validate=True)
        return tuple(np.frombuffer(data, numbers).tolist())
    except (binascii.Error, ValueError) as error:
        raise InvalidQuery(
            "The embedding is not base64url of little-endian float32 numbers."
        ) from error
