"""Return the thumbnail of an item, from the cache or freshly fetched."""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from search.clickhouse import lookup
from search.errors import CannotFetch, InvalidQuery, NotFound
from search.fetch import LIMITS, fetch
from search.fetch.own_site import local_image
from search.images.decoders import thumbnail_decoders
from search.images.formats import HEAD_BYTES, sniff
from search.ingestion.sources.image_fetch import downscale_url
from search.ingestion.sources.original import Original, find_original
from search.links import is_local_image, link_of, trim
from search.models import SYSTEM, Dataset, Removal
from search.removals.takedowns import digest, needs_removal_list, removals_for
from search.retrieval.items import check_item_id, item_not_found

from . import SIZES
from .store import Store, store
from .work_queue import TOO_MANY, InProgress, UnresponsiveHosts, fetch_queue

SOURCE_CACHE_S = 30  # and so the delay after which a removal takes effect
SOURCE_CACHE_SIZE = 20_000
NOT_FETCHED = "Images from other hosts are not fetched here."
NO_LIST = "Images of this dataset are not fetched until a removal list is imported."
NOT_AN_IMAGE = "The file of this item is not an image."
NO_PICTURE = "This item has no image URL and no file on this server."

Kind = Removal.Kind


class Removed(NotFound):
    status = 410
    code = "removed"


@dataclass(frozen=True)
class ThumbnailSource:
    """Where the image of an item comes from, and whether it may be shown."""

    url: str
    removed: bool
    withheld: bool  # the dataset lacks the removal list that it needs
    original: Original | None = None  # on this server, if it was imported from there

    @property
    def is_own(self) -> bool:
        """Return whether this server has the image, so that nothing is fetched."""
        return self.original is not None or is_local_image(self.url)

    @property
    def key(self) -> str:
        """The key of the thumbnails in the store; items of one image share them."""
        return md5_key(self.original.md5) if self.original else storage_key(self.url)

    @property
    def host(self) -> str:
        return urlsplit(link_of(self.url)).hostname or ""  # fetch says what is wrong


def thumbnail_source(
    slug: str, item_id: int, dataset_pk: int | None = None
) -> ThumbnailSource:
    """Return an item's source, cached for SOURCE_CACHE_S; raises NotFound.

    With the key of its dataset, it is not that of one that had the slug before.
    """
    period = int(time.monotonic() / SOURCE_CACHE_S)
    source = _lookup_source(slug, check_item_id(item_id), period, dataset_pk)
    if source is None:
        raise item_not_found(item_id)
    return source


def check(source: ThumbnailSource) -> None:
    """Raise Removed, or NotFound if the image must not be fetched."""
    if source.removed:
        raise Removed("This item has been removed.")
    if not (source.url or source.original):
        raise NotFound(NO_PICTURE)
    if not (source.is_own or settings.FETCH_THUMBNAILS):
        raise NotFound(NOT_FETCHED)
    if source.withheld:
        raise NotFound(NO_LIST)


@lru_cache(SOURCE_CACHE_SIZE)
def _lookup_source(
    slug: str, item_id: int, _period: int, _dataset: int | None
) -> ThumbnailSource | None:
    dataset = Dataset.for_slug(slug, SYSTEM)
    row = lookup.image_source(dataset.item_table, item_id)
    if row is None:
        return None
    url = trim(row["url"])
    # A list takes effect when it is loaded; the engine hides its rows later.
    digests = [
        digest(Kind.ITEM, str(item_id)),
        digest(Kind.URL, url),
        digest(Kind.MD5, row["md5"]),
    ]
    listed = removals_for(dataset).filter(digest__in=digests)
    return ThumbnailSource(
        url=url,
        removed=bool(row["deleted"]) or listed.exists(),
        withheld=needs_removal_list(dataset),
        original=_original(dataset, row),
    )


def _original(dataset: Dataset, row: dict[str, Any]) -> Original | None:
    if dataset.kind != Dataset.Kind.IMAGES:
        return None  # any metadata may be of strangers
    return find_original(dataset.source, dataset.columns, row["file"], row["md5"])


MAX_ASPECT = 2  # height by width
QUALITY = 78
EFFORT = 2  # 3 takes twice the time for 2 % fewer bytes (measured)

FETCH_THREADS = 12  # which mostly wait for hosts
DRAW_THREADS = min(4, os.cpu_count() or 1)
DRAW_WAIT_S = 20
FETCH_WAIT_S = 3.0
SLOT_WAIT_S = 0.5
PERMANENT_S = 24 * 3600
MAX_FORGOTTEN = 1_000_000  # rows
FORGOTTEN_AT_ONCE = 10_000
TEMPORARY_S = 600

logger = logging.getLogger(__name__)

_unresponsive = UnresponsiveHosts()
# The other half of the web server's threads is left for searches.
_waiting = threading.BoundedSemaphore(max(1, settings.SERVER_THREADS // 2))


class NoImage(NotFound):
    """The item exists, but its image cannot be fetched for the next `seconds`."""

    def __init__(self, message: str, seconds: int):
        super().__init__(message)
        self.seconds = seconds


def thumbnail(
    slug: str,
    item_id: int,
    size: int,
    before_creating: Callable[[], None],
    dataset_pk: int | None = None,
) -> bytes:
    """Return the thumbnail of an item as WebP. Callers check who may see it.

    Raises NotFound, Removed, NoImage, or InProgress if it is worth to retry. Calls
    `before_creating`, which may raise SearchError, if the thumbnail is not cached.
    """
    if size not in SIZES:
        raise NotFound(f"Thumbnails have the sizes {', '.join(map(str, SIZES))}.")
    source, cache = thumbnail_source(slug, item_id, dataset_pk), store()
    key = source.key
    if source.removed:
        cache.delete(key)
    check(source)
    if content := cache.get(key, size):
        return content
    if error := cache.error(key):
        raise NoImage(*error)
    before_creating()
    return _wait_for_sizes(source, cache, key)[size]


def forget(dataset: Dataset) -> None:
    """Delete the stored thumbnails of a dataset that is dropped.

    Those of datasets of more than MAX_FORGOTTEN rows go as the least recently used do.
    Other datasets of the same images make theirs again. Raises SearchUnavailable.
    """
    cache, after, left = store(), -1, MAX_FORGOTTEN
    while left > 0:
        rows = lookup.image_sources(dataset.item_table, after, FORGOTTEN_AT_ONCE)
        if not rows:
            return
        for row in rows:
            cache.delete(md5_key(row["md5"]))
            cache.delete(storage_key(trim(row["url"])))
        after, left = rows[-1]["id"], left - len(rows)


def original_file(slug: str, item_id: int) -> tuple[bytes, str]:
    """Return the file of an item's image as it is, and its format, a key of SUFFIXES.

    Callers check who may see it. Raises NotFound, Removed, InProgress, or InvalidQuery
    if its host does not send an image.
    """
    source = thumbnail_source(slug, item_id)
    check(source)
    if source.is_own:
        content = _fetch_original(source)
    else:
        if not _waiting.acquire(timeout=SLOT_WAIT_S):
            raise InProgress(TOO_MANY)
        try:
            content = _fetch_original(source)
        finally:
            _waiting.release()
    format_name = sniff(content[:HEAD_BYTES])
    if format_name is None:
        raise NotFound(NOT_AN_IMAGE)
    return content, format_name


def storage_key(url: str) -> str:
    """Return the key of a URL's thumbnails, which datasets share."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def md5_key(md5: str) -> str:
    """Return the key of a file's thumbnails, which is that of no URL."""
    return hashlib.blake2b(md5.encode(), digest_size=20).hexdigest()


def _wait_for_sizes(
    source: ThumbnailSource, cache: Store, key: str
) -> dict[int, bytes]:
    work = partial(_create_sizes, source, cache, key)
    if source.is_own:
        drawing = fetch_queue("drawing", DRAW_THREADS)
        return _result(drawing.submit(key, key, work), DRAW_WAIT_S)
    future = fetch_queue("fetching", FETCH_THREADS).submit(key, source.host, work)
    if not _waiting.acquire(timeout=SLOT_WAIT_S):
        raise InProgress(TOO_MANY)
    try:
        return _result(future, FETCH_WAIT_S)
    finally:
        _waiting.release()


def _result(future: Future, seconds: float) -> dict[int, bytes]:
    try:
        return future.result(seconds)
    except TimeoutError as error:
        raise InProgress("The image is being fetched.") from error


def _create_sizes(source: ThumbnailSource, cache: Store, key: str) -> dict[int, bytes]:
    """Fetch and scale an image, and cache all sizes or the error."""
    with cache.lock(key, LIMITS.seconds):
        if images := cache.all(key):  # another process was faster
            return images
        try:
            images = resize_all(_fetch_original(source))
        except InvalidQuery as error:
            passing = isinstance(error, CannotFetch) and error.passing
            seconds = TEMPORARY_S if passing else PERMANENT_S
            _store(cache.put_error, key, error.message, seconds)
            raise NoImage(error.message, seconds) from error
        _store(cache.put, key, images)
        return images


def resize_all(content: bytes) -> dict[int, bytes]:
    """Return WebP by size, never enlarged; equal results are the same object.

    Raises NotAnImage or ImageTooLarge, and SearchUnavailable without a free decoder.
    """
    files = thumbnail_decoders.scale(content, SIZES, MAX_ASPECT, QUALITY, EFFORT)
    return dict(zip(SIZES, files, strict=True))


def _store(put: Callable[..., None], *arguments: object) -> None:
    try:
        put(*arguments)
    except OSError:
        logger.exception("A thumbnail cannot be cached.")


def _fetch_original(source: ThumbnailSource) -> bytes:
    """Return the image file of a source; raises CannotFetch or ImageTooLarge."""
    if source.original:
        return source.original.read()
    if source.is_own:
        return local_image(source.url)
    _unresponsive.check(source.host)
    try:
        content = fetch(downscale_url(source.url, width=max(SIZES)), LIMITS).content
    except CannotFetch as error:
        _unresponsive.record(source.host, answered=not error.passing)
        raise
    _unresponsive.record(source.host, answered=True)
    return content
