"""SQL conditions: the filters of a search, and what hides an item."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from search.query import ratings
from search.query.filters import HIDE_ALL, RATED, SAFE, SPECS, Filters

from . import client
from .schema import ItemTable

# Why an item found is not shown: the values of why_hidden().
VISIBLE, NSFW, REMOVED = range(3)
HIDING_COLUMNS = "deleted, nsfw"
NOT_REMOVED = "deleted = 0"
# Of tables from before there was the column of indexed words.
UNINDEXED_CAPTION = "hasAllTokens(caption, lowerUTF8({caption:String}))"


def _rating_sql(wanted: Collection[str], numbers: str) -> str:
    """Return a condition for the values of some ratings; see search.query.ratings.

    Imports store ratings. Those of earlier versions stored what the dataset has: words
    in any spelling, and numbers, of which those that pass `numbers` count.
    """
    words = ", ".join(
        f"'{word}'" for word, rating in ratings.RATINGS.items() if rating in wanted
    )
    named = (
        r"replaceRegexpOne(lowerUTF8(nsfw), '^[^\\pL\\pN]*ratings?[^\\pL\\pN]+', '')"
    )
    word = rf"replaceRegexpAll({named}, '[^\\pL\\pN]', '')"
    trimmed = r"replaceRegexpAll(nsfw, '^[\\s\\pZ]+|[\\s\\pZ]+$', '')"
    number = f"toFloat64OrDefault({trimmed}, toFloat64(-1))"
    return f"({word} IN ({words}) OR ({numbers.format(number)}))"


UNSAFE = _rating_sql(
    (ratings.UNSURE, ratings.UNSAFE), f"{{}} BETWEEN {ratings.SAFE_BELOW} AND 1"
)
KNOWN_SAFE = _rating_sql(
    (ratings.SAFE,), f"{{0}} >= 0 AND {{0}} < {ratings.SAFE_BELOW}"
)
# Which items are hidden for what they are, by the filter nsfw. The first tests spare
# most rows the others.
HIDDEN = {
    SAFE: f"nsfw NOT IN ('{ratings.SAFE}', '{ratings.UNRATED}') AND {UNSAFE}",
    RATED: f"nsfw != '{ratings.SAFE}' AND NOT {KNOWN_SAFE}",
    HIDE_ALL: "1",
}


@dataclass(frozen=True)
class Condition:
    """A WHERE condition and its parameters; empty when all rows pass."""

    sql: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.sql)

    @property
    def where(self) -> str:
        return f"WHERE {self.sql}" if self.sql else ""

    def only_shown(self, nsfw: str, without: Collection[int]) -> "Condition":
        """Narrow to the rows that are not hidden and whose id is not in `without`."""
        visible = self.and_(NOT_REMOVED)
        if nsfw in HIDDEN:
            visible = visible.and_(f"NOT ({HIDDEN[nsfw]})")
        if not without:
            return visible
        return visible.and_(
            "id NOT IN {without:Array(UInt64)}", without=sorted(without)
        )

    def and_(self, sql: str, **parameters: Any) -> "Condition":
        both = f"{self.sql} AND {sql}" if self.sql else sql
        return Condition(both, {**self.parameters, **parameters})


def condition_of(filters: Filters, table: ItemTable) -> Condition:
    """Return the condition of the filters that the engine applies to a table's rows.

    Safety and removal are not among them: those rows are found and counted, then
    hidden. Neither are exclusion, folding and cutoff, which belong to the ranking.
    """
    condition = Condition()
    for name, value in filters.chosen.items():
        spec = SPECS[name]
        if name == "caption" and not table.words_indexed:
            condition = condition.and_(UNINDEXED_CAPTION, caption=value)
        elif spec.sql:
            sql, parameters = spec.condition(value)
            condition = condition.and_(sql, **parameters)
    return condition


def why_hidden(rows: pa.Table, nsfw: str) -> np.ndarray:
    """Return why each row is hidden, uint8, for this setting of the filter nsfw.

    The rows have the columns of HIDING_COLUMNS. The engine spends longer on reading the
    expression for it than on a search.
    """
    hidden = np.full(len(rows), VISIBLE, np.uint8)
    if nsfw == HIDE_ALL:
        hidden[:] = NSFW
    elif nsfw in HIDDEN:
        values = rows["nsfw"].combine_chunks().dictionary_encode()
        hides = ratings.is_unsafe if nsfw == SAFE else _is_not_safe
        is_hidden = np.array(list(map(hides, client.texts(values.dictionary))), bool)
        hidden[is_hidden[values.indices.to_numpy()]] = NSFW
    hidden[rows["deleted"].to_numpy() != 0] = REMOVED
    return hidden


def _is_not_safe(value: str) -> bool:
    return not ratings.is_safe(value)
