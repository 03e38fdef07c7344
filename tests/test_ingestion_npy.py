"""Reading vectors from .npy files in pieces."""

import numpy as np
import pytest

from search.errors import ShardUnreadable
from search.ingestion.sources.vectors import bad_rows, read_vectors

ROWS, DIMENSION = 2_500, 8


@pytest.fixture
def matrix() -> np.ndarray:
    drawn = np.random.default_rng(0).standard_normal((ROWS, DIMENSION))
    return drawn.astype(np.float16)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_a_slice_has_the_rows_of_the_file(tmp_path, matrix, kind):
    np.save(tmp_path / "it.npy", matrix.astype(kind))
    found = read_vectors(tmp_path / "it.npy", DIMENSION)
    assert (len(found), found.nbytes) == (ROWS, matrix.astype(kind).nbytes)
    for first, last in ((0, 3), (1_000, 2_000), (2_490, 9_000), (2_500, 2_600)):
        part = found[first:last]
        assert part.dtype == kind
        assert np.array_equal(part, matrix[first:last])


def test_bad_rows_are_found_wherever_they_are(tmp_path, matrix):
    matrix[[0, 999, 1_000, 2_499]] = [[0], [np.nan], [np.inf], [0]]
    np.save(tmp_path / "it.npy", matrix)
    found = bad_rows(read_vectors(tmp_path / "it.npy", DIMENSION))
    assert found.tolist() == [0, 999, 1_000, 2_499]


def test_a_file_cut_short_while_it_is_read_is_unreadable(tmp_path, matrix):
    path = tmp_path / "it.npy"
    np.save(path, matrix)
    found = read_vectors(path, DIMENSION)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    assert np.array_equal(found[:100], matrix[:100])
    with pytest.raises(ShardUnreadable, match=r"it\.npy is damaged"):
        found[2_000:2_100]


def test_a_file_that_is_replaced_meanwhile_stays_as_it_was(tmp_path, matrix):
    path = tmp_path / "it.npy"
    np.save(path, matrix)
    found = read_vectors(path, DIMENSION)
    np.save(tmp_path / "other.npy", -matrix)
    (tmp_path / "other.npy").replace(path)
    assert np.array_equal(found[:ROWS], matrix)
