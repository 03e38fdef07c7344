"""Vectors that come with a shard: which are of use, and how many may be of none."""

import numpy as np
import pyarrow as pa

from search.errors import ShardUnreadable

from .npy import VectorFile
from .source import Batch, Rejected

BAD_ROWS_ALLOWED = 0.01
BAD_VECTOR = "Its vector is zero or not finite."
CHECKED_ROWS = 1_000  # together; more would not fit into the caches: half as fast


def bad_rows(vectors: np.ndarray | VectorFile) -> np.ndarray:
    """The rows of a matrix of float16 or float32 that are zero or not finite."""
    found = []
    for start in range(0, len(vectors), CHECKED_ROWS):
        # float16 would overflow where the squares are summed up.
        part = vectors[start : start + CHECKED_ROWS].astype(np.float32)
        length = np.sqrt(np.einsum("ij,ij->i", part, part))
        found.append(start + np.flatnonzero(~(np.isfinite(length) & (length > 1e-6))))
    return np.concatenate(found) if found else np.empty(0, np.int64)


def check_bad_rows(bad: int, rows: int) -> None:
    """Raises ShardUnreadable when so many are bad that the file itself must be."""
    if bad > BAD_ROWS_ALLOWED * rows:
        raise ShardUnreadable(
            f"{bad:,} of {rows:,} rows have a vector that is zero or not finite; more "
            "than 1 % is not taken in."
        )


def batch_without(
    bad: np.ndarray, first: int, image: np.ndarray, text: np.ndarray, table: pa.Table
) -> Batch:
    """The rows of a shard from `first` on, but for the `bad` among them.

    `bad` has numbers of rows within the shard, `image`, `text` and `table` all rows of
    the batch.
    """
    end = first + len(table)
    bad = bad[(first <= bad) & (bad < end)]
    rows = np.setdiff1d(np.arange(first, end), bad)
    if len(bad):
        image, text = image[rows - first], text[rows - first]
        table = table.take(pa.array(rows - first))
    rejected = tuple(Rejected(int(row), "", BAD_VECTOR) for row in bad)
    return Batch(first, end, rows, image, text, table, rejected)
