"""Lists of image URLs: TSV, CSV or Parquet, with columns of any names.

Unsplash publishes its photos so (photos.tsv000), LAION its metadata.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from search.errors import CannotFetch, InvalidQuery, ShardUnreadable

from .image_fetch import SourceImage, fetch_image
from .image_set import ImageSet, Rows
from .protocol import fingerprint
from .tables import TABLE, TableFile, files_of, roles_of

SHARD_ROWS = 100_000
# Of the image that is read: `file` is where on this server it was, `truncated` whether
# its end was missing.
COMPUTED = ("width", "height", "similarity", "md5", "file", "truncated")
KINDS = "list of pictures (.tsv, .csv, .parquet), tar file or folder of pictures"


def lists(source: str, columns: Mapping[str, str]) -> dict[int, Callable[[], ImageSet]]:
    """Return the shards of the lists by number, SHARD_ROWS of a file each.

    They are numbered through all files in the order of their names: items keep their
    ids as long as files are only appended.
    """
    parts = [
        (path, first)
        for path in files_of(source, TABLE, KINDS)
        for first in range(0, len(TableFile(path)), SHARD_ROWS)
    ]
    return {
        number: partial(ImageList, path, first, columns)
        for number, (path, first) in enumerate(parts)
    }


class ImageList:
    """Consecutive rows of one file, as an ImageSet."""

    def __init__(self, path: Path, first: int, columns: Mapping[str, str]):
        self.table = TableFile(path)
        self.first = first
        self.last = min(first + SHARD_ROWS, len(self.table))
        wanted = ("url", "caption", "width", "height")
        self.roles = roles_of(columns, self.table.names, wanted)
        if "url" not in self.roles:
            raise ShardUnreadable(
                f"{path.name} has no column that is known to hold addresses; name it "
                'in the dataset\'s columns: {"url": "…"}.'
            )
        self.fingerprint = fingerprint(
            path, read_as=f"{first} {self.roles} {self.table.dialect}"
        )
        self.bytes = path.stat().st_size * len(self) // len(self.table)

    def __len__(self) -> int:
        return self.last - self.first

    def read(self, start: int, size: int) -> Iterator[Rows]:
        """Yield the rows from `start` on, `size` at a time."""
        first = self.first + start
        for rows in self.table.read(first, self.last, size, self.roles, COMPUTED):
            read_as = {f"Read as {self.table.dialect}.": len(rows.table)}
            load = partial(self._load, rows.rejected)
            files = [f"{self.table.path.name}, line {line}" for line in rows.lines]
            yield Rows(rows.table, load, notes={**rows.notes, **read_as}, files=files)

    def _load(self, rejected: Mapping[int, str], place: int, url: str) -> SourceImage:
        """Fetch an image.

        Raises CannotFetch, NotAnImage or ImageTooLarge, InvalidQuery for `rejected`.
        """
        if place in rejected:
            raise InvalidQuery(rejected[place])
        if not url:
            raise CannotFetch("It has no address.")
        return fetch_image(url)
