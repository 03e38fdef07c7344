"""Which picture an item's number stands for, and whether it may be shown."""

import time
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from django.conf import settings

from search.clickhouse import by_id
from search.errors import NotFound
from search.models import Dataset, Removal
from search.query.url_params import POSTCARD
from search.removals.takedowns import digest, removals_of
from search.retrieval.dataset_index import Corpus
from search.retrieval.items import checked_id, no_item

KNOWN_S = 30  # what is removed is gone from here after this time
KNOWN = 20_000
NOT_FETCHED = "Pictures of other hosts are not fetched here."
NO_LIST = "Nothing of this dataset is fetched before its removal list is loaded."
NO_PICTURE = "This item has no address of a picture."

Kind = Removal.Kind


class Removed(NotFound):
    status = 410
    code = "removed"


@dataclass(frozen=True)
class Subject:
    url: str
    removed: bool
    withheld: bool  # for want of a removal list

    @property
    def is_own(self) -> bool:
        """Whether this server draws it: no host is asked."""
        return bool(POSTCARD.fullmatch(self.url))

    @property
    def host(self) -> str:
        try:
            return urlsplit(self.url).hostname or ""
        except ValueError:
            return ""  # the fetcher says what is wrong with it


def subject(slug: str, item_id: int) -> Subject:
    """As it was at most KNOWN_S ago; raises NotFound."""
    found = _looked_up(slug, checked_id(item_id), int(time.monotonic() / KNOWN_S))
    if found is None:
        raise no_item(item_id)
    return found


def check(found: Subject) -> None:
    """Raises Removed, or NotFound when its picture is not to be fetched."""
    if found.removed:
        raise Removed("This item has been removed.")
    if not found.url:
        raise NotFound(NO_PICTURE)
    if not (found.is_own or settings.FETCH_THUMBNAILS):
        raise NotFound(NOT_FETCHED)
    if found.withheld:
        raise NotFound(NO_LIST)


@lru_cache(KNOWN)
def _looked_up(slug: str, item_id: int, _period: int) -> Subject | None:
    corpus = Corpus.named(slug)
    row = by_id.picture_facts(corpus.table, item_id)
    if row is None:
        return None
    dataset, url = corpus.dataset, row["url"]
    # A list holds from when it is loaded; its rows are hidden in the engine after that.
    meant = [
        digest(Kind.ITEM, str(item_id)),
        digest(Kind.URL, url),
        digest(Kind.MD5, row["md5"]),
    ]
    listed = removals_of(dataset).filter(digest__in=meant)
    return Subject(
        url=url,
        removed=bool(row["deleted"]) or listed.exists(),
        withheld=_wants_list(dataset),
    )


def _wants_list(dataset: Dataset) -> bool:
    needed = dataset.kind == Dataset.Kind.LAION and not dataset.without_removal_list
    return needed and not removals_of(dataset).exists()
