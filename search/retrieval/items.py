"""Items as they are shown, and the ids by which they are asked for."""

import math
from dataclasses import dataclass
from typing import Any

from search.errors import NotFound
from search.query.model import LAST_ITEM


@dataclass(frozen=True, kw_only=True)
class Hit:
    """An item, and how close it is to the query: 1 is the same, higher is closer."""

    id: int
    url: str
    caption: str
    similarity: float | None
    caption_similarity: float | None
    width: int
    height: int
    nsfw: str
    license: str
    similar: int = 0  # near-duplicates of it that are folded into it


@dataclass(frozen=True, kw_only=True)
class Item(Hit):
    metadata: dict[str, str]


def to_item_fields(row: dict[str, Any]) -> dict[str, Any]:
    similarity = row["caption_similarity"]
    known = similarity if math.isfinite(similarity) else None
    return {**row, "caption_similarity": known}


def check_item_id(item_id: int) -> int:
    if not 0 <= item_id <= LAST_ITEM:
        raise item_not_found(item_id)
    return item_id


def item_not_found(item_id: int) -> NotFound:
    return NotFound(f"There is no item {item_id} in this dataset.")
