"""What can be asked: terms, and the query they make up, checked on the way in."""

import base64
import binascii
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .errors import InvalidQuery

FIELDS = ("image", "text")
MODES = ("ann", "exact")
MOST_TERMS = 16
MOST_TEXT = 1_000
MOST_WEIGHT = 100.0
LAST_ITEM = 2**53 - 1  # JavaScript keeps integers up to here
DEFAULT_LIMIT = 40
MOST_PER_PAGE = 100


@dataclass(frozen=True)
class Term:
    """One part of a query: words, a picture's bytes, an item's id, or an embedding."""

    text: str | None = None
    image: bytes | None = None
    item: int | None = None
    embedding: tuple[float, ...] | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        given = (self.text, self.image, self.item, self.embedding)
        if sum(value is not None for value in given) != 1:
            raise InvalidQuery(
                "A term is exactly one of text, image, item and embedding."
            )
        if self.text is not None:
            _check_text(self.text)
        if self.embedding is not None and not np.isfinite(self.embedding).all():
            raise InvalidQuery("The embedding holds numbers that are not finite.")
        if not (math.isfinite(self.weight) and abs(self.weight) <= MOST_WEIGHT):
            raise InvalidQuery(
                f"A weight lies between −{MOST_WEIGHT:g} and {MOST_WEIGHT:g}."
            )


def _check_text(text: str) -> None:
    if not text.strip():
        raise InvalidQuery("There are no words to search for.")
    if len(text) > MOST_TEXT:
        raise InvalidQuery(
            f"The text is {len(text):,} characters long; up to {MOST_TEXT:,} can be "
            "searched for."
        )


@dataclass(frozen=True)
class SearchQuery:
    dataset: str
    terms: tuple[Term, ...]
    field: str = "image"
    mode: str = "ann"
    limit: int = DEFAULT_LIMIT
    cursor: str = ""

    def __post_init__(self) -> None:
        if not self.terms and not self.cursor:
            raise InvalidQuery("There is nothing to search for.")
        if len(self.terms) > MOST_TERMS:
            raise InvalidQuery(f"A query has at most {MOST_TERMS} terms.")
        if self.field not in FIELDS:
            raise InvalidQuery("The field to search is image or text.")
        if self.mode not in MODES:
            raise InvalidQuery("The mode is ann or exact.")
        if not 1 <= self.limit <= MOST_PER_PAGE:
            raise InvalidQuery(f"A page has 1 to {MOST_PER_PAGE} results.")


def encode_embedding(vector: Iterable[float]) -> str:
    """A vector as text for an address: base64url of its little-endian float32."""
    data = np.asarray(vector, "<f4").tobytes()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode_embedding(text: str) -> tuple[float, ...]:
    """The vector that encode_embedding wrote; InvalidQuery for any other text."""
    digits = text.rstrip("=")
    try:
        data = base64.b64decode(digits + "=" * (-len(digits) % 4), b"-_", validate=True)
        return tuple(np.frombuffer(data, "<f4").tolist())
    except (binascii.Error, ValueError) as error:
        raise InvalidQuery(
            "The embedding is not base64url of little-endian float32 numbers."
        ) from error
