"""Shards of a web server: three files each, fetched into a folder and opened there."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from search.errors import ShardUnreadable

from .answer import shown
from .download import Download, Progress
from .laion import LaionShard, open_files
from .partial_file import discard
from .source import parse_range

# As LAION-400M lies below …/embeddings/.
IMAGE_PATTERN = "img_emb/img_emb_{n}.npy"
TEXT_PATTERN = "text_emb/text_emb_{n}.npy"
METADATA_PATTERN = "metadata/metadata_{n}.parquet"
NUMBER = re.compile(r"\{n(?::0[1-9]d)?\}")
# Printable characters of an address; whatever else is written as %20 and the like.
PATH = re.compile(r"[\w.~!$&'()*+,;=:@%/?-]+", re.ASCII)
CHECKSUM = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


@dataclass
class LaionUrl:
    """The shards of `shard_range` (0-9,12) below an http or https address.

    In the patterns {n} stands for the shard's number, and {n:04d} for one of four
    digits. `checksums` gives the sha256 of files by their path below the base or by
    their name. A shard's files stay in `folder` until `discard`. `progress` gets the
    bytes of all three files, and of how many once the last one's length is known.
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
        """The numbers that are named; whether the server has them shows later."""
        return parse_range(self.shard_range)

    def open(self, number: int, dimension: int) -> LaionShard:
        """Fetches what is not here yet; the same content has the same fingerprint.

        It is made of the sha256 of the three files, so neither a second download nor
        another server changes it. Files that turn out to be wrong are deleted.
        """
        try:
            hashes = self._fetch(number)
            metadata, image, text = (path for path, _ in self._files(number))
            made = hashlib.sha256(":".join(hashes).encode()).hexdigest()
            return open_files(image, text, metadata, dimension, made)
        except ShardUnreadable:
            self._delete(number)
            raise

    def discard(self, number: int) -> None:
        """Deletes what was fetched for a shard, unless the files are to be kept."""
        if not self.keep_files:
            self._delete(number)

    def _fetch(self, number: int) -> list[str]:
        hashes, before = [], 0
        files = self._files(number)
        for path, address in files:
            last = path == files[-1][0]
            download = Download(
                f"{self.base.rstrip('/')}/{address}",
                path,
                self._checksum(address),
                self._progress_after(before, last),
            )
            hashes.append(download.run())
            before += path.stat().st_size
        return hashes

    def _files(self, number: int) -> list[tuple[Path, str]]:
        """Here and there; the smallest comes first: what is amiss shows soon."""
        return [
            (
                self.folder / f"metadata_{number}.parquet",
                self.metadata.format(n=number),
            ),
            (self.folder / f"img_emb_{number}.npy", self.image.format(n=number)),
            (self.folder / f"text_emb_{number}.npy", self.text.format(n=number)),
        ]

    def _checksum(self, address: str) -> str:
        path = shown(address)
        name = path.rpartition("/")[2]
        return self.checksums.get(path) or self.checksums.get(name, "")

    def _progress_after(self, before: int, last: bool) -> Progress:
        def report(done: int, total: int | None) -> None:
            known = before + total if last and total is not None else None
            self.progress(before + done, known)

        return report

    def _delete(self, number: int) -> None:
        for path, _ in self._files(number):
            discard(path)


def check_base(base: str) -> None:
    """Raises ShardUnreadable unless it is a plain http or https address."""
    try:
        parts = urlsplit(base)
        plain = parts.hostname and parts.port != 0 and PATH.fullmatch(parts.path or "/")
    except ValueError:  # a port of letters, a bracket that stays open
        plain = False
    if not plain or parts.scheme not in ("http", "https"):
        raise ShardUnreadable(f"“{base[:80]}” is not an http or https address.")
    if parts.username is not None or "?" in base or "#" in base:
        raise ShardUnreadable(
            "The base address must have no user name, password, query or fragment."
        )


def check_pattern(pattern: str) -> None:
    """Raises ShardUnreadable unless it is a path with the shard's number in it."""
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
    """The sha256 of each file, of lines as the command sha256sum writes them."""
    checksums = {}
    for line in filter(str.strip, text.splitlines()):
        match = CHECKSUM.fullmatch(line.rstrip())
        if not match:
            raise ShardUnreadable(f"“{line[:80]}” is not a line of sha256sum.")
        checksums[match[2].removeprefix("./")] = match[1].lower()
    return checksums
