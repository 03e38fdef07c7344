"""Shards in the format of LAION-400M: two matrices and a table with the same rows.

img_emb_N.npy and text_emb_N.npy hold float16 of shape (rows, dimension), and
metadata_N.parquet the columns url, caption, NSFW, similarity, LICENSE, width, height
and more. They are in one folder, or in folders named img_emb, text_emb, metadata.
"""

import hashlib
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from search.errors import ShardUnreadable
from search.ingestion.download.download import Download, Progress, without_query
from search.ingestion.download.partial_file import discard

from .protocol import Batch, check_number, fingerprint, parse_range
from .read_errors import as_shard_unreadable
from .vectors import VectorFile, bad_rows, batch_without, check_bad_rows, read_vectors

NEEDED_COLUMNS = ("url", "caption")
BATCH_ROWS = 10_000  # the fastest of the sizes measured
# The paths of LAION-400M below …/embeddings/.
IMAGE_PATTERN = "img_emb/img_emb_{n}.npy"
TEXT_PATTERN = "text_emb/text_emb_{n}.npy"
METADATA_PATTERN = "metadata/metadata_{n}.parquet"
NUMBER = re.compile(r"\{n(?::0[1-9]d)?\}")
# Printable characters of a URL; all others are percent-encoded.
PATH = re.compile(r"[\w.~!$&'()*+,;=:@%/?-]+", re.ASCII)
CHECKSUM = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


class LaionFolder:
    """The shards of a folder on the server's disk."""

    def __init__(self, folder: str):
        self.folder = Path(folder)

    def shards(self) -> list[int]:
        """Return the numbers of the image embeddings' files. Raises ShardUnreadable."""
        if not self.folder.is_dir():
            raise ShardUnreadable(f"There is no folder {self.folder} on this server.")
        numbers = sorted(self._files("img_emb", "npy"))
        if numbers:
            check_number(numbers[-1])
        return numbers

    def open(self, number: int, dimension: int) -> "LaionShard":
        """Open a shard; raises ShardUnreadable unless its files are valid and agree."""
        image, text, metadata = (
            self._file(kind, number, ending)
            for kind, ending in (
                ("img_emb", "npy"),
                ("text_emb", "npy"),
                ("metadata", "parquet"),
            )
        )
        version = fingerprint(image, text, metadata)
        return open_files(image, text, metadata, dimension, version)

    def discard(self, number: int) -> None:
        """Do nothing: no file was fetched."""

    def _file(self, kind: str, number: int, ending: str) -> Path:
        try:
            return self._files(kind, ending)[number]
        except KeyError:
            raise ShardUnreadable(
                f"The file {kind}_{number}.{ending} is missing in {self.folder}."
            ) from None

    def _files(self, kind: str, ending: str) -> dict[int, Path]:
        """Return files by number, which some tools write with leading zeros."""
        name = re.compile(rf"{kind}_(\d+)\.{ending}", re.ASCII)
        folders = (self.folder, self.folder / kind)
        paths = (
            path for folder in folders for path in folder.glob(f"{kind}_*.{ending}")
        )
        found = ((name.fullmatch(path.name), path) for path in paths)
        return {int(match[1]): path for match, path in found if match}


@dataclass
class LaionShard:
    """Three files with the same number of rows, read in batches."""

    image: VectorFile
    text: VectorFile
    metadata: pq.ParquetFile
    fingerprint: str
    metadata_bytes: int

    def __post_init__(self) -> None:
        lengths = {
            "image embeddings": len(self.image),
            "text embeddings": len(self.text),
            "metadata": self.metadata.metadata.num_rows,
        }
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{rows:,} of {name}" for name, rows in lengths.items())
            raise ShardUnreadable(f"The files differ in their rows: {listed}.")
        self.bad_rows = np.union1d(bad_rows(self.image), bad_rows(self.text))
        check_bad_rows(len(self.bad_rows), len(self))

    def __len__(self) -> int:
        return len(self.image)

    @property
    def bytes(self) -> int:
        return self.image.nbytes + self.text.nbytes + self.metadata_bytes

    def batches(self, start: int) -> Generator[Batch, None, None]:
        """Yield batches of BATCH_ROWS; the bounds depend only on the files."""
        end = 0
        with as_shard_unreadable("The metadata"):
            for records in self.metadata.iter_batches(BATCH_ROWS, use_threads=False):
                first, end = end, end + records.num_rows
                if first >= start:
                    table = pa.Table.from_batches([records])
                    image, text = self.image[first:end], self.text[first:end]
                    yield batch_without(self.bad_rows, first, image, text, table)


def open_files(
    image: Path, text: Path, metadata: Path, dimension: int, fingerprint: str
) -> LaionShard:
    """Open three files; raises ShardUnreadable unless they are valid and agree."""
    return LaionShard(
        image=read_vectors(image, dimension),
        text=read_vectors(text, dimension),
        metadata=read_metadata(metadata),
        fingerprint=fingerprint,
        metadata_bytes=metadata.stat().st_size,
    )


def read_metadata(path: Path) -> pq.ParquetFile:
    """Open a metadata file. Raises ShardUnreadable."""
    with as_shard_unreadable(path.name):
        metadata = pq.ParquetFile(path, buffer_size=1 << 16, pre_buffer=False)
    names = {name.lower() for name in metadata.schema_arrow.names}
    for needed in NEEDED_COLUMNS:
        if needed not in names:
            raise ShardUnreadable(f"{path.name} has no column named {needed}.")
    return metadata


@dataclass
class LaionUrl:
    """The shards of `shard_range` (0-9,12) below an http or https URL.

    In the patterns {n} is the shard's number, and {n:04d} the number in four digits.
    `checksums` has the sha256 of files by their path below the base or by
    their name. A shard's files stay in `folder` until `discard`. `progress` gets the
    bytes fetched of all three files, and the total once the last one's size is known.
    """

    base: str
    shard_range: str
    folder: Path
    image: str = IMAGE_PATTERN
    text: str = TEXT_PATTERN
    metadata: str = METADATA_PATTERN
    checksums: Mapping[str, str] = field(default_factory=dict)
    keep_files: bool = False
    progress: Progress = lambda done, total: None

    def __post_init__(self) -> None:
        check_base(self.base)
        for pattern in (self.image, self.text, self.metadata):
            check_pattern(pattern)

    def shards(self) -> list[int]:
        """Return the numbers of the range, which the server may lack."""
        return parse_range(self.shard_range)

    def open(self, number: int, dimension: int) -> LaionShard:
        """Fetch missing files and open them; invalid files are deleted.

        The fingerprint comes from the sha256 of the files: the same content has the
        same one, also from another server.
        """
        try:
            hashes = self._fetch(number)
            metadata, image, text = (path for path, _ in self._files(number))
            version = hashlib.sha256(":".join(hashes).encode()).hexdigest()
            return open_files(image, text, metadata, dimension, version)
        except ShardUnreadable:
            self._delete(number)
            raise

    def discard(self, number: int) -> None:
        """Delete the fetched files of a shard, unless `keep_files`."""
        if not self.keep_files:
            self._delete(number)

    def _fetch(self, number: int) -> list[str]:
        hashes, before = [], 0
        files = self._files(number)
        for path, remote in files:
            is_last = path == files[-1][0]
            download = Download(
                f"{self.base.rstrip('/')}/{remote}",
                path,
                self._checksum(remote),
                self._progress_after(before, is_last),
            )
            hashes.append(download.run())
            before += path.stat().st_size
        return hashes

    def _files(self, number: int) -> list[tuple[Path, str]]:
        """Return local and remote paths, the smallest file first: it fails early."""
        return [
            (
                self.folder / f"metadata_{number}.parquet",
                self.metadata.format(n=number),
            ),
            (self.folder / f"img_emb_{number}.npy", self.image.format(n=number)),
            (self.folder / f"text_emb_{number}.npy", self.text.format(n=number)),
        ]

    def _checksum(self, remote: str) -> str:
        path = without_query(remote)
        name = path.rpartition("/")[2]
        return self.checksums.get(path) or self.checksums.get(name, "")

    def _progress_after(self, before: int, is_last: bool) -> Progress:
        """Return the callback of a file that follows `before` bytes of other files."""

        def report(done: int, total: int | None) -> None:
            all_bytes = before + total if is_last and total is not None else None
            self.progress(before + done, all_bytes)

        return report

    def _delete(self, number: int) -> None:
        for path, _ in self._files(number):
            discard(path)


def check_base(base: str) -> None:
    """Raise ShardUnreadable unless it is a plain http or https URL."""
    try:
        parts = urlsplit(base)
        valid = parts.hostname and parts.port != 0 and PATH.fullmatch(parts.path or "/")
    except ValueError:  # a port of letters, an unclosed bracket
        valid = False
    if not valid or parts.scheme not in ("http", "https"):
        raise ShardUnreadable(f"“{base[:80]}” is not an http or https address.")
    if parts.username is not None or "?" in base or "#" in base:
        raise ShardUnreadable(
            "The base address must have no user name, password, query or fragment."
        )


def check_pattern(pattern: str) -> None:
    """Raise ShardUnreadable unless it is a path with the shard's number in it."""
    fixed = NUMBER.sub("", pattern)
    if fixed == pattern:
        raise ShardUnreadable(
            f"“{pattern[:80]}” has no {{n}} or {{n:04d}} where the number belongs."
        )
    if not PATH.fullmatch(fixed) or fixed.startswith("/") or ".." in fixed:
        raise ShardUnreadable(
            f"“{pattern[:80]}” is not a path below the base address; characters such "
            "as spaces and braces are written as %20, %7B."
        )


def read_checksums(text: str) -> dict[str, str]:
    """Parse the output of sha256sum into sha256 by file. Raises ShardUnreadable."""
    checksums = {}
    for line in filter(str.strip, text.splitlines()):
        match = CHECKSUM.fullmatch(line.rstrip())
        if not match:
            raise ShardUnreadable(f"“{line[:80]}” is not a line of sha256sum.")
        checksums[match[2].removeprefix("./")] = match[1].lower()
    return checksums
