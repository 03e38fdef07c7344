"""Ratings: what the values of datasets say about the safety of their images.

Datasets rate in many vocabularies. The item table holds one of four values, of which
only SAFE is shown plainly in safe mode. docs/ingestion.md lists the words.
"""

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

from search.errors import InvalidQuery

# LAION's values; "" is the rating of items that are not rated.
SAFE, UNSURE, UNSAFE, UNRATED = "UNLIKELY", "UNSURE", "NSFW", ""
# In a dataset's own mapping.
NAMES = {"safe": SAFE, "unsure": UNSURE, "unsafe": UNSAFE, "unrated": UNRATED}
# Of probabilities that an image is unsafe: below the first it is safe, from the second
# on unsafe.
SAFE_BELOW, UNSAFE_FROM = 0.1, 0.5
MAX_VALUES, MAX_VALUE_LENGTH = 1_000, 100  # of a dataset's own mapping
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)

# As `key` writes them. A word that vocabularies use in two ways has the less safe
# rating: s was danbooru's "safe" and is its "sensitive", t is "true".
WORDS = {
    SAFE: "unlikely very_unlikely safe sfw safe_for_work not_nsfw non_nsfw false no f "
    "off g general general_audiences pg everyone none neutral clean",
    UNSURE: "unsure s sensitive q questionable suggestive soft pg13 moderate medium "
    "mild racy sexy borderline ecchi maybe possible possibly r15",
    UNSAFE: "nsfw unsafe not_safe not_sfw not_safe_for_work e explicit adult "
    "adult_only adults_only porn porno pornographic pornography hentai nude nudity "
    "sexual erotic erotica x xx xxx x_rated r r_rated r18 r18g r18plus 18 18plus "
    "over18 m mature mature_audiences nc17 true t yes y on gore blocked likely "
    "very_likely high",
    UNRATED: "error unrated not_rated untagged unknown unspecified undefined null nil "
    "na nan missing",
}
RATINGS = {
    word.replace("_", ""): rating
    for rating, words in WORDS.items()
    for word in words.split()
} | {"": UNRATED}


def key(value: str) -> str:
    """Return a value without case, white space and punctuation: r18 for "R-18".

    The values of taggers name what they are: "rating:safe" is read as "safe".
    """
    folded = unicodedata.normalize("NFKC", value).casefold()
    return re.sub(r"[\W_]+", "", re.sub(r"^[\W_]*ratings?[\W_]+", "", folded))


@dataclass(frozen=True)
class RatingRules:
    """The meaning of the values of one dataset.

    `values` rates some by `key`, before RATINGS. With a `threshold` a number from it on
    is unsafe and any other one safe; without, numbers from 0 to 1 are probabilities.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    threshold: float | None = None

    @classmethod
    def from_json(cls, rules: Any) -> Self:
        """Read the field `ratings` of a dataset. Raise InvalidQuery with a sentence."""
        if not isinstance(rules, dict) or not rules.keys() <= {"values", "threshold"}:
            raise InvalidQuery(
                'Write the ratings as {"values": {"all ages": "safe"}}, as '
                '{"threshold": 0.3}, or with both; or leave {}.'
            )
        threshold = rules.get("threshold")
        if threshold is not None and not _is_number(threshold):
            raise InvalidQuery("The threshold of the ratings is a number such as 0.3.")
        return cls(_own_values(rules.get("values", {})), threshold)

    def rate(self, value: str) -> str | None:
        """Return the rating of a value, or None if it is not known."""
        text = value.strip()
        word = key(text)
        if (own := self.values.get(_own_key(text))) is not None:
            return own
        if NUMBER.fullmatch(text):
            rating = self._rate_number(float(text))
            return RATINGS.get(word) if rating is None else rating
        return RATINGS.get(word)

    def is_own(self, value: str) -> bool:
        """Return whether the dataset itself says what a value means."""
        return _own_key(value) in self.values

    def _rate_number(self, number: float) -> str | None:
        if self.threshold is not None:
            return UNSAFE if number >= self.threshold else SAFE
        if not 0 <= number <= 1:
            return None
        if number < SAFE_BELOW:
            return SAFE
        return UNSURE if number < UNSAFE_FROM else UNSAFE


def _own_key(value: str) -> str:
    """Return the key of a value in a dataset's own mapping: 1 for "1.0", too."""
    return repr(float(value)) if NUMBER.fullmatch(value.strip()) else key(value)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def _own_values(values: Any) -> dict[str, str]:
    if not isinstance(values, dict) or len(values) > MAX_VALUES:
        raise InvalidQuery(
            f"The values of the ratings are an object of up to {MAX_VALUES:,} entries "
            'such as {"all ages": "safe"}.'
        )
    own: dict[str, str] = {}
    for value, name in values.items():
        if not isinstance(name, str) or name not in NAMES:
            raise InvalidQuery(
                f"The rating “{value[:40]}” means safe, unsure, unsafe or unrated."
            )
        is_text = len(value) <= MAX_VALUE_LENGTH and value.isprintable()
        if not is_text or not _own_key(value):
            raise InvalidQuery(
                f"“{value[:40]}” is no rating: give up to {MAX_VALUE_LENGTH} "
                "characters, with a letter or a digit."
            )
        if own.setdefault(_own_key(value), NAMES[name]) != NAMES[name]:
            raise InvalidQuery(f"The rating “{value[:40]}” has two meanings.")
    return own


DEFAULT_RULES = RatingRules()


@lru_cache(maxsize=10_000)
def rating_of(value: str) -> str:
    """Return the rating that a value of an item table stands for.

    Earlier versions stored the values of datasets as they came; those that are not
    known count as unrated.
    """
    return DEFAULT_RULES.rate(value) or UNRATED


def is_safe(value: str) -> bool:
    """Return whether an item with this value is known to be safe."""
    return rating_of(value) == SAFE


def is_unsafe(value: str) -> bool:
    """Return whether safe mode hides an item with this value."""
    return rating_of(value) in (UNSURE, UNSAFE)
