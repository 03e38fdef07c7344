"""Lists of image URLs: TSV, CSV or Parquet, with columns of any names.

Unsplash publishes its photos so (photos.tsv000), LAION its metadata.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from search.errors import CannotFetch, InvalidQuery, ShardUnreadable

from .image_fetch import SourceImage, fetch_image
from .image_set import ImageSet, LeftOut, Rows, WithLeftOut
from .protocol import NoSuchShard, fingerprint
from .tables import TABLE, TableFile, files_of, max_rows, roles_of

SHARD_ROWS = 100_000
MAX_COUNTED_BYTES = 2**24  # read in a second or two, within a request
# Of the image that is read: `file` is where on this server it was, `truncated` whether
# its end was missing.
COMPUTED = ("width", "height", "similarity", "md5", "file", "truncated")
KINDS = "list of images (.tsv, .csv, .parquet), tar or zip file, or folder of images"


def lists(
    source: str, columns: Mapping[str, str], left_out: Sequence[LeftOut] = ()
) -> dict[int, Callable[[], ImageSet]]:
    """Return the shards of the lists by number, SHARD_ROWS of a file each.

    They are numbered through all files in the order of their names: items keep their
    ids as long as files are only appended. To count the rows of large files takes long;
    for these there may be more shards than there are. The last one has `left_out`.
    """
    files = files_of(source, TABLE, KINDS)
    small = sum(path.stat().st_size for path in files) <= MAX_COUNTED_BYTES
    rows = [len(TableFile(path)) if small else max_rows(path) for path in files]
    return {
        number: partial(open_list, files, number, columns, left_out)
        for number in range(sum(count_shards(count) for count in rows))
    }


def count_shards(rows: int) -> int:
    return -(-rows // SHARD_ROWS)


def open_list(
    files: Sequence[Path],
    number: int,
    columns: Mapping[str, str],
    left_out: Sequence[LeftOut],
) -> ImageSet:
    """Open a shard of some lists. Raises NoSuchShard if they have fewer."""
    before = 0
    for place, path in enumerate(files):
        count = count_shards(len(TableFile(path)))
        if number < before + count:
            images = ImageList(path, (number - before) * SHARD_ROWS, columns)
            later = (len(TableFile(path)) for path in files[place + 1 :])
            is_last = number == before + count - 1 and not any(later)
            return WithLeftOut(images, left_out) if is_last and left_out else images
        before += count
    raise NoSuchShard(f"The source has no shard {number}.")


class ImageList:
    """Consecutive rows of one file, as an ImageSet."""

    def __init__(
        self,
        path: Path,
        first: int,
        columns: Mapping[str, str],
        last: int | None = None,
    ):
        self.table = TableFile(path)
        self.first = first
        self.last = min(last or first + SHARD_ROWS, len(self.table))
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
        first, name = self.first + start, self.table.path.name
        for rows in self.table.read(first, self.last, size, self.roles, COMPUTED):
            read_as = {f"Read as {self.table.dialect}.": len(rows.table)}
            load = partial(self._load, rows.rejected)
            last = first + len(rows.table)
            files = [f"{name}, line {line}" for line in rows.lines]
            files = files or [f"{name}/{row}" for row in range(first, last)]
            first = last
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
