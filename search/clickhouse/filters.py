"""Filters as a condition in SQL, and what hides an item from everyone."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from search.query.model import Filters

# Why an item found is not shown: the values of the column that HIDDEN makes.
VISIBLE, NSFW, REMOVED = range(3)
NOT_SAFE = ("NSFW", "UNSURE")  # LAION's words; what has none of them is shown
UNSAFE = f"upper(nsfw) IN {NOT_SAFE}"
NOT_REMOVED = "deleted = 0"
# Sides that differ by less than a twentieth make a square.
ORIENTATION = (
    "multiIf(width = 0 OR height = 0, '', width > 1.05 * height, 'landscape', "
    "height > 1.05 * width, 'portrait', 'square')"
)


@dataclass(frozen=True)
class Condition:
    """What WHERE says, and the parameters in it; empty when all rows will do."""

    sql: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.sql)

    @property
    def where(self) -> str:
        return f"WHERE {self.sql}" if self.sql else ""

    def only_shown(self, nsfw: str, without: Collection[int]) -> "Condition":
        """For those rows alone that are not hidden, and are not among `without`."""
        shown = self.and_(f"{hidden(nsfw)} = {VISIBLE}")
        if not without:
            return shown
        return shown.and_("id NOT IN {without:Array(UInt64)}", without=sorted(without))

    def and_(self, sql: str, **parameters: Any) -> "Condition":
        both = f"{self.sql} AND {sql}" if self.sql else sql
        return Condition(both, {**self.parameters, **parameters})


def condition_of(filters: Filters) -> Condition:
    """The filters that the engine applies to rows.

    Safety and removal are not among them: those rows are found and counted, then
    hidden. Neither are exclusion, folding and cutoff, which belong to the ranking.
    """
    tests = {
        "min_width": ("width >= {min_width:UInt32}", filters.min_width),
        # A size of 0 is not known.
        "max_width": ("width BETWEEN 1 AND {max_width:UInt32}", filters.max_width),
        "min_height": ("height >= {min_height:UInt32}", filters.min_height),
        "max_height": (
            "height BETWEEN 1 AND {max_height:UInt32}",
            filters.max_height,
        ),
        "orientation": (
            f"{ORIENTATION} = {{orientation:String}}",
            filters.orientation or None,
        ),
        "min_similarity": (
            "caption_similarity >= {min_similarity:Float32}",
            filters.min_similarity,
        ),
        "license": (
            "lowerUTF8(license) = lowerUTF8({license:String})",
            filters.license or None,
        ),
        "site": (
            "(site = {site:String} OR endsWith(site, concat('.', {site:String})))",
            filters.site.lower().removeprefix("www.") or None,
        ),
        # The index on captions holds words in small letters.
        "caption": (
            "hasAllTokens(caption, lowerUTF8({caption:String}))",
            filters.caption or None,
        ),
    }
    condition = Condition()
    for name, (sql, value) in tests.items():
        if value is not None:
            condition = condition.and_(sql, **{name: value})
    return condition


def hidden(nsfw: str) -> str:
    """The expression that says why an item is hidden, for this setting of nsfw."""
    unsafe = f"{UNSAFE}, {NSFW}, " if nsfw == "safe" else ""
    return f"multiIf(NOT {NOT_REMOVED}, {REMOVED}, {unsafe}{VISIBLE})"
