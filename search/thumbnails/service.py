"""From an item's number to its picture: from the disk, or made now."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache, partial
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.urls import resolve

from search.clickhouse import lookup
from search.errors import CannotFetch, InvalidQuery, NotFound
from search.fetch import LIMITS, fetch
from search.images.decode import DECODERS
from search.ingestion.sources.image_fetch import downscale_url
from search.models import Dataset, Removal
from search.query.url_params import is_local_image
from search.removals.takedowns import digest, needs_removal_list, removals_for
from search.retrieval.items import check_item_id, item_not_found

from . import SIZES
from .resize import resize_all
from .store import Store, store
from .work_queue import TOO_MANY, InProgress, UnresponsiveHosts, fetch_queue

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
class ThumbnailSource:
    url: str
    removed: bool
    withheld: bool  # for want of a removal list

    @property
    def is_own(self) -> bool:
        """Whether this server draws it: no host is asked."""
        return is_local_image(self.url)

    @property
    def host(self) -> str:
        try:
            return urlsplit(self.url).hostname or ""
        except ValueError:
            return ""  # the fetcher says what is wrong with it


def thumbnail_source(slug: str, item_id: int) -> ThumbnailSource:
    """As it was at most KNOWN_S ago; raises NotFound."""
    found = _looked_up(slug, check_item_id(item_id), int(time.monotonic() / KNOWN_S))
    if found is None:
        raise item_not_found(item_id)
    return found


def check(found: ThumbnailSource) -> None:
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
def _looked_up(slug: str, item_id: int, _period: int) -> ThumbnailSource | None:
    dataset = Dataset.for_slug(slug)
    row = lookup.image_source(dataset.item_table, item_id)
    if row is None:
        return None
    url = row["url"]
    # A list holds from when it is loaded; its rows are hidden in the engine after that.
    meant = [
        digest(Kind.ITEM, str(item_id)),
        digest(Kind.URL, url),
        digest(Kind.MD5, row["md5"]),
    ]
    listed = removals_for(dataset).filter(digest__in=meant)
    return ThumbnailSource(
        url=url,
        removed=bool(row["deleted"]) or listed.exists(),
        withheld=needs_removal_list(dataset),
    )


FETCHERS = 12  # they mostly wait for others
DRAWN_WITHIN_S = 20
WAIT_S = 3.0
TURN_S = 0.5
DEAD_S = 24 * 3600
PASSING_S = 600

logger = logging.getLogger(__name__)

_silent = UnresponsiveHosts()
# Half of the web server's threads are left for searches.
_waiting = threading.BoundedSemaphore(max(1, settings.SERVER_THREADS // 2))


class NoImage(NotFound):
    """The item is there, its picture is not to be had for some seconds to come."""

    def __init__(self, message: str, seconds: int):
        super().__init__(message)
        self.seconds = seconds


def thumbnail(
    slug: str, item_id: int, size: int, before_making: Callable[[], None]
) -> bytes:
    """WebP. Raises NotFound, Removed, NoPicture, or OnItsWay: asked again, it is there.

    `before_making` is called when it is not on the disk, and may raise a SearchError.
    """
    if size not in SIZES:
        raise NotFound(f"Pictures have the sizes {', '.join(map(str, SIZES))}.")
    meant, kept = thumbnail_source(slug, item_id), store()
    key = key_of(meant.url)
    if meant.removed:
        kept.forget(key)
    check(meant)
    if content := kept.get(key, size):
        return content
    if known := kept.reason(key):
        raise NoImage(*known)
    before_making()
    return _awaited(meant, kept, key)[size]


def key_of(url: str) -> str:
    """Under which its thumbnails are kept; a picture in two datasets has but one."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _awaited(meant: ThumbnailSource, kept: Store, key: str) -> dict[int, bytes]:
    work = partial(_made, meant, kept, key)
    if meant.is_own:  # nobody else is waited for
        drawing = fetch_queue("drawing", DECODERS)
        return _result(drawing.ask(key, key, work), DRAWN_WITHIN_S)
    future = fetch_queue("fetching", FETCHERS).ask(key, meant.host, work)
    if not _waiting.acquire(timeout=TURN_S):
        raise InProgress(TOO_MANY)
    try:
        return _result(future, WAIT_S)
    finally:
        _waiting.release()


def _result(future: Future, seconds: float) -> dict[int, bytes]:
    try:
        return future.result(seconds)
    except TimeoutError as error:
        raise InProgress("The picture is being fetched.") from error


def _made(meant: ThumbnailSource, kept: Store, key: str) -> dict[int, bytes]:
    """All sizes, which are then on disk; where there are none, the reason is."""
    with kept.alone(key, LIMITS.seconds):
        if pictures := kept.all(key):  # another process was quicker
            return pictures
        try:
            pictures = resize_all(_original(meant))
        except InvalidQuery as error:
            passing = isinstance(error, CannotFetch) and error.passing
            seconds = PASSING_S if passing else DEAD_S
            _keep(kept.keep_reason, key, error.message, seconds)
            raise NoImage(error.message, seconds) from error
        _keep(kept.put, key, pictures)
        return pictures


def _keep(put: Callable[..., None], *arguments: object) -> None:
    try:
        put(*arguments)
    except OSError:
        logger.exception("A thumbnail cannot be kept.")


def _original(meant: ThumbnailSource) -> bytes:
    """Raises CannotFetch."""
    if meant.is_own:
        view, arguments, named = resolve(meant.url)
        asked = HttpRequest()
        asked.method = "GET"
        return view(asked, *arguments, **named).content
    _silent.check(meant.host)
    try:
        content = fetch(downscale_url(meant.url, width=max(SIZES)), LIMITS).content
    except CannotFetch as error:
        _silent.note(meant.host, answered=not error.passing)
        raise
    _silent.note(meant.host, answered=True)
    return content
