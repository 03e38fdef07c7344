"""The ratings in the first rows of a source, and what they are taken to mean."""

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa

from search.ingestion.columns import NSFW
from search.ingestion.sources.cells import as_texts
from search.ingestion.sources.tables import column_named
from search.query.ratings import NAMES, RatingRules

MAX_VALUES = 20
WORDS = {rating: name for name, rating in NAMES.items()}


@dataclass(frozen=True)
class RatedValue:
    """A value of the ratings, and its meaning; "" for one that is not known."""

    value: str
    rows: int
    meaning: str
    is_chosen: bool  # by a person


def rated_values(sample: pa.Table, rules: RatingRules) -> list[RatedValue]:
    """Return the values of the ratings of some rows, the most frequent first."""
    name = column_named(NSFW, sample.column_names)
    if name is None:
        return []
    texts = as_texts(sample[name].combine_chunks()).to_pylist()
    counts = Counter(text or "" for text in texts)
    found = []
    for value, rows in counts.most_common(MAX_VALUES):
        rating = rules.rate(value)
        meaning = "" if rating is None else WORDS[rating]
        found.append(RatedValue(value, rows, meaning, rules.is_own(value)))
    return found
