"""An export with embeddings, brought in again, is the same dataset."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import import_all
from support import searching
from support.export_helpers import made
from support.tiny_shards import DIMENSION, drop_tables, tiny_dataset, vectors
from support.tiny_shards import import_all as bring_in_tiny

from postcards.shards import jpeg
from search.models import SYSTEM, Dataset, Shard
from search.query.filters import Filters
from search.query.model import SearchQuery, Term
from search.retrieval import scan
from search.retrieval.scan import Scan, shards_of

pytestmark = pytest.mark.django_db
ALL = Filters(nsfw="any")
WORDS = (
    "a red house by a lake at night",
    "boats",
    "snow on the mountains",
)
PICTURES = (3, 1_999)


def whole(slug: str) -> pa.Table:
    dataset = Dataset.for_slug(slug, SYSTEM)
    scan = Scan(dataset, shards_of(dataset), ALL, with_embeddings=True)
    return pa.concat_tables(batch.table for batch in scan.batches())


@pytest.fixture
def again(postcards_dataset, tmp_path, monkeypatch):
    """The postcards as a dataset of Parquet files that were exported of them."""
    from usercollections.export import writer
    from usercollections.export.export_request import of_dataset

    monkeypatch.setattr(writer, "PART_ROWS", 800)
    monkeypatch.setattr(writer, "MAX_AT_ONCE", 100)
    monkeypatch.setattr(writer, "MAX_EMBEDDED", 100)
    manifest = made(
        of_dataset(SYSTEM, "postcards", ALL, "parquet", True), tmp_path / "first"
    )
    assert [file["rows"] for file in manifest["files"]] == [800, 800, 400]
    dataset = Dataset.objects.create(
        slug="again",
        title="Again",
        kind=Dataset.Kind.PARQUET,
        source=str(tmp_path / "first"),
        model=postcards_dataset.model,
        weights=postcards_dataset.weights,
        dimension=postcards_dataset.dimension,
    )
    import_all(dataset)
    assert not dataset.shards.exclude(state=Shard.State.INGESTED).exists()
    yield dataset
    drop_tables(dataset)


def test_vectors_order_and_metadata_come_back_and_so_do_searches(again, tmp_path):
    before, after = whole("postcards"), whole("again")
    for field in ("image_embedding", "text_embedding"):
        old, new = (
            table[field].combine_chunks().flatten() for table in (before, after)
        )
        # Relative to a mean of their own, they are rounded to bfloat16 again.
        assert np.allclose(old, new, rtol=0, atol=2**-10)
    assert np.all(np.diff(after["id"].to_numpy().astype(np.int64)) > 0)
    for name in ("url", "caption", "nsfw", "license", "width", "height"):
        assert before[name].to_pylist() == after[name].to_pylist()
    assert before["caption_similarity"].equals(after["caption_similarity"])
    for item_id, old, new in zip(
        before["id"].to_pylist(),
        before["metadata"].to_pylist(),
        after["metadata"].to_pylist(),
        strict=True,
    ):
        assert old and dict(new) == {"id": str(item_id)} | dict(old)
    terms = [Term(text=words) for words in WORDS]
    terms += [Term(image=jpeg(number)) for number in PICTURES]
    for term in terms:
        for field in ("image", "text"):
            assert_same_ranking(term, field)
    assert_exported_alike(after, tmp_path / "third")


def assert_exported_alike(after: pa.Table, folder: Path) -> None:
    """An export of what was exported and brought in has the same rows once more."""
    from usercollections.export.export_request import of_dataset

    made(of_dataset(SYSTEM, "again", ALL, "parquet", True), folder)
    (first, *_) = sorted(folder.glob("*.parquet"))
    third, second = pq.read_table(first), after[:800]
    assert third["metadata"].to_pylist() == second["metadata"].to_pylist()
    images = second["image_embedding"].combine_chunks()
    assert third["embedding"].combine_chunks().equals(images)


def assert_same_ranking(term: Term, field: str) -> None:
    found = []
    for slug in ("postcards", "again"):
        query = SearchQuery(
            slug, (term,), field=field, mode="exact", filters=ALL, limit=50
        )
        hits = searching.find(query).hits
        found.append({hit.url: hit.similarity for hit in hits})
    first, second = found
    assert len(first) == len(second) == 50
    assert np.allclose([*first.values()], [*second.values()], rtol=0, atol=1e-3)
    last = min(first.values())
    assert all(first[url] < last + 1e-3 for url in first.keys() - second.keys())


def test_a_search_keeps_both_similarities_and_its_own_metadata(tmp_path):
    """Some similarities are of the caption, some of what was searched for."""
    entries = [("id", "mine"), ("Page", "7"), ("none", None)]
    kind = pa.map_(pa.string(), pa.string())
    matrix = vectors(3, 1).astype(np.float32)
    table = pa.table(
        {
            "id": [5, 6, 7],
            "caption": ["a", "b", "c"],
            "similarity": [0.9, 0.8, 0.7],
            "caption_similarity": pa.array([0.25, None, 0.5], pa.float32()),
            "nsfw": ["NSFW", "", "UNLIKELY"],
            "license": ["", "CC-BY", ""],
            "metadata": pa.array([entries, None, []], kind),
            "note": ["mine", None, "yours"],
            "embedding": pa.FixedSizeListArray.from_arrays(matrix.ravel(), DIMENSION),
        }
    )
    pq.write_table(table, tmp_path / "boats-00000.parquet")
    tiny = tiny_dataset(tmp_path, kind=Dataset.Kind.PARQUET)
    try:
        bring_in_tiny(tiny)
        found = scan.contents(Dataset.for_slug("tiny", SYSTEM), [0, 1, 2]).to_pylist()
    finally:
        drop_tables(tiny)
    assert [row["caption_similarity"] for row in found] == [0.25, None, 0.5]
    assert [row["nsfw"] for row in found] == ["NSFW", "", "UNLIKELY"]
    assert [row["license"] for row in found] == ["", "CC-BY", ""]
    assert [dict(row["metadata"]) for row in found] == [
        {"id": "mine", "Page": "7", "original_similarity": "0.9", "note": "mine"},
        {"id": "6", "original_similarity": "0.8"},
        {"id": "7", "original_similarity": "0.7", "note": "yours"},
    ]
