"""Loading conversions: counts by item and keyword."""

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command
from support.tiny_shards import drop_tables, import_all, tiny_dataset, vectors

from search.clickhouse.schema import SHARD_BITS
from search.errors import InvalidQuery, NotFound, SearchUnavailable, ShardUnreadable
from search.ingestion import conversions
from search.ingestion.conversions import load
from search.models import Conversion, Dataset
from search.retrieval import popularity

pytestmark = pytest.mark.django_db
PHOTOS = ["a", "b", 'it\'s "c"', "d\\", "é{x:Int8}", "e"]
HEADER = (
    "converted_at\tconversion_type\tkeyword\tphoto_id\tanonymous_user_id\t"
    "conversion_country"
)


@pytest.fixture
def tiny(tmp_path):
    """Six photos; the second shard repeats the first two."""
    folder = tmp_path / "photos"
    folder.mkdir()
    write_photos(folder / "0.parquet", PHOTOS)
    write_photos(folder / "1.parquet", PHOTOS[:2])
    dataset = tiny_dataset(folder, kind=Dataset.Kind.PARQUET)
    yield dataset
    drop_tables(dataset)


def write_photos(path: Path, photos: list[str]) -> None:
    embeddings = [list(map(float, row)) for row in vectors(len(photos), 1)]
    table = {"photo_id": photos, "embedding": embeddings, "old_id": ["x"] * len(photos)}
    pq.write_table(pa.table(table), path)


def write(path: Path, *picks: tuple[str, str]) -> Path:
    """Write a file of conversions in Unsplash's format."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(HEADER.split("\t"))
        for photo, keyword in picks:
            writer.writerow(
                ["2020-07-20 19:51:22", "download", keyword, photo, "id", "DE"]
            )
    return path


PICKS = [
    ("a", "House"),
    ("a", "house "),
    ("a", "red  house"),
    ("b", "house"),
    (PHOTOS[2], "sea"),
    (PHOTOS[2], ""),
    (PHOTOS[3], "sea\0"),
    (PHOTOS[4], "x" * 500),
    ("unknown", "house"),
    ("", "house"),
]


def test_conversions_are_counted_by_item_and_by_word(tiny, tmp_path):
    import_all(tiny)
    assert not popularity.is_known(tiny)
    file = load(tiny, write(tmp_path / "conversions.tsv000", *PICKS))
    assert (file.rows, file.rows_matched) == (10, 8)
    again = 1 << SHARD_BITS
    counts = {0: 3, again: 3, 1: 1, again + 1: 1, 2: 2, 3: 1, 4: 1}
    assert popularity.is_known(tiny)
    assert popularity.counts(tiny, [*counts, 5, 99]) == counts
    assert popularity.counts(tiny, [2, 5]) == {2: 2}
    assert popularity.counts(tiny, []) == {}
    assert popularity.keywords(tiny, [0, 1, 2, 3]) == [
        ("house", 3),
        ("sea", 2),
        ("red house", 1),
    ]
    assert popularity.keywords(tiny, [0, 1, 2, 3], top=1) == [("house", 3)]
    assert popularity.keywords(tiny, [4]) == [("x" * 200, 1)]
    assert popularity.keywords(tiny, [5]) == []


def test_rows_of_too_few_cells_are_told(tiny, tmp_path):
    import_all(tiny)
    path = write(tmp_path / "conversions.tsv", *PICKS)
    path.write_text(path.read_text().replace("\tDE", "", 1))
    file = load(tiny, path)
    assert (file.rows, file.rows_matched, file.rows_rejected) == (9, 7, 1)


def test_the_same_content_counts_once_and_another_adds_to_it(tiny, tmp_path):
    import_all(tiny)
    path = write(tmp_path / "conversions.tsv000", *PICKS)
    load(tiny, path)
    load(tiny, path.rename(tmp_path / "another_name.tsv"))
    assert popularity.counts(tiny, [0, 1]) == {0: 3, 1: 1}
    load(tiny, write(tmp_path / "conversions.tsv001", ("b", "house"), ("e", "sea")))
    assert popularity.counts(tiny, [0, 1, 5]) == {0: 3, 1: 2, 5: 1}
    assert tiny.conversion_files.count() == 2


def test_loading_again_matches_what_has_come_in_since(tiny, tmp_path):
    path = write(tmp_path / "conversions.tsv", *PICKS, ("f", "sea"))
    with pytest.raises(NotFound):
        load(tiny, path)
    assert not tiny.conversion_files.exists()
    import_all(tiny)
    load(tiny, path)
    write_photos(Path(tiny.source) / "2.parquet", ["f"])
    import_all(tiny)
    assert load(tiny, path).rows_matched == 9
    late = 2 << SHARD_BITS
    assert popularity.counts(tiny, [0, late]) == {0: 3, late: 1}


def test_many_are_counted_a_part_at_a_time(tiny, tmp_path, monkeypatch):
    import_all(tiny)
    for name in ("READ_ROWS", "MAX_COUNTED", "LOOKUP_IDS"):
        monkeypatch.setattr(conversions, name, 2)
    monkeypatch.setattr(conversions, "WRITE_ROWS", 3)
    reported = []
    load(tiny, write(tmp_path / "conversions.tsv", *PICKS), progress=reported.append)
    assert sum(reported) == len(PICKS)
    assert popularity.counts(tiny, range(6)) == {0: 3, 1: 1, 2: 2, 3: 1, 4: 1}
    assert popularity.keywords(tiny, [0])[0] == ("house", 2)


def test_a_load_that_breaks_off_leaves_what_was(tiny, tmp_path, monkeypatch):
    import_all(tiny)
    path = write(tmp_path / "conversions.tsv", *PICKS)
    load(tiny, path)
    monkeypatch.setattr(conversions, "READ_ROWS", 2)
    monkeypatch.setattr(conversions, "MAX_COUNTED", 2)
    enter, entered = conversions._enter, []

    def breaking(*arguments):
        entered.append(arguments)
        if len(entered) == 3:
            raise SearchUnavailable("The engine is away.")
        return enter(*arguments)

    monkeypatch.setattr(conversions, "_enter", breaking)
    with pytest.raises(SearchUnavailable):
        load(tiny, path)
    assert popularity.counts(tiny, [0, 1]) == {0: 3, 1: 1}


def test_popularity_is_that_of_one_dataset(tiny, tmp_path):
    import_all(tiny)
    load(tiny, write(tmp_path / "conversions.tsv", *PICKS))
    other = tiny_dataset(tmp_path, slug="other")
    assert not popularity.is_known(other)
    assert popularity.counts(other, [0]) == {}
    other.delete()
    tiny.delete()
    assert not Conversion.objects.exists()


def test_the_ids_may_be_in_other_columns(tiny, tmp_path):
    import_all(tiny)
    path = tmp_path / "picks.csv"
    path.write_text("ID,Keyword\na,house\nx,sea\n")
    assert load(tiny, path).rows_matched == 0
    assert load(tiny, path, "photo_id").rows_matched == 1
    assert load(tiny, path, "old_id").rows_matched == 1
    assert popularity.keywords(tiny, range(6)) == [("sea", 6)]


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("a.csv", "photo_id,word\na,b\n", InvalidQuery),
        ("a.csv", "keyword,word\na,b\n", InvalidQuery),
        ("a.csv", "", ShardUnreadable),
        ("a.parquet", "photo_id", ShardUnreadable),
    ],
)
def test_what_is_no_file_of_conversions_is_refused(
    tiny, tmp_path, name, content, error
):
    (tmp_path / name).write_text(content)
    with pytest.raises(error):
        load(tiny, tmp_path / name)
    with pytest.raises(ShardUnreadable):
        load(tiny, tmp_path / "not_there.tsv")


def test_the_command_says_what_it_loaded(tiny, tmp_path, capsys):
    import_all(tiny)
    path = write(tmp_path / "conversions.tsv000", *PICKS)
    call_command("load_conversions", "tiny", str(path), id="photo_id")
    assert capsys.readouterr().out == (
        "conversions.tsv000: 10 conversions, 8 of items that are in the dataset.\n"
    )
    with pytest.raises(CommandError, match="There is no dataset"):
        call_command("load_conversions", "nowhere", str(path))
    with pytest.raises(CommandError, match="There is no file"):
        call_command("load_conversions", "tiny", str(tmp_path / "not_there.tsv"))
