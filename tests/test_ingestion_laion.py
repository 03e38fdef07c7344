"""LAION shards: valid ones are imported exactly, broken ones not at all."""

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import searching
from support.tiny_shards import (
    DIMENSION,
    drop_tables,
    import_all,
    metadata,
    rows_of,
    tiny_dataset,
    vectors,
    write_shard,
)

from postcards.shards import MODEL as POSTCARDS_MODEL
from search.clickhouse import client, writer
from search.clickhouse.schema import SHARD_BITS
from search.errors import InvalidQuery, NotFound, SearchUnavailable, ShardUnreadable
from search.evaluation.recall import evaluate
from search.ingestion.sources import laion, tables
from search.ingestion.sources.cells import MAX_CELL_BYTES, NOT_UTF8, SEVERAL
from search.ingestion.sources.laion import NO_ADDRESSES, LaionFolder, read_vectors
from search.ingestion.sources.vectors import NO_TEXTS
from search.models import SYSTEM, Dataset, Shard
from search.query.filters import Filters
from search.query.model import SearchQuery, Term
from search.retrieval import service
from search.retrieval.scan import contents

pytestmark = pytest.mark.django_db
State = Shard.State
EVERYTHING = Filters(nsfw="any", dedupe=False)


@pytest.fixture
def tiny(tmp_path):
    """A dataset of eight dimensions whose shards the test writes into `source`."""
    dataset = tiny_dataset(tmp_path)
    yield dataset
    drop_tables(dataset)


def test_rows_arrive_as_they_are(tiny, tmp_path):
    write_shard(tmp_path, 0)
    write_shard(tmp_path, 3)
    shards = import_all(tiny)
    assert [(shard.number, shard.state) for shard in shards] == [
        (0, State.INGESTED),
        (3, State.INGESTED),
    ]
    rows = rows_of(tiny)
    given = metadata(40)
    assert [row["id"] for row in rows] == [
        *range(40),
        *(3 << SHARD_BITS | i for i in range(40)),
    ]
    for i, row in enumerate(rows[:40]):
        assert row["caption"] == given["caption"][i]
        assert row["url"] == given["url"][i]
        assert row["nsfw"] == (given["NSFW"][i] or "")
        assert row["license"] == "?"
        assert row["caption_similarity"] == pytest.approx(given["similarity"][i])
        assert (row["width"], row["height"]) == (i, 0)
        wanted = {"key": str(i)} | ({} if i % 2 else {"exif": '{"a": 1}'})
        assert row["metadata"] == wanted
    stored = np.array([row["image_embedding"] for row in rows[:40]])
    assert np.allclose(stored, vectors(40, 1).astype(float), atol=2**-8)
    assert tiny.item_count() == 80


def test_columns_that_are_missing_are_empty(tiny, tmp_path):
    write_shard(tmp_path, 0, metadata={"URL": ["u"] * 40, "Caption": ["c"] * 40})
    import_all(tiny)
    item = service.item("tiny", 0, SYSTEM)
    assert (item.url, item.caption, item.nsfw, item.width) == ("u", "c", "", 0)
    assert item.caption_similarity is None
    assert item.metadata == {}


def test_columns_are_known_by_laions_names_in_any_case_and_by_the_setting(
    tiny, tmp_path
):
    given = {
        "URL": ["https://example.org/a.jpg"] * 40,
        "TEXT": ["a caption"] * 40,
        "WIDTH": [640] * 40,
        "Rating": ["NSFW"] * 40,
    }
    write_shard(tmp_path, 0, metadata=given)
    tiny.columns = {"nsfw": "rating"}
    tiny.save()
    (shard,) = import_all(tiny)
    assert (shard.error, shard.notes) == ("", {})
    row = rows_of(tiny)[7]
    assert (row["url"], row["caption"]) == ("https://example.org/a.jpg", "a caption")
    assert (row["width"], row["nsfw"], row["metadata"]) == (640, "NSFW", {})
    tiny.columns = {"url": "link"}
    tiny.save()
    (shard,) = import_all(tiny)
    assert "There is no column named “link”; there are URL, TEXT" in shard.error


def test_columns_alike_but_for_case_are_both_kept(tiny, tmp_path):
    names = ("url", "caption", "Caption", "author", "Author", "TEXT")
    write_shard(tmp_path, 0, metadata={name: [f"of {name}"] * 40 for name in names})
    import_all(tiny)
    row = rows_of(tiny)[0]
    assert row["caption"] == "of caption"
    assert row["metadata"] == {
        "original_Caption": "of Caption",
        "author": "of author",
        "Author": "of Author",
        "TEXT": "of TEXT",
    }


def test_bytes_that_are_not_utf8_are_replaced_and_told(tiny, tmp_path, client):
    raw = pa.array([b"C\xd4TE D'IVOIRE", *[b"fine"] * 39], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 40, raw.buffers())
    columns = {"url": ["u"] * 40, "caption": broken, "author": broken}
    write_shard(tmp_path, 0, metadata=columns)
    (shard,) = import_all(tiny)
    assert shard.notes == {NOT_UTF8: 1}
    item = client.get("/api/datasets/tiny/items/0/", headers={"host": "localhost"})
    assert item.json()["caption"] == "C\ufffdTE D'IVOIRE"
    assert item.json()["metadata"] == {"author": "C\ufffdTE D'IVOIRE"}


def test_invalid_bytes_that_an_earlier_version_stored_are_replaced(tiny, tmp_path):
    write_shard(tmp_path, 0)
    import_all(tiny)
    name, broken = tiny.item_table.name, "unhex('43D4')"
    client.command(
        f"ALTER TABLE {name} UPDATE caption = {broken}, license = {broken}, "
        f"metadata = map('who', {broken}) WHERE id = 0",
        mutations_sync=1,
    )
    item = service.item("tiny", 0, SYSTEM)
    assert (item.caption, item.license) == ("C\ufffd", "C\ufffd")
    assert item.metadata == {"who": "C\ufffd"}


def test_images_in_columns_leave_their_size(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "STEP_ROWS", 7)
    image = [{"bytes": b"\xff" * (3000 + i), "path": f"{i}.jpg"} for i in range(40)]
    write_shard(tmp_path, 0, metadata=metadata(40) | {"image": image})
    (shard,) = import_all(tiny)
    assert (shard.rows_kept, shard.rows_rejected) == (40, 0)
    expected = [
        json.dumps({"bytes": f"{3000 + i:,} bytes", "path": f"{i}.jpg"})
        for i in range(40)
    ]
    assert [row["metadata"]["image"] for row in rows_of(tiny)] == expected


def test_a_cell_that_is_too_long_costs_its_row(tiny, tmp_path):
    captions = [["short", None]] * 39 + [["", "x" * (MAX_CELL_BYTES + 1)]]
    write_shard(tmp_path, 0, metadata=metadata(40) | {"caption": captions})
    (shard,) = import_all(tiny)
    assert (shard.state, shard.rows_kept, shard.rows_rejected) == (
        State.INGESTED,
        39,
        1,
    )
    reject = shard.rejects.get(row=39)
    assert reject.reason == "Its column caption has more than 1,048,576 bytes."
    assert reject.url == "http://example.org/39.jpg"
    assert {row["caption"] for row in rows_of(tiny)} == {"short"}


def test_without_embeddings_of_captions_only_images_are_searched(
    tiny, tmp_path, client
):
    write_shard(tmp_path, 0, metadata={"image_path": [f"{i}.jpg" for i in range(40)]})
    (tmp_path / "text_emb_0.npy").unlink()
    (shard,) = import_all(tiny)
    assert (shard.error, shard.rows_visible) == ("", 40)
    assert shard.notes == {NO_ADDRESSES: 40, NO_TEXTS: 40}
    assert rows_of(tiny)[3]["metadata"] == {"image_path": "3.jpg"}
    term = Term(embedding=tuple(map(float, vectors(40, 1)[9])))
    found = searching.find(SearchQuery("tiny", (term,), filters=EVERYTHING))
    assert found.hits[0].id == 9
    for field in ("text", "both"):
        with pytest.raises(InvalidQuery, match="captions of this dataset have no emb"):
            searching.find(SearchQuery("tiny", (term,), field=field))
    shown = client.get("/api/datasets/tiny/", headers={"host": "localhost"}).json()
    assert shown["fields"] == ["image"]
    page = client.get("/?dataset=tiny", headers={"host": "localhost"}).content.decode()
    assert "captions of this dataset have no embeddings" in page
    assert 'name="field" value="text"' not in page
    evaluation = evaluate("tiny", 5, 1)
    assert {figures["field"] for figures in evaluation.figures} == {"image"}
    exported = contents(tiny, [0, 1], with_embeddings=True)
    assert exported["text_embedding"].null_count == 2


def test_shards_in_folders_as_published_are_found(tiny, tmp_path):
    write_shard(tmp_path, 12)
    for kind in ("img_emb", "text_emb", "metadata"):
        (tmp_path / kind).mkdir()
        (path,) = tmp_path.glob(f"{kind}_12.*")
        path.rename(tmp_path / kind / path.name)
    (shard,) = import_all(tiny)
    assert (shard.number, shard.state, shard.rows) == (12, State.INGESTED, 40)


def test_bad_rows_are_left_out_and_named(tiny, tmp_path):
    image, text = vectors(400, 1), vectors(400, 2)
    image[5] = 0
    text[17, 3] = np.nan
    image[300, 0] = np.inf
    write_shard(tmp_path, 0, rows=400, image=image, text=text)
    (shard,) = import_all(tiny)
    assert shard.state == State.INGESTED
    assert (shard.rows, shard.rows_done, shard.rows_visible) == (400, 400, 397)
    assert list(shard.rejects.values_list("row", flat=True)) == [5, 17, 300]
    assert all("not finite" in reject.reason for reject in shard.rejects.all())
    assert not {5, 17, 300} & {row["id"] for row in rows_of(tiny)}


def test_of_several_captions_all_are_in_the_metadata(tiny, tmp_path):
    captions = [["", "one", "two"], ["three"], [], None]
    kept = {"caption": captions, "Original_caption": list("abcd")}
    columns = {name: column[:4] for name, column in metadata(40).items()} | kept
    write_shard(tmp_path, 0, rows=4, metadata=columns)
    (shard,) = import_all(tiny)
    assert (shard.error, shard.notes) == ("", {SEVERAL.format("caption"): 1})
    rows = rows_of(tiny)
    assert [row["caption"] for row in rows] == ["one", "three", "", ""]
    assert [row["metadata"].get("original_caption") for row in rows] == [
        '["", "one", "two"]',
        *[None] * 3,
    ]
    assert [row["metadata"]["Original_caption"] for row in rows] == list("abcd")


def test_vectors_too_long_for_float16_squares_are_good_rows(tiny, tmp_path):
    write_shard(tmp_path, 0, image=(vectors(40, 1) * np.float16(600)))
    (shard,) = import_all(tiny)
    assert (shard.state, shard.rows) == (State.INGESTED, 40)


def broken_header(path: Path) -> None:
    """A header that claims a thousand times as many rows."""
    data = path.read_bytes().replace(b"(40, 8)", b"(40000, 8)").replace(b"   \n", b"\n")
    path.write_bytes(data)


BREAKAGES = {
    "fewer captions": (
        lambda folder: pq.write_table(
            pa.table(metadata(39)), folder / "metadata_0.parquet"
        ),
        "40 of image embeddings, 40 of text embeddings, 39 of metadata",
    ),
    "fewer texts": (
        lambda folder: np.save(folder / "text_emb_0.npy", vectors(38, 1)),
        "38 of text embeddings",
    ),
    "other dimension": (
        lambda folder: np.save(folder / "img_emb_0.npy", vectors(40, 1, 16)),
        "8 numbers",
    ),
    "other byte order": (
        lambda folder: np.save(folder / "img_emb_0.npy", vectors(40, 1).astype(">f2")),
        "float16 or float32 is needed",
    ),
    "integers": (
        lambda folder: np.save(folder / "img_emb_0.npy", np.ones((40, 8), int)),
        "float16 or float32 is needed",
    ),
    "columns first": (
        lambda folder: np.save(
            folder / "img_emb_0.npy", np.asfortranarray(vectors(40, 1))
        ),
        "column by column",
    ),
    "one dimension": (
        lambda folder: np.save(folder / "img_emb_0.npy", vectors(40, 1).ravel()),
        "shape",
    ),
    "pickled": (
        lambda folder: np.save(
            folder / "img_emb_0.npy", np.array([{}], object), allow_pickle=True
        ),
        "damaged",
    ),
    "a web page": (
        lambda folder: (folder / "img_emb_0.npy").write_text("<html>404</html>"),
        "not a .npy file",
    ),
    "empty": (
        lambda folder: (folder / "img_emb_0.npy").write_bytes(b""),
        "not a .npy file",
    ),
    "cut": (
        lambda folder: (folder / "img_emb_0.npy").write_bytes(
            (folder / "img_emb_0.npy").read_bytes()[:-9]
        ),
        "damaged",
    ),
    "trailing bytes": (
        lambda folder: (folder / "img_emb_0.npy").write_bytes(
            (folder / "img_emb_0.npy").read_bytes() + b"junk"
        ),
        "longer than its header",
    ),
    "lying header": (
        lambda folder: broken_header(folder / "img_emb_0.npy"),
        "damaged",
    ),
    "no text file": (
        lambda folder: (folder / "text_emb_0.npy").unlink(),
        "text_emb_0.npy is missing",
    ),
    "cut parquet": (
        lambda folder: (folder / "metadata_0.parquet").write_bytes(
            (folder / "metadata_0.parquet").read_bytes()[:-9]
        ),
        "damaged",
    ),
    "no caption": (
        lambda folder: pq.write_table(
            pa.table({"url": ["u"] * 40}), folder / "metadata_0.parquet"
        ),
        "no column named caption",
    ),
    "too many bad rows": (
        lambda folder: np.save(folder / "img_emb_0.npy", np.zeros((40, 8), "f2")),
        "40 of 40 rows",
    ),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_shard_fails_with_its_reason_and_leaves_no_row(tiny, tmp_path, name):
    write_shard(tmp_path, 0)
    write_shard(tmp_path, 1)
    breakage, reason = BREAKAGES[name]
    breakage(tmp_path)
    broken, whole = import_all(tiny)
    assert broken.state == State.FAILED
    assert reason in broken.error
    assert whole.state == State.INGESTED
    assert [row["id"] >> SHARD_BITS for row in rows_of(tiny)] == [1] * 40
    assert writer.side_tables(tiny.item_table) == []


def test_a_shard_found_broken_half_way_leaves_no_row(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(laion, "BATCH_ROWS", 16)
    write_shard(tmp_path, 0)
    path = tmp_path / "metadata_0.parquet"
    at = pq.read_metadata(path).row_group(2).column(1).data_page_offset
    content = path.read_bytes()
    path.write_bytes(content[:at] + b"\xff" * 16 + content[at + 16 :])
    (shard,) = import_all(tiny)
    assert shard.state == State.FAILED
    assert shard.error == "The metadata is damaged: it cannot be read."
    assert shard.rows_done == 0
    assert writer.side_tables(tiny.item_table) == []


def test_the_probabilities_of_laion_5b_are_ratings(tiny, tmp_path):
    facts = metadata(4) | {"punsafe": [0.01, 0.2, 0.9, float("nan")]}
    write_shard(tmp_path, 0, rows=4, metadata=facts)
    import_all(tiny)
    assert [row["nsfw"] for row in rows_of(tiny)] == ["UNLIKELY", "", "NSFW", "UNSURE"]
    del facts["NSFW"]
    write_shard(tmp_path, 1, rows=4, metadata=facts)
    import_all(tiny)
    ratings = [row["nsfw"] for row in rows_of(tiny)][4:]
    assert ratings == ["UNLIKELY", "UNSURE", "NSFW", ""]


def test_what_is_no_number_is_unknown(tiny, tmp_path):
    facts = metadata(4) | {
        "width": ["512", " 640.0 ", "wide", "-1"],
        "height": [datetime(2026, 1, 1)] * 4,
        "similarity": ["0.25", "1e-1", "?", None],
    }
    write_shard(tmp_path, 0, rows=4, metadata=facts)
    (shard,) = import_all(tiny)
    assert (shard.state, shard.rows_rejected) == (State.INGESTED, 0)
    rows = rows_of(tiny)
    assert [row["width"] for row in rows] == [512, 640, 0, 0]
    assert [row["height"] for row in rows] == [0] * 4
    similarities = [row["caption_similarity"] for row in rows]
    assert similarities[:2] == pytest.approx([0.25, 0.1])
    assert np.isnan(similarities[2:]).all()


def test_numbers_with_leading_zeros_are_numbers(tiny, tmp_path):
    write_shard(tmp_path, 7)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("_7.", "_0007.")))
    (shard,) = import_all(tiny)
    assert (shard.number, shard.state) == (7, State.INGESTED)


def test_a_number_whose_ids_javascript_would_round_is_refused(tiny, tmp_path):
    write_shard(tmp_path, 2**21 - 1)
    assert LaionFolder(str(tmp_path)).shards() == [2**21 - 1]
    write_shard(tmp_path, 2**21)
    with pytest.raises(ShardUnreadable, match="too high"):
        LaionFolder(str(tmp_path)).shards()


def test_strange_sizes_and_scores_do_no_harm(tiny, tmp_path, client):
    odd = {
        "width": ["512.0", "-1", "inf", "nan", "1e12"] * 8,
        "similarity": [float("inf"), float("nan"), -2.0, 0.5, None] * 8,
        "blob": [b"\xff\x00"] * 40,
    }
    write_shard(tmp_path, 0, metadata=metadata(40) | odd)
    (shard,) = import_all(tiny)
    assert shard.state == State.INGESTED
    assert [row["width"] for row in rows_of(tiny)[:5]] == [512, 0, 0, 0, 0]
    address = "/api/datasets/tiny/items/{}/"
    for item_id, similarity in ((0, None), (1, None), (2, -2.0), (3, 0.5), (4, None)):
        item = client.get(address.format(item_id), headers={"host": "localhost"})
        assert item.json()["caption_similarity"] == similarity


@pytest.fixture(scope="module")
def good_npy(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("npy") / "good.npy"
    np.save(path, vectors(20, 1))
    return path.read_bytes()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_changed_bytes_never_end_in_another_error(good_npy, tmp_path_factory, data):
    changed = bytearray(good_npy)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 127) | st.integers(0, len(changed) - 1))
        changed[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed.npy"
    path.write_bytes(bytes(changed[: data.draw(st.integers(0, len(changed)))]))
    with suppress(ShardUnreadable):
        assert read_vectors(path, DIMENSION).shape[1] == DIMENSION


def test_a_missing_folder_is_said_to_be(tiny, tmp_path):
    with pytest.raises(ShardUnreadable, match="no folder"):
        LaionFolder(str(tmp_path / "nowhere")).shards()


@pytest.fixture
def euclid(tmp_path):
    dataset = tiny_dataset(tmp_path, slug="euclid", metric=Dataset.Metric.L2)
    yield dataset
    drop_tables(dataset)


def test_an_l2_dataset_ranks_by_l2_distance(euclid, tmp_path):
    image = vectors(400, 1)
    write_shard(tmp_path, 0, rows=400, image=image)
    import_all(euclid)
    for mode in ("exact", "ann"):
        query = SearchQuery(
            "euclid", (Term(item=9),), mode=mode, limit=5, filters=EVERYTHING
        )
        hits = searching.find(query).hits
        distances = np.linalg.norm(image.astype(float) - image[9].astype(float), axis=1)
        order = np.argsort(distances)[1:6]
        assert [hit.id for hit in hits] == order.tolist()
        wanted = 1 / (1 + distances[order[0]])
        assert hits[0].similarity == pytest.approx(wanted, abs=0.01)


def test_a_dataset_without_items_is_not_found(tiny):
    with pytest.raises(NotFound, match="no items yet"):
        searching.find(SearchQuery("tiny", (Term(embedding=(1.0,) * 8),)))


def test_a_model_of_another_dimension_is_said_to_be(tiny, tmp_path):
    write_shard(tmp_path, 0)
    import_all(tiny)
    Dataset.objects.filter(slug="tiny").update(model=POSTCARDS_MODEL, weights="")
    with pytest.raises(SearchUnavailable, match="512 numbers"):
        searching.find(SearchQuery("tiny", (Term(text="a boat"),)))
