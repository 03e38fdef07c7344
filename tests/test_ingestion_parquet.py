"""Imports of Parquet files with embeddings."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import searching
from support.tiny_shards import (
    DIMENSION,
    drop_tables,
    ids_of,
    import_all,
    publish,
    queue,
    rows_of,
    tiny_dataset,
    vectors,
)

from search.clickhouse.schema import SHARD_BITS
from search.errors import InvalidQuery, SearchUnavailable, ShardUnreadable
from search.ingestion import shard_run
from search.ingestion.sources import parquet
from search.ingestion.sources.parquet import VectorTable
from search.ingestion.sources.registry import source_of
from search.ingestion.sources.vectors import BAD_VECTOR, NO_TEXTS
from search.models import SYSTEM, Dataset, Shard
from search.query.model import SearchQuery, Term
from search.retrieval import service

pytestmark = pytest.mark.django_db
State = Shard.State
ROWS = 200


@pytest.fixture
def tiny(tmp_path):
    """A dataset of eight dimensions; the test writes its files into `source`."""
    dataset = tiny_dataset(tmp_path, kind=Dataset.Kind.PARQUET)
    yield dataset
    drop_tables(dataset)


def table(rows: int = ROWS, **columns) -> pa.Table:
    given = {
        "photo_id": [f"id-{i}" for i in range(rows)],
        "url": [f"https://example.org/{i}.jpg" for i in range(rows)],
        "embedding": lists(vectors(rows, 1), pa.list_(pa.float32())),
    }
    return pa.table({**given, **columns})


def lists(matrix: np.ndarray, kind: pa.DataType) -> pa.Array:
    numbers = kind.value_type.to_pandas_dtype()
    return pa.array([row.astype(numbers) for row in matrix], kind)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float32()),
        pa.list_(pa.float64()),
        pa.large_list(pa.float16()),
        pa.list_(pa.float16(), DIMENSION),
        pa.list_(pa.float32(), DIMENSION),
        pa.list_(pa.float64(), DIMENSION),
    ],
    ids=str,
)
def test_lists_of_any_floats_come_in_as_they_are(tiny, tmp_path, kind):
    pq.write_table(
        table(embedding=lists(vectors(ROWS, 1), kind)), tmp_path / "photos.parquet"
    )
    (shard,) = import_all(tiny)
    assert (shard.state, shard.error) == (State.INGESTED, "")
    rows = rows_of(tiny)
    assert [row["id"] for row in rows] == list(range(ROWS))
    stored = np.array([row["image_embedding"] for row in rows])
    assert np.allclose(stored, vectors(ROWS, 1).astype(float), atol=2**-8)
    assert rows[7]["url"] == "https://example.org/7.jpg"
    assert rows[7]["metadata"] == {"photo_id": "id-7"}
    assert rows[7]["text_embedding"] == rows[7]["image_embedding"]


def test_columns_have_the_names_that_the_dataset_gives(tiny, tmp_path):
    given = {
        "link": ["https://example.org/"] * ROWS,
        "url": ["of the page"] * ROWS,
        "words": ["some"] * ROWS,
        "img": lists(vectors(ROWS, 3), pa.list_(pa.float32())),
        "txt": lists(vectors(ROWS, 4), pa.list_(pa.float32())),
        "size": [640] * ROWS,
    }
    pq.write_table(table(**given), tmp_path / "photos.parquet")
    tiny.columns = {
        "url": "link",
        "caption": "WORDS",
        "embedding": "img",
        "text_embedding": "txt",
        "width": "size",
        "id": "photo_id",
    }
    tiny.save()
    import_all(tiny)
    row = rows_of(tiny)[5]
    assert (row["url"], row["caption"], row["width"]) == (
        "https://example.org/",
        "some",
        640,
    )
    unused = row["metadata"].pop("embedding")
    assert np.allclose(json.loads(unused), vectors(ROWS, 1)[5])
    assert row["metadata"] == {"photo_id": "id-5", "original_url": "of the page"}
    assert np.allclose(row["image_embedding"], vectors(ROWS, 3)[5], atol=2**-8)
    assert np.allclose(row["text_embedding"], vectors(ROWS, 4)[5], atol=2**-8)


def test_items_are_found_by_their_vectors(tiny, tmp_path):
    pq.write_table(table(), tmp_path / "photos.parquet")
    import_all(tiny)
    wanted = Term(embedding=tuple(map(float, vectors(ROWS, 1)[42])))
    query = SearchQuery("tiny", (wanted,), mode="exact")
    assert searching.find(query).hits[0].id == 42
    with pytest.raises(InvalidQuery, match="captions of this dataset have no"):
        searching.find(replace(query, field="text"))
    found = service.item("tiny", 42, SYSTEM)
    assert (found.url, found.metadata) == (
        "https://example.org/42.jpg",
        {"photo_id": "id-42"},
    )


def test_each_file_is_a_shard_by_the_number_in_its_name(tiny, tmp_path):
    for number in (3, 12):
        pq.write_table(table(10), tmp_path / f"part-{number:05}-of-99a.parquet")
    (tmp_path / "notes.txt").write_text("not one of them")
    assert source_of(tiny).shards() == [0, 1]  # the last numbers are the same
    for path in list(tmp_path.glob("*.parquet")):
        path.rename(tmp_path / path.name.replace("-of-99a", ""))
    assert [shard.number for shard in import_all(tiny)] == [3, 12]
    assert ids_of(tiny)[10] == 12 << SHARD_BITS
    (tmp_path / "part-00003.parquet").unlink()
    assert source_of(tiny).shards() == [12]
    with pytest.raises(ShardUnreadable, match="no shard 3 any more"):
        source_of(tiny).open(3, DIMENSION)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"embedding": [1.0] * ROWS}, "holds double; lists of"),
        (
            {"embedding": lists(vectors(ROWS, 1), pa.list_(pa.int8()))},
            "int8",
        ),
        ({"embedding": lists(vectors(ROWS, 1, 7), pa.list_(pa.float32()))}, "of 7 num"),
        ({"embedding": lists(vectors(ROWS, 1, 7), pa.list_(pa.float32(), 7))}, "of 7 "),
        (
            {"embedding": [[0.5] * 8] * (ROWS - 1) + [[0.5] * 9]},
            "a vector of 9 numbers",
        ),
        ({"embedding": [None] * 3 + [[0.5] * 8] * (ROWS - 3)}, "3 of 200 rows"),
        ({"text_embedding": [[0.0] * 8] * ROWS}, "200 of 200 rows"),
    ],
)
def test_what_is_no_file_of_vectors_is_refused(tiny, tmp_path, columns, reason):
    pq.write_table(table(**columns), tmp_path / "photos.parquet")
    (shard,) = import_all(tiny)
    assert shard.state == State.FAILED
    assert reason in shard.error


def test_files_that_lack_vectors_or_are_broken_are_refused(tiny, tmp_path):
    path = tmp_path / "photos.parquet"
    with pytest.raises(ShardUnreadable, match="There is no Parquet file at"):
        source_of(tiny).shards()
    pq.write_table(table().drop(["embedding"]), path)
    with pytest.raises(ShardUnreadable, match="known to hold embeddings"):
        source_of(tiny).open(0, DIMENSION)
    pq.write_table(table(), path)
    whole = path.read_bytes()
    for size in (0, 4, 1000, len(whole) - 9):
        path.write_bytes(whole[:size])
        with pytest.raises(ShardUnreadable, match="damaged"):
            source_of(tiny).open(0, DIMENSION)
    path.write_bytes(whole[:4] + bytes(3000) + whole[3004:])
    with pytest.raises(ShardUnreadable):
        VectorTable(path, {}, DIMENSION)


def test_a_few_bad_vectors_are_rejected_by_row(tiny, tmp_path):
    bad = {3: None, 70: [0.0] * 8, 71: [1e300] * 8, 399: [float("nan")] * 8}
    embeddings = [bad.get(i, [float(i + 1)] * 8) for i in range(400)]
    pq.write_table(
        table(400, embedding=embeddings), tmp_path / "a.parquet", row_group_size=64
    )
    (shard,) = import_all(tiny)
    assert (shard.rows, shard.rows_visible) == (400, 396)
    rejects = list(shard.rejects.values_list("row", "url", "reason"))
    assert rejects == [
        (row, f"https://example.org/{row}.jpg", BAD_VECTOR) for row in bad
    ]
    assert ids_of(tiny) == [i for i in range(400) if i not in bad]


def test_a_column_of_text_embeddings_that_is_null_is_none(tiny, tmp_path):
    kind = pa.list_(pa.float32(), DIMENSION)
    rows = table(text_embedding=pa.nulls(ROWS, kind))
    pq.write_table(rows, tmp_path / "photos.parquet")
    (shard,) = import_all(tiny)
    assert (shard.rows_kept, shard.has_text_vectors) == (ROWS, False)
    assert "text_embedding" not in rows_of(tiny)[0]["metadata"]


def test_of_other_lists_of_numbers_short_ones_are_metadata(tiny, tmp_path):
    rows = table(
        box=[[0.5, 2.0]] * (ROWS - 1) + [None],
        other=[[0.5] * 70] * ROWS,
        tags=[[1]] * ROWS,
    )
    pq.write_table(rows, tmp_path / "photos.parquet", row_group_size=64)
    (shard,) = import_all(tiny)
    assert shard.notes == {parquet.UNUSED.format("other"): ROWS, NO_TEXTS: ROWS}
    first, *_, last = (row["metadata"] for row in rows_of(tiny))
    assert first == {"photo_id": "id-0", "box": "[0.5, 2.0]", "tags": "[1]"}
    assert last == {"photo_id": f"id-{ROWS - 1}", "tags": "[1]"}


def test_a_run_that_broke_off_goes_on_where_it_was(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH_ROWS", 32)
    rows = table(similarity=[0.5] * ROWS)  # NaN is unequal to itself
    pq.write_table(rows, tmp_path / "photos.parquet", row_group_size=50)
    import_all(tiny)
    undisturbed = rows_of(tiny)
    (key,) = queue(tiny)
    send, sent = shard_run.ShardRun._insert_batch, []

    def breaking(self, batch):
        sent.append(batch.start)
        if len(sent) == 4:
            raise SearchUnavailable("The engine is away.")
        return send(self, batch)

    monkeypatch.setattr(shard_run.ShardRun, "_insert_batch", breaking)
    with pytest.raises(SearchUnavailable):
        shard_run.ingest(key)
    assert tiny.shards.get().rows_done == 96
    assert shard_run.ingest(key)
    publish(tiny)
    assert sent == [0, 32, 64, 96, 96, 128, 160, 192]
    assert rows_of(tiny) == undisturbed
