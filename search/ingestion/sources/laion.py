"""Shards in the format of LAION-400M: two matrices and a table with the same rows.

img_emb_N.npy and text_emb_N.npy hold float16 of shape (rows, dimension), and
metadata_N.parquet the columns url, caption, NSFW, similarity, LICENSE, width, height
and more, in any case. They are in one folder, or in folders named img_emb, text_emb,
metadata. The output of clip-retrieval may lack text embeddings, and local files have no
URL.
"""

import hashlib
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow.parquet as pq

from search.errors import ShardUnreadable
from search.ingestion.download.download import Download, Progress, without_query
from search.ingestion.download.partial_file import discard

from .protocol import Batch, check_number, fingerprint, parse_range
from .read_errors import as_shard_unreadable
from .tables import NAMES, open_parquet, read_rows, roles_of
from .vectors import (
    NO_TEXTS,
    VectorFile,
    bad_rows,
    batch_of,
    check_bad_rows,
    read_vectors,
)

# LAION's width is that of the image that was embedded, which may be a smaller copy.
KNOWN = NAMES | {"width": ("width",), "height": ("height",)}
WANTED = ("url", "caption", "width", "height", "nsfw", "license", "similarity")
NO_ADDRESSES = "No column is known to hold addresses: these items have none."
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

    def __init__(self, folder: str, columns: Mapping[str, str] | None = None):
        self.folder, self.columns = Path(folder), columns or {}

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
        image, text, metadata = self.files(number)
        files = [file for file in (image, text, metadata) if file]
        version = fingerprint(*files, read_as=str(self.columns or ""))
        return open_files(image, text, metadata, dimension, self.columns, version)

    def discard(self, number: int) -> None:
        """Do nothing: no file was fetched."""

    def files(self, number: int) -> tuple[Path, Path | None, Path]:
        """Return the files of image and text embeddings, and of the metadata.

        Raises ShardUnreadable for one that is missing.
        """
        image = self._file("img_emb", number, "npy")
        metadata = self._file("metadata", number, "parquet")
        text = None
        if self._files("text_emb", "npy"):
            text = self._file("text_emb", number, "npy")
        return image, text, metadata

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
    """Files with the same number of rows, read in batches."""

    image: VectorFile
    text: VectorFile | None
    metadata: pq.ParquetFile
    roles: Mapping[str, str]
    fingerprint: str
    metadata_bytes: int

    def __post_init__(self) -> None:
        lengths = {
            "image embeddings": len(self.image),
            "text embeddings": len(self.image if self.text is None else self.text),
            "metadata": self.metadata.metadata.num_rows,
        }
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{rows:,} of {name}" for name, rows in lengths.items())
            raise ShardUnreadable(f"The files differ in their rows: {listed}.")
        self.bad_rows = bad_rows(self.image)
        if self.text is not None:
            self.bad_rows = np.union1d(self.bad_rows, bad_rows(self.text))
        check_bad_rows(len(self.bad_rows), len(self))

    def __len__(self) -> int:
        return len(self.image)

    @property
    def bytes(self) -> int:
        text = self.text.nbytes if self.text is not None else 0
        return self.image.nbytes + text + self.metadata_bytes

    @property
    def has_text_vectors(self) -> bool:
        return self.text is not None

    def batches(self, start: int) -> Generator[Batch, None, None]:
        """Yield batches of BATCH_ROWS; the bounds depend only on the files."""
        end = 0
        with as_shard_unreadable("The metadata"):
            for rows, _ in read_rows(self.metadata, BATCH_ROWS, self.roles):
                first, end = end, end + len(rows.table)
                if first >= start:
                    image = self.image[first:end]
                    text = image if self.text is None else self.text[first:end]
                    batch = batch_of(rows, self.bad_rows, first, image, text)
                    yield replace(batch, notes={**batch.notes, **self._notes(batch)})

    def _notes(self, batch: Batch) -> dict[str, int]:
        there = {NO_ADDRESSES: "url" in self.roles, NO_TEXTS: self.has_text_vectors}
        return {note: len(batch.rows) for note in there if not there[note]}


def open_files(
    image: Path,
    text: Path | None,
    metadata: Path,
    dimension: int,
    columns: Mapping[str, str],
    fingerprint: str,
) -> LaionShard:
    """Open the files of a shard, of which `text` may be missing.

    Raises ShardUnreadable unless they are valid and agree.
    """
    file = read_metadata(metadata)
    roles = roles_of(columns, file.schema_arrow.names, WANTED, KNOWN)
    if text and "caption" not in roles:
        raise ShardUnreadable(
            f"{metadata.name} has no column named caption; name it in the dataset's "
            'columns: {"caption": "…"}.'
        )
    return LaionShard(
        image=read_vectors(image, dimension),
        text=read_vectors(text, dimension) if text else None,
        metadata=file,
        roles=roles,
        fingerprint=fingerprint,
        metadata_bytes=metadata.stat().st_size,
    )


def read_metadata(path: Path) -> pq.ParquetFile:
    """Open a metadata file. Raises ShardUnreadable."""
    with as_shard_unreadable(path.name):
        return open_parquet(path, buffer_size=1 << 16, pre_buffer=False)


@dataclass
class LaionUrl:
    """The shards of `shard_range` (0-9,12) below an http or https URL.

    In the patterns {n} is the shard's number, and {n:04d} the number in four digits;
    `text` is empty where there are no text embeddings. `checksums` has the sha256 of
    files by their path below the base or by their name. A shard's files stay in
    `folder` until `discard`. `progress` gets the bytes fetched of all files, and the
    total once the last one's size is known.
    """

    base: str
    shard_range: str
    folder: Path
    image: str = IMAGE_PATTERN
    text: str = TEXT_PATTERN
    metadata: str = METADATA_PATTERN
    columns: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    keep_files: bool = False
    progress: Progress = lambda done, total: None

    def __post_init__(self) -> None:
        check_base(self.base)
        check_pattern(self.image)
        check_pattern(self.metadata)
        if self.text:
            check_pattern(self.text)

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
            metadata, image, *texts = (path for path, _ in self._files(number))
            text = texts[0] if texts else None
            read_as = [*hashes, *([str(self.columns)] if self.columns else [])]
            version = hashlib.sha256(":".join(read_as).encode()).hexdigest()
            return open_files(image, text, metadata, dimension, self.columns, version)
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
        patterns = {
            f"metadata_{number}.parquet": self.metadata,
            f"img_emb_{number}.npy": self.image,
            f"text_emb_{number}.npy": self.text,
        }
        return [
            (self.folder / name, pattern.format(n=number))
            for name, pattern in patterns.items()
            if pattern
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
