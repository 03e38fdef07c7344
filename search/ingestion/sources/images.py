"""Shards of images, embedded while they are read: lists, folders, archives, tables.

While a batch is embedded, the images of the next ones are fetched and decoded. An image
that cannot be fetched or read is a rejected row with its reason.
"""

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from search.clickhouse import lookup
from search.clickhouse.schema import SHARD_BITS, VECTOR_COLUMNS
from search.encoder import local_encoder
from search.encoder.openclip import OpenClipEncoder
from search.errors import InvalidQuery, ShardUnreadable
from search.models import Dataset
from search.removals.takedowns import REJECT_REASON, RemovalList

from .archives import ARCHIVE, open_archive
from .image_fetch import SourceImage
from .image_files import beside, folder_files, list_folder
from .image_lists import lists
from .image_set import ImageSet, LeftOut, Rows, WithLeftOut
from .image_tables import ImageTable, find_image_tables
from .protocol import Batch, Rejected, check_number, fingerprint
from .recorded import recorded_shards
from .tables import TABLE, find_tables, numbered

BATCH_ROWS = 128
# With the batch that is embedded, three are in memory: at most some 600 KB an image.
BATCHES_AHEAD = 2
WORKERS = 32
MAX_WAITING_BYTES = 2**26  # of files in memory that are not decoded yet
MAX_REASON_LENGTH = 300
TRUNCATED = "The end of the file is missing; that part of the image is grey."

logger = logging.getLogger(__name__)


def unit(vector: np.ndarray) -> np.ndarray:
    """Return a stored vector, which is rounded, in unit length again."""
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


Shards = Mapping[int, Callable[[], ImageSet]]


@dataclass
class Images:
    """The shards of a dataset whose source is images."""

    dataset: Dataset

    def shards(self) -> list[int]:
        """Return their numbers; raises ShardUnreadable without any readable source."""
        numbers = sorted(self._parts)
        check_number(max(numbers, default=0))
        return numbers

    def open(self, number: int, dimension: int) -> "ImageShard":
        """Open a shard and load the model.

        Raises ShardUnreadable or UnknownModel; SearchUnavailable while the model cannot
        be loaded.
        """
        if number not in self._parts:
            raise ShardUnreadable(f"The source has no shard {number} any more.")
        images = self._parts[number]()
        encoder = local_encoder(self.dataset.model, self.dataset.weights)
        if encoder.dimension != dimension:
            raise ShardUnreadable(
                f"The dataset's model makes vectors of {encoder.dimension} numbers; "
                f"the dataset has {dimension}."
            )
        removals = RemovalList.of(self.dataset)
        model = f"{self.dataset.model} {self.dataset.weights}"
        version = fingerprint(read_as=f"{images.fingerprint} {model}")
        shard = ImageShard(number, images, encoder, removals, version)
        if self.dataset.shards.filter(number=number, reuses_vectors=True).exists():
            shard.embedded = partial(lookup.embedded, self.dataset.item_table)
        return shard

    def discard(self, number: int) -> None:
        """Do nothing: no file was stored."""

    @cached_property
    def _parts(self) -> Shards:
        source, columns = self.dataset.source, self.dataset.columns
        if recorded := recorded_shards(self.dataset):
            return recorded
        if archives := find_tables(source, ARCHIVE):
            return _one_each(archives, open_archive, self.dataset)
        if os.path.isdir(source) and (listing := list_folder(Path(source))).images:
            shards = folder_files(Path(source), listing.samples(), columns)
            return _with_left_out(shards, listing.left_out)
        if tables := find_image_tables(source, columns):
            return _one_each(tables, ImageTable, self.dataset)
        left_out = beside(source, find_tables(source, TABLE))
        return lists(source, columns, left_out)


def _one_each(
    files: list[Path],
    opener: Callable[[Path, Mapping[str, str]], ImageSet],
    dataset: Dataset,
) -> Shards:
    """Return the shards of files, by the numbers in their names."""
    shards = {
        number: partial(opener, path, dataset.columns)
        for number, path in numbered(files).items()
    }
    return _with_left_out(shards, beside(dataset.source, files))


def _with_left_out(shards: Shards, left_out: Sequence[LeftOut]) -> Shards:
    """Return the shards, the last one with the files that are left out."""
    last = max(shards)
    opener = shards[last]
    return {**shards, last: lambda: WithLeftOut(opener(), left_out)}


@dataclass
class PendingBatch:
    """The rows of a batch, with the images being loaded; None for removed ones."""

    start: int
    tables: list[pa.Table] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    images: list[Future[SourceImage] | None] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.urls)


@dataclass
class Backlog:
    """The bytes of images in memory that are not loaded yet, with a limit."""

    limit: int
    parts: deque[tuple[int, list[Future[SourceImage]]]] = field(default_factory=deque)

    def add(self, bytes: int, jobs: Iterable[Future[SourceImage]]) -> None:
        """Add images, and wait until there are few enough."""
        self.parts.append((bytes, list(jobs)))
        while sum(size for size, _ in self.parts) > self.limit:
            wait(self.parts.popleft()[1])


@dataclass
class ImageShard:
    """The images of one shard, embedded batch by batch."""

    number: int
    images: ImageSet
    encoder: OpenClipEncoder
    removals: RemovalList
    fingerprint: str
    has_text_vectors = True
    # Returns what is known of items: md5, caption, and their vectors.
    embedded: Callable[[list[int]], Mapping[int, dict]] | None = None
    _embedding_s: float = field(default=0.0, init=False)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def bytes(self) -> int:
        return self.images.bytes

    def batches(self, start: int) -> Generator[Batch, None, None]:
        """Yield batches of BATCH_ROWS; closing the generator ends its threads."""
        started, self._embedding_s, end = time.monotonic(), 0.0, start
        with ThreadPoolExecutor(WORKERS, "images") as pool:
            try:
                for pending in self._pending(pool, start):
                    batch = self._batch(pending)
                    end = batch.end
                    yield batch
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                self._log_pace(end - start, time.monotonic() - started)

    def _pending(self, pool: ThreadPoolExecutor, start: int) -> Iterator[PendingBatch]:
        """Yield complete batches, while the images of the next ones are loaded."""
        ahead: deque[PendingBatch] = deque()
        backlog = Backlog(MAX_WAITING_BYTES)
        for rows in self.images.read(start, BATCH_ROWS):
            if not ahead or len(ahead[-1]) == BATCH_ROWS:
                if len(ahead) > BATCHES_AHEAD:
                    yield ahead.popleft()
                ahead.append(PendingBatch(start))
            self._submit(pool, ahead[-1], rows, backlog)
            start += len(rows.table)
        yield from ahead

    def _log_pace(self, count: int, seconds: float) -> None:
        """Log the pace; the rest of the time was waiting for images or the engine."""
        logger.info(
            "Shard %s: %s images in %.0f s, %.1f a second; the model took %.0f %%",
            *(self.number, count, seconds, count / max(seconds, 1e-3)),
            100 * self._embedding_s / max(seconds, 1e-3),
        )

    def _submit(
        self,
        pool: ThreadPoolExecutor,
        batch: PendingBatch,
        rows: Rows,
        backlog: Backlog,
    ) -> None:
        """Start loading rows of a batch, except for images on a removal list."""
        urls = [(url or "").strip() for url in rows.table["url"].to_pylist()]
        first = (self.number << SHARD_BITS) + batch.start + len(batch)
        removed = self.removals.contains(range(first, first + len(urls)), urls)
        jobs = [
            None if is_removed else pool.submit(rows.load, place, url)
            for place, (url, is_removed) in enumerate(zip(urls, removed, strict=True))
        ]
        batch.tables.append(rows.table)
        batch.urls += urls
        batch.images += jobs
        batch.files += _files(rows)
        batch.notes.update(rows.notes)
        backlog.add(rows.bytes, filter(None, jobs))

    def _batch(self, pending: PendingBatch) -> Batch:
        results = list(map(_result, pending.images))
        loaded = {
            i: result
            for i, result in enumerate(results)
            if isinstance(result, SourceImage)
        }
        rows, images = list(loaded), list(loaded.values())
        urls = [pending.urls[i] for i in rows]
        whole = pa.concat_tables(pending.tables, promote_options="default")
        table = whole.take(pa.array(rows, pa.int64()))
        captions = _captions(table)
        first = (self.number << SHARD_BITS) + pending.start
        ids = [first + row for row in rows]
        image_vectors, text_vectors = self._vectors(ids, images, captions)
        similarity = np.einsum("ij,ij->i", image_vectors, text_vectors)
        return Batch(
            start=pending.start,
            end=pending.start + len(pending),
            rows=pending.start + np.array(rows, np.int64),
            image=image_vectors,
            text=text_vectors,
            table=_completed(table, urls, captions, images, similarity),
            rejected=tuple(
                Rejected(
                    pending.start + i,
                    pending.urls[i].replace("\0", ""),
                    reason,
                    pending.files[i],
                )
                for i, reason in enumerate(results)
                if isinstance(reason, str)
            ),
            notes=pending.notes + _notes_on(images),
        )

    def _vectors(
        self, ids: list[int], images: list[SourceImage], captions: list[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the vectors of images and captions: stored ones, if nothing changed.

        Raises SearchUnavailable.
        """
        known = self.embedded(ids) if self.embedded and ids else {}
        stored = [
            known[key]
            if key in known
            and (known[key]["md5"], known[key]["caption"]) == (image.md5, caption)
            else None
            for key, image, caption in zip(ids, images, captions, strict=True)
        ]
        unknown = [place for place, row in enumerate(stored) if row is None]
        pixels = [images[place].image for place in unknown]
        texts = [captions[place] for place in unknown]
        vectors = (
            self._embed(self.encoder.encode_images, pixels),
            self._embed(self.encoder.encode_texts, texts),
        )
        if not known:
            return vectors
        shape = len(ids), self.encoder.dimension
        whole = np.empty(shape, np.float32), np.empty(shape, np.float32)
        for each, new, name in zip(
            whole, vectors, VECTOR_COLUMNS.values(), strict=True
        ):
            each[unknown] = new
            for place, row in enumerate(stored):
                if row is not None:
                    each[place] = unit(np.asarray(row[name], np.float32))
        return whole

    def _embed(self, encode: Callable, inputs: list) -> np.ndarray:
        if not inputs:
            return np.empty((0, self.encoder.dimension), np.float32)
        started = time.monotonic()
        vectors = encode(inputs)
        self._embedding_s += time.monotonic() - started
        return vectors


def _result(job: Future[SourceImage] | None) -> SourceImage | str:
    """Wait for an image; return it, or why there is none."""
    if job is None:
        return REJECT_REASON
    try:
        return job.result()
    except InvalidQuery as error:
        return error.message[:MAX_REASON_LENGTH]


def _notes_on(images: list[SourceImage]) -> Counter[str]:
    """Return the notes of a Batch on its images."""
    return Counter({TRUNCATED: sum(image.truncated for image in images)})


def _files(rows: Rows) -> list[str]:
    """Return where each row is in the source, "" where that is unknown."""
    if "file" in rows.table.column_names:
        return rows.table["file"].to_pylist()
    return list(rows.files) or [""] * len(rows.table)


def _captions(table: pa.Table) -> list[str]:
    if "caption" not in table.column_names:
        return [""] * len(table)
    return [caption or "" for caption in table["caption"].to_pylist()]


def _completed(
    table: pa.Table,
    urls: list[str],
    captions: list[str],
    images: list[SourceImage],
    similarity: np.ndarray,
) -> pa.Table:
    """Return the table with computed columns; an empty caption has no similarity."""
    sizes = _sizes(table, images)
    uncaptioned = np.array([not caption for caption in captions], bool)
    columns = {
        "url": pa.array(urls, pa.string()),
        "caption": pa.array(captions, pa.string()),
        "width": pa.array([width for width, _ in sizes], pa.uint32()),
        "height": pa.array([height for _, height in sizes], pa.uint32()),
        "similarity": pa.array(similarity, pa.float32(), mask=uncaptioned),
        "md5": pa.array([image.md5 for image in images], pa.string()),
        "truncated": pa.array(
            ["true" if image.truncated else None for image in images], pa.string()
        ),
    }
    others = [name for name in table.column_names if name not in columns]
    return pa.table({**columns, **{name: table[name] for name in others}})


def _sizes(table: pa.Table, images: list[SourceImage]) -> list[tuple[int, int]]:
    """Return sizes of the files, or those listed where smaller copies were fetched."""
    listed = [
        [_number(value) for value in table[name].to_pylist()]
        if name in table.column_names
        else [0] * len(table)
        for name in ("original_width", "original_height")
    ]
    return [
        (width, height)
        if image.reduced and width and height
        else (image.width, image.height)
        for image, width, height in zip(images, *listed, strict=True)
    ]


def _number(value: object) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
