"""Items as they are shown, and their ids."""

import math
from dataclasses import dataclass
from typing import Any

from search.clickhouse.schema import SHARD_BITS
from search.errors import NotFound
from search.models import Dataset
from search.query import ratings
from search.query.filters import LAST_ITEM


@dataclass(frozen=True, kw_only=True)
class Hit:
    """An item and its similarity to the query, at most 1: higher is closer."""

    dataset: str  # its slug
    id: int
    url: str
    caption: str
    similarity: float | None
    caption_similarity: float | None
    width: int
    height: int
    nsfw: str
    license: str
    similar: int = 0  # near-duplicates that are folded into it

    @property
    def key(self) -> tuple[str, int]:
        """The dataset and the id, which is unique in it alone."""
        return self.dataset, self.id

    @property
    def is_safe(self) -> bool:
        """Return whether it is rated safe. What is not rated is not safe."""
        return ratings.is_safe(self.nsfw)

    def is_veiled(self, shows_unrated: bool) -> bool:
        """Return whether a page blurs the image, until the user shows it."""
        if shows_unrated:
            return ratings.is_unsafe(self.nsfw)
        return not self.is_safe

    @property
    def shard(self) -> int:
        """The number of the shard that the item comes from."""
        return self.id >> SHARD_BITS


@dataclass(frozen=True, kw_only=True)
class Item(Hit):
    """An item with all columns of its source."""

    metadata: dict[str, str]


def to_item_fields(row: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Turn a row of the engine into fields of Hit; NaN becomes None.

    The rating is that of the dataset, if it has one as a whole.
    """
    similarity = row["caption_similarity"]
    known = similarity if math.isfinite(similarity) else None
    rating = dataset.rating_of(row["nsfw"])
    own = {"dataset": dataset.slug, "caption_similarity": known, "nsfw": rating}
    return {**row, **own}


def check_item_id(item_id: int) -> int:
    """Return the id. Raises NotFound for one that no item can have."""
    if not 0 <= item_id <= LAST_ITEM:
        raise item_not_found(item_id)
    return item_id


def item_not_found(item_id: int) -> NotFound:
    return NotFound(f"There is no item {item_id} in this dataset.")


@dataclass(frozen=True)
class TruncatedText:
    """A text of a query of which the model reads the first `read` characters only."""

    text: str
    read: int

    @property
    def parts(self) -> tuple[str, str]:
        """The text as the model reads it, and the part beyond its limit."""
        return self.text[: self.read], self.text[self.read :]
