"""Pictures that are still to be embedded: lists of addresses, folders, tar files.

While a batch is embedded, the pictures of the next ones are fetched and decoded. A
picture that cannot be had is a rejected row with its reason.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from search.encoder import encoder_here
from search.encoder.openclip import OpenClipEncoder
from search.errors import InvalidQuery, ShardUnreadable
from search.models import Dataset
from search.removals.takedowns import REASON, RemovalList

from .image_fetch import SourceImage
from .image_files import TAR, folder_files, image_names, tar_files
from .image_lists import lists
from .protocol import Batch, Rejected, check_number, fingerprint
from .tables import find_tables

BATCH_ROWS = 128
# With the batch that is embedded, three are in memory: some 600 KB a picture at most.
BATCHES_AHEAD = 2
WORKERS = 32
MAX_REASON_LENGTH = 300

logger = logging.getLogger(__name__)


class ImageSet(Protocol):
    """The pictures of one shard, as image_lists and image_files have them."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def bytes(self) -> int: ...

    def __len__(self) -> int: ...

    def tables(self, start: int, size: int) -> Iterator[pa.Table]:
        """What is known of the rows from `start` on: url, caption (texts) and more."""

    def load(self, row: int, url: str) -> SourceImage:
        """Called in a thread; raises InvalidQuery with the reason."""


@dataclass
class Images:
    """The shards of a dataset whose source is pictures."""

    dataset: Dataset

    def shards(self) -> list[int]:
        """Raises ShardUnreadable when there are none, or a list cannot be read."""
        numbers = sorted(self._parts)
        check_number(max(numbers, default=0))
        return numbers

    def open(self, number: int, dimension: int) -> "ImageShard":
        """Raises SearchUnavailable while the dataset's model cannot be had."""
        if number not in self._parts:
            raise ShardUnreadable(f"The source has no shard {number} any more.")
        pictures = self._parts[number]()
        encoder = encoder_here(self.dataset.model, self.dataset.weights)
        if encoder.dimension != dimension:
            raise ShardUnreadable(
                f"The dataset's model makes vectors of {encoder.dimension} numbers; "
                f"the dataset has {dimension}."
            )
        removed = RemovalList.of(self.dataset)
        model = f"{self.dataset.model} {self.dataset.weights}"
        made = fingerprint(read_as=f"{pictures.fingerprint} {model}")
        return ImageShard(number, pictures, encoder, removed, made)

    def discard(self, number: int) -> None:
        """Nothing was put on disk."""

    @cached_property
    def _parts(self) -> Mapping[int, Callable[[], ImageSet]]:
        source, columns = self.dataset.source, self.dataset.columns
        if tars := find_tables(source, TAR):
            return tar_files(tars, columns)
        if source and (names := image_names(Path(source))):
            return folder_files(Path(source), names, columns)
        return lists(source, columns)


@dataclass
class Waiting:
    """The rows of a batch whose pictures are on their way; None for those removed."""

    start: int
    table: pa.Table
    urls: list[str]
    pictures: list[Future[SourceImage] | None]


@dataclass
class ImageShard:
    """The pictures of one shard, embedded batch by batch."""

    number: int
    pictures: ImageSet
    encoder: OpenClipEncoder
    removed: RemovalList
    fingerprint: str
    _embedding_s: float = field(default=0.0, init=False)

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def bytes(self) -> int:
        return self.pictures.bytes

    def batches(self, start: int) -> Generator[Batch, None, None]:
        """Batches of BATCH_ROWS; closing it ends the threads that fetch for it."""
        started, self._embedding_s, first = time.monotonic(), 0.0, start
        with ThreadPoolExecutor(WORKERS, "pictures") as pool:
            try:
                ahead: deque[Waiting] = deque()
                for table in self.pictures.tables(start, BATCH_ROWS):
                    ahead.append(self._begun(pool, start, table))
                    start += len(table)
                    if len(ahead) > BATCHES_AHEAD:
                        yield self._batch(ahead.popleft())
                while ahead:
                    yield self._batch(ahead.popleft())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                self._tell_pace(start - first, time.monotonic() - started)

    def _tell_pace(self, count: int, seconds: float) -> None:
        """The rest of the time went into waiting for pictures, or for the engine."""
        logger.info(
            "Shard %s: %s pictures in %.0f s, %.1f a second; the model took %.0f %%",
            *(self.number, count, seconds, count / max(seconds, 1e-3)),
            100 * self._embedding_s / max(seconds, 1e-3),
        )

    def _begun(self, pool: ThreadPoolExecutor, start: int, table: pa.Table) -> Waiting:
        """What is on a list of removals is not even fetched."""
        urls = [(url or "").strip() for url in table["url"].to_pylist()]
        rows = range(start, start + len(table))
        removed = self.removed.listed(self.number, rows, urls)
        jobs = [
            None if gone else pool.submit(self.pictures.load, row, url)
            for row, url, gone in zip(rows, urls, removed, strict=True)
        ]
        return Waiting(start, table, urls, jobs)

    def _batch(self, waiting: Waiting) -> Batch:
        outcomes = list(map(_outcome, waiting.pictures))
        had = {
            i: told for i, told in enumerate(outcomes) if isinstance(told, SourceImage)
        }
        kept, pictures = list(had), list(had.values())
        urls = [waiting.urls[i] for i in kept]
        table = waiting.table.take(pa.array(kept, pa.int64()))
        captions = _captions(table)
        images = [picture.image for picture in pictures]
        image = self._embedded(self.encoder.encode_images, images)
        text = self._embedded(self.encoder.encode_texts, captions)
        return Batch(
            start=waiting.start,
            end=waiting.start + len(waiting.table),
            rows=waiting.start + np.array(kept, np.int64),
            image=image,
            text=text,
            table=_completed(table, urls, captions, pictures, image, text),
            rejected=tuple(
                Rejected(waiting.start + i, waiting.urls[i].replace("\0", ""), told)
                for i, told in enumerate(outcomes)
                if isinstance(told, str)
            ),
        )

    def _embedded(self, encode: Callable, things: list) -> np.ndarray:
        if not things:
            return np.empty((0, self.encoder.dimension), np.float32)
        started = time.monotonic()
        vectors = encode(things)
        self._embedding_s += time.monotonic() - started
        return vectors


def _outcome(job: Future[SourceImage] | None) -> SourceImage | str:
    """The picture, or why there is none."""
    if job is None:
        return REASON
    try:
        return job.result()
    except InvalidQuery as error:
        return error.message[:MAX_REASON_LENGTH]


def _captions(table: pa.Table) -> list[str]:
    if "caption" not in table.column_names:
        return [""] * len(table)
    return [caption or "" for caption in table["caption"].to_pylist()]


def _completed(
    table: pa.Table,
    urls: list[str],
    captions: list[str],
    pictures: list[SourceImage],
    image: np.ndarray,
    text: np.ndarray,
) -> pa.Table:
    """With the columns that are known now; without a caption none is similar to it."""
    sizes = _sizes(table, pictures)
    similarity = np.einsum("ij,ij->i", image, text)
    uncaptioned = np.array([not caption for caption in captions], bool)
    columns = {
        "url": pa.array(urls, pa.string()),
        "caption": pa.array(captions, pa.string()),
        "width": pa.array([width for width, _ in sizes], pa.uint32()),
        "height": pa.array([height for _, height in sizes], pa.uint32()),
        "similarity": pa.array(similarity, pa.float32(), mask=uncaptioned),
        "md5": pa.array([picture.md5 for picture in pictures], pa.string()),
    }
    others = [name for name in table.column_names if name not in columns]
    return pa.table({**columns, **{name: table[name] for name in others}})


def _sizes(table: pa.Table, pictures: list[SourceImage]) -> list[tuple[int, int]]:
    """The size of the file, or the one that is listed where a smaller one was asked."""
    listed = [
        [_number(value) for value in table[name].to_pylist()]
        if name in table.column_names
        else [0] * len(table)
        for name in ("original_width", "original_height")
    ]
    return [
        (width, height)
        if picture.reduced and width and height
        else (picture.width, picture.height)
        for picture, width, height in zip(pictures, *listed, strict=True)
    ]


def _number(value: object) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
