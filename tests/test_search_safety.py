"""Safe mode and the data it relies on; without any, images are veiled."""

from dataclasses import replace

import pyarrow as pa
import pytest
from django.core.cache import cache
from support.crowd import drawn, stored

from search.clickhouse import client, queries, schema
from search.errors import SearchUnavailable
from search.models import Dataset
from search.retrieval.column_stats import has_safety

pytestmark = pytest.mark.django_db


@pytest.fixture
def unmarked():
    cache.clear()
    crowd = drawn(200, shards={0: 1.0})
    facts = crowd.facts.drop_columns(["nsfw"])
    facts = facts.append_column("nsfw", pa.array([""] * 200))
    dataset = stored(replace(crowd, facts=facts), "unmarked", build=False)
    yield dataset
    schema.drop(dataset.item_table)


def test_a_dataset_says_of_its_items_how_safe_they_are(postcards_dataset):
    assert has_safety(postcards_dataset)


def test_a_dataset_without_a_word_on_safety_has_none(unmarked):
    assert not has_safety(unmarked)
    sql = "ALTER TABLE item_unmarked UPDATE nsfw = 'UNLIKELY' WHERE id = 7"
    client.command(sql, mutations_sync=1)
    assert not has_safety(unmarked)  # as it was a moment ago
    cache.clear()
    assert has_safety(unmarked)


def test_what_is_not_known_is_not_safe_and_is_asked_anew(unmarked, monkeypatch):
    def away(*_):
        raise SearchUnavailable("The engine is away.")

    with monkeypatch.context() as patched:
        patched.setattr(queries, "has_safety", away)
        assert not has_safety(unmarked)
    sql = "ALTER TABLE item_unmarked UPDATE nsfw = 'UNLIKELY' WHERE id = 7"
    client.command(sql, mutations_sync=1)
    assert has_safety(unmarked)


def test_a_dataset_without_items_has_no_word_on_safety():
    assert not has_safety(Dataset.objects.create(slug="empty", title="Empty"))
