"""The meaning of ratings: words, numbers, mappings, columns, SQL."""

import io
import re
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from django.core.management import CommandError, call_command
from support.html_page import Page
from support.tiny_shards import (
    drop_tables,
    import_all,
    metadata,
    queue,
    tiny_dataset,
    write_shard,
)

from search.clickhouse import client, filters
from search.errors import InvalidQuery
from search.ingestion import shard_run, validation
from search.ingestion.columns import item_columns, unknown_ratings
from search.ingestion.sources.protocol import Batch
from search.models import Dataset
from search.query.ratings import (
    DEFAULT_RULES,
    NAMES,
    SAFE,
    UNRATED,
    UNSAFE,
    UNSURE,
    RatingRules,
    is_safe,
    is_unsafe,
    key,
)

ROOT = Path(__file__).parent.parent
SEED = 20261130
# Vocabularies in use, each from its safest value on.
VOCABULARIES = {
    "LAION": [("UNLIKELY", SAFE), ("UNSURE", UNSURE), ("NSFW", UNSAFE)],
    "booleans": [("False", SAFE), ("TRUE", UNSAFE)],
    "flags": [("0", SAFE), ("1", UNSAFE)],
    "danbooru": [
        *(("general", SAFE), ("g", SAFE), ("sensitive", UNSURE), ("s", UNSURE)),
        *(("questionable", UNSURE), ("q", UNSURE), ("explicit", UNSAFE), ("e", UNSAFE)),
    ],
    "taggers": [("rating:general", SAFE), ("rating: q", UNSURE), ("Rating:E", UNSAFE)],
    "civitai": [("None", SAFE), ("Soft", UNSURE), ("Mature", UNSAFE), ("X", UNSAFE)],
    "films": [("PG", SAFE), ("PG-13", UNSURE), ("R", UNSAFE), ("NC-17", UNSAFE)],
    "Japanese": [("R-15", UNSURE), ("R18", UNSAFE), ("R-18G", UNSAFE)],
    "ages": [("18+", UNSAFE), ("over 18", UNSAFE)],
    "plain": [("safe", SAFE), ("SFW", SAFE), ("adult", UNSAFE), ("porn", UNSAFE)],
    "SafeSearch": [
        *(("VERY_UNLIKELY", SAFE), ("POSSIBLE", UNSURE), ("LIKELY", UNSAFE)),
        ("VERY_LIKELY", UNSAFE),
    ],
    "none": [("", UNRATED), (" ", UNRATED), ("ERROR", UNRATED), ("n/a", UNRATED)],
}
UNKNOWN = ["foo", "2", "-0.5", "1.01", "1e9", "not explicit", "5 stars", "無修正", "n"]


def spelled(value: str, random: Random) -> str:
    """The value in another case, in white space and with other punctuation."""
    value = random.choice([str.lower, str.upper, str.title, str])(value)
    value = re.sub("[-_ ]", lambda _: random.choice(["-", "_", " ", "", " - "]), value)
    return random.choice(["{}", " {}", "{}\t", "\u3000{}\n", "({})"]).format(value)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_vocabularies_in_use_are_known(name):
    random = Random(SEED)
    for value, rating in VOCABULARIES[name]:
        assert DEFAULT_RULES.rate(value) == rating, value
        if value not in ("0", "1"):
            others = [spelled(value, random) for _ in range(20)]
            assert {DEFAULT_RULES.rate(other) for other in others} == {rating}, others


def test_numbers_are_probabilities():
    random = Random(SEED)
    for low, high, rating in ((0, 0.1, SAFE), (0.1, 0.5, UNSURE), (0.5, 1, UNSAFE)):
        drawn = [low, *(random.uniform(low, high - 1e-9) for _ in range(50))]
        for number in drawn:
            for text in (str(number), f" {number:.12f} ", f"{number:e}"):
                assert DEFAULT_RULES.rate(text) == rating, text
    assert DEFAULT_RULES.rate("1.0") == DEFAULT_RULES.rate(".99") == UNSAFE


@pytest.mark.parametrize("value", UNKNOWN)
def test_other_values_are_not_known_and_never_safe(value):
    assert DEFAULT_RULES.rate(value) is None
    assert not is_safe(value) and not is_unsafe(value)


def test_the_documentation_lists_the_words():
    page = (ROOT / "docs" / "ingestion.md").read_text(encoding="utf-8")
    section = page.partition("## Ratings")[2].partition("\n##")[0]
    rows = re.findall(r"^\| (`\w+`|empty) \| \w+ \| ([^|]+) \|", section, re.M)
    assert len(rows) == 4
    listed = {
        key(word): rating.strip("`").replace("empty", UNRATED)
        for rating, words in rows
        for word in words.replace("and no value", "").split(",")
    }
    for word, rating in listed.items():
        assert DEFAULT_RULES.rate(word) == rating, word
    known = {key(value) for pairs in VOCABULARIES.values() for value, _ in pairs}
    assert known <= {*listed, "0", "1"}


# --- A dataset's own mapping


def test_a_dataset_says_what_its_values_mean():
    told = {"All ages": "safe", "R-18": "safe", "2": "unsafe", "None": "unrated"}
    rules = RatingRules.from_json({"values": told})
    for value, rating in {
        "all-ages": SAFE,
        "r18": SAFE,
        "2.0": UNSAFE,
        "NONE": UNRATED,
        "3": None,
        "0.7": UNSAFE,
        "explicit": UNSAFE,
    }.items():
        assert rules.rate(value) == rating, value


def test_a_dataset_says_which_numbers_are_unsafe():
    rules = RatingRules.from_json({"threshold": 3, "values": {"9": "unrated"}})
    for value, rating in {
        "-1": SAFE,
        "2.99": SAFE,
        "3": UNSAFE,
        "1e9": UNSAFE,
        "9.0": UNRATED,
        "true": UNSAFE,
        "nan": UNRATED,
        "x3": None,
    }.items():
        assert rules.rate(value) == rating, value


@pytest.mark.parametrize(
    ("ratings", "sentence"),
    [
        ([], "Write the ratings as"),
        (None, "Write the ratings as"),
        ({"all ages": "safe"}, "Write the ratings as"),
        ({"values": ["safe"]}, "an object of up to 1,000 entries"),
        ({"values": {str(n): "safe" for n in range(1_001)}}, "up to 1,000 entries"),
        ({"values": {"a": "SAFE"}}, "“a” means safe, unsure, unsafe or unrated"),
        ({"values": {"a": None}}, "“a” means safe"),
        ({"values": {"a": ["safe"]}}, "“a” means safe"),
        ({"values": {"-": "safe"}}, "“-” is no rating"),
        ({"values": {"a\0": "safe"}}, "is no rating"),
        ({"values": {"a" * 101: "safe"}}, "up to 100 characters"),
        ({"values": {"R-18": "safe", "r18": "unsafe"}}, "has two meanings"),
        ({"values": {"1": "safe", "1.0": "unsafe"}}, "has two meanings"),
        ({"threshold": "0.3"}, "The threshold of the ratings is a number"),
        ({"threshold": True}, "The threshold"),
        ({"threshold": float("nan")}, "The threshold"),
        ({"threshold": float("inf")}, "The threshold"),
    ],
)
def test_a_mapping_that_cannot_be_read_is_refused(tmp_path, ratings, sentence):
    with pytest.raises(InvalidQuery, match=re.escape(sentence)):
        RatingRules.from_json(ratings)
    assert sentence in validation.validation_errors(Dataset(ratings=ratings))["ratings"]


# --- Columns


def columns_of(values: pa.Array, name: str = "NSFW", **others) -> pa.Table:
    table = pa.table({name: values, "caption": [""] * len(values), **others})
    matrix = np.ones((len(values), 8), np.float32)
    return item_columns(
        Batch(0, len(values), np.arange(len(values)), matrix, matrix, table), 0
    )


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        (pa.array([True, False, None]), [UNSAFE, SAFE, UNRATED]),
        (pa.array([0, 1, 2, None]), [SAFE, UNSAFE, UNRATED, UNRATED]),
        (pa.array([0.05, 0.3, 0.99, None]), [SAFE, UNSURE, UNSAFE, UNRATED]),
        (pa.array([0.05, 0.99, np.nan], pa.float32()), [SAFE, UNSAFE, UNRATED]),
        (pa.array(["x", "", None, "Safe"]).dictionary_encode(), None),
        (pa.array(["x", "", None, "Safe"], pa.large_string()), None),
        (pa.array([["x"], ["x", "g"], None]), [UNSAFE, UNRATED, UNRATED]),
        (pa.nulls(3), [UNRATED] * 3),
        (pa.array([], pa.string()), []),
    ],
)
def test_columns_of_any_type_are_rated(values, stored):
    stored = [UNSAFE, UNRATED, UNRATED, SAFE] if stored is None else stored
    assert columns_of(values, "Nsfw")["nsfw"].to_pylist() == stored


def test_the_value_of_the_dataset_stays_in_the_metadata():
    values = ["UNLIKELY", " nsfw ", "", None, "foo", "ERROR", "0.02"]
    given = pa.array(values)
    told = [dict(row) for row in columns_of(given)["metadata"].to_pylist()]
    assert [row.get("original_nsfw") for row in told] == [
        *(None, " nsfw ", None, None, "foo", "ERROR", "0.02"),
    ]
    taken = columns_of(given, original_nsfw=["first"] * len(values))
    assert [dict(row) for row in taken["metadata"].to_pylist()] == [
        {"original_nsfw": "first"}
    ] * len(values)


def test_values_that_are_not_known_are_counted():
    random = Random(SEED)
    known = [value for pairs in VOCABULARIES.values() for value, _ in pairs]
    values = random.choices([*known, *UNKNOWN, None], k=2_000)
    table = pa.table({"caption": [""] * len(values), "nSFW": values})
    true = Counter(value for value in values if value in UNKNOWN)
    assert unknown_ratings(table, DEFAULT_RULES) == true
    rules = RatingRules.from_json({"values": {"FOO": "safe", "5 Stars": "unsafe"}})
    del true["foo"], true["5 stars"]
    assert unknown_ratings(table, rules) == true
    assert not unknown_ratings(table.drop_columns("nSFW"), DEFAULT_RULES)


@pytest.mark.django_db
def test_the_engine_reads_values_of_earlier_versions_alike():
    random = Random(SEED)
    values = [value for pairs in VOCABULARIES.values() for value, _ in pairs]
    values = [spelled(value, random) for value in values for _ in range(5)]
    values += [*UNKNOWN, *(str(random.random()) for _ in range(50)), "0.1", "0.5", "1"]
    given = "(SELECT arrayJoin({values:Array(String)}) AS nsfw, 0 AS deleted)"
    for setting, wanted in (("safe", is_unsafe), ("rated", lambda v: not is_safe(v))):
        shown = filters.Condition().only_shown(setting, ()).sql
        sql = f"SELECT nsfw, {shown} AS shown FROM {given}"
        for row in client.rows(sql, {"values": values}):
            assert row["shown"] != wanted(row["nsfw"]), row
        rows = pa.table({"nsfw": values, "deleted": [0] * len(values)})
        hidden = filters.why_hidden(rows, setting) == filters.NSFW
        assert hidden.tolist() == list(map(wanted, values))


# --- Import


def rated_metadata(values: list) -> dict[str, list]:
    return metadata(len(values)) | {"NSFW": values}


@pytest.mark.django_db
def test_an_import_counts_and_lists_ratings_that_are_not_known(tmp_path, monkeypatch):
    values = ["True", "odd\0", "a" * 500, "false"] * 10
    write_shard(tmp_path, 0, metadata=rated_metadata(values))
    write_shard(tmp_path, 1, metadata=rated_metadata(["UNLIKELY"] * 40))
    tiny = tiny_dataset(tmp_path)
    try:
        first, second = import_all(tiny)
        assert (first.rows_unknown_rating, second.rows_unknown_rating) == (20, 0)
        assert first.unknown_ratings == ["odd", "a" * 100]
        rows = client.rows("SELECT nsfw FROM item_tiny ORDER BY id LIMIT 4")
        assert [row["nsfw"] for row in rows] == [UNSAFE, UNRATED, UNRATED, SAFE]
        # A mapping reads the shard anew.
        tiny.ratings = {"values": {"odd": "unsure", "a" * 100: "safe"}}
        tiny.save()
        queue(tiny)
        shard_run.ingest(first.pk)
        first.refresh_from_db()
        assert (first.rows_unknown_rating, first.rows_kept) == (10, 40)
        assert first.unknown_ratings == ["a" * 100]
    finally:
        drop_tables(tiny)


def test_staff_is_told_of_ratings_that_are_not_known(admin_client, tmp_path):
    dataset = tiny_dataset(tmp_path)
    values = ["<b>odd</b>", *(f"value {n}" for n in range(19))]
    dataset.shards.create(number=0, rows_unknown_rating=1_200, unknown_ratings=values)
    dataset.shards.create(number=1, rows_unknown_rating=3, unknown_ratings=["odd", "x"])
    page = Page(admin_client.get("/ingestion/tiny/"))
    told = "1,203 rows have ratings that are not known: “<b>odd</b>”, “value 0”, "
    assert told in page.text and "Such ratings are treated as unrated" in page.text
    progress = admin_client.get("/api/datasets/tiny/progress/").json()
    assert progress["rows"]["unknown_rating"] == 1_203
    assert progress["unknown_ratings"] == values[:12]
    shards = admin_client.get("/api/datasets/tiny/shards/").json()["results"]
    assert [shard["rows_unknown_rating"] for shard in shards] == [1_200, 3]
    assert [shard["unknown_ratings"] for shard in shards] == [values, ["odd", "x"]]
    printed = io.StringIO()
    call_command("dataset", "show", "tiny", stdout=printed)
    assert "Ratings: 1,203 rows have one that is not known" in printed.getvalue()


@pytest.mark.django_db
def test_a_dataset_is_entered_with_its_ratings():
    given = ("--rating", "a=b=unsafe", "--rating-threshold", "0.5")
    call_command("dataset", "create", "rated", *given, stdout=io.StringIO())
    dataset = Dataset.objects.get(slug="rated")
    assert dataset.ratings == {"values": {"a=b": "unsafe"}, "threshold": 0.5}
    for wrong, sentence in (("a", "of the form R-15=unsure"), ("a=b", "means safe")):
        with pytest.raises(CommandError, match=sentence):
            call_command("dataset", "create", "other", "--rating", wrong)


def test_meanings_are_four():
    assert set(NAMES.values()) == {SAFE, UNSURE, UNSAFE, UNRATED}
