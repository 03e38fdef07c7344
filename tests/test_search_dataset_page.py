"""The page of a dataset: what it holds, how it is searched, how well."""

import re
from unittest.mock import patch

import pytest
from django.urls import reverse
from support.html_page import NO_ENGINE, Page
from support.tiny_shards import import_all, tiny_dataset, write_shard

from search.clickhouse import schema, writer
from search.models import Dataset, Evaluation, Shard

pytestmark = pytest.mark.django_db


def figures(**changed) -> dict:
    return {
        "name": "images by words",
        "asked": "words",
        "queries": 100,
        "width": 1000,
        "share": None,
        "recall_1": 0.99,
        "recall_10": 0.973,
        "recall_100": 0.962,
        "ann_p50_ms": 11.4,
        "ann_p95_ms": 13.9,
        "exact_p50_ms": 28.1,
        "exact_p95_ms": 33.5,
        "wider_width": 4000,
        "wider_recall_10": 0.94,
        "wider_p50_ms": 30.1,
        **changed,
    }


def evaluated(dataset: Dataset, *measured: dict) -> None:
    Evaluation.objects.create(
        dataset=dataset,
        words=Evaluation.Words.CAPTIONS,
        rows=2000,
        rows_without_index=0,
        figures=[
            *measured,
            {**measured[-1], "name": "neighbours", "asked": "picture", "queries": 30},
        ],
    )


def page_of(client, slug: str) -> Page:
    answer = client.get(f"/d/{slug}/")
    assert answer.status_code == 200
    return Page(answer)


def test_the_page_tells_what_the_dataset_is(client, postcards_dataset):
    page = page_of(client, "postcards")
    for told in (
        "Postcards",
        "Images2,000",
        "2 ingested",
        "local-dir:postcards/model",
        "512 dimensions, compared by cosine distance",
        "one cluster, all of which is read, vectors as bf16",
        "All rows are indexed.",
    ):
        assert told in page.text
    assert re.search(r"On disk\d+\.\d\xa0?\s?MB", page.text)
    assert "/?dataset=postcards" in page.all("a", "href")
    assert "/api/docs/" in page.all("a", "href")
    assert "/api/search?dataset=postcards&q=…" in page.text
    assert "manage.py evaluate postcards" in page.text
    assert page.all("a", "href", **{"class": "skip"}) == ["#main"]
    assert "Skip to the images" not in page.text


def test_the_last_evaluation_is_shown_with_its_figures(client, postcards_dataset):
    evaluated(postcards_dataset, figures(name="an old search"))
    evaluated(postcards_dataset, figures(share=0.05))
    page = page_of(client, "postcards")
    assert "an old search" not in page.text
    assert "images by words 5.00% 0.990 0.973 0.962 11 – 14 28 – 34" in page.text
    assert "with 30 images and 100 captions of the dataset" in page.text
    assert "What to do" not in page.text
    assert not page.all("td", "class")


def test_advice_appears_when_recall_is_low(client, postcards_dataset):
    Dataset.objects.filter(pk=postcards_dataset.pk).update(index="graph")
    evaluated(postcards_dataset, figures(recall_10=0.93), figures())
    page = page_of(client, "postcards")
    assert page.all("td", "class") == ["low"]
    assert "What to do" in page.text
    assert "recall@10 is 0.930, below 0.95" in page.text
    assert "64 connections in place of 32" in page.text


def test_rows_without_an_index_are_counted(client, tmp_path):
    for number in (0, 4):  # of two partitions
        facts = {"url": ["http://e.org/1.jpg"] * 40, "caption": ["a house"] * 40}
        write_shard(tmp_path, number, rows=40, metadata=facts)
    dataset = tiny_dataset(tmp_path, slug="half", title="Half", index="graph")
    build = writer.build_indexes
    first = lambda table, partition: partition or build(table, partition)  # noqa: E731
    try:
        with patch.object(writer, "build_indexes", first):
            import_all(dataset)
        page = page_of(client, "half")
        assert "40 of 80 rows are searched row by row" in page.text
    finally:
        schema.drop(dataset.item_table)


def test_a_dataset_without_items_has_a_page(client):
    dataset = Dataset.objects.create(
        slug="new", title="New", index="graph", index_quantization="i8"
    )
    Shard.objects.create(dataset=dataset, number=0, state=Shard.State.FAILED)
    Shard.objects.create(dataset=dataset, number=1)
    page = page_of(client, "new")
    assert "Images0" in page.text
    assert "1 pending, 1 failed" in page.text
    assert "There is nothing to search yet." in page.text
    assert "32 connections (M)" in page.text
    assert "64 candidates at construction (ef_construction)" in page.text
    assert "vectors as i8, with rescoring" in page.text


def test_without_its_engine_the_page_says_what_it_can(
    client, postcards_dataset, settings
):
    settings.CLICKHOUSE_URL = NO_ENGINE
    evaluated(postcards_dataset, figures())
    page = page_of(client, "postcards")
    assert "The search engine does not answer at the moment." in page.text
    assert "Images2,000" in page.text
    assert "0.973" in page.text


def test_an_unknown_dataset_has_a_page_that_says_so(client, postcards_dataset):
    answer = client.get("/d/laion/")
    assert answer.status_code == 404
    assert "There is no dataset named “laion”." in Page(answer).text


def test_nothing_is_changed_here(client, postcards_dataset):
    assert client.post("/d/postcards/").status_code == 405
    assert client.head("/d/postcards/").status_code == 200


def test_titles_are_shown_as_they_are_and_folders_are_not(client):
    Dataset.objects.create(
        slug="odd",
        title="<script>alert(1)</script>",
        source="/srv/secret/shards",
        weights="/srv/secret/weights/fine.pt",
    )
    page = page_of(client, "odd")
    assert not page.scripts
    assert "<script>alert(1)</script>" in page.text
    assert "weights fine.pt" in page.text
    assert "/srv/secret" not in page.text


def test_staff_goes_from_the_admin_to_the_page_and_back(
    client, admin_client, postcards_dataset
):
    change = reverse("admin:search_dataset_change", args=[postcards_dataset.pk])
    on_site = Page(admin_client.get(change)).all(
        "a", "href", **{"class": "viewsitelink"}
    )
    assert (
        admin_client.get(on_site[0], follow=True)
        .redirect_chain[-1][0]
        .endswith("/d/postcards/")
    )
    assert change in page_of(admin_client, "postcards").all("a", "href")
    assert change not in page_of(client, "postcards").all("a", "href")


def test_an_item_links_to_its_dataset(client, postcards_dataset):
    page = Page(client.get("/d/postcards/5"))
    assert "/d/postcards/" in page.all("a", "href")
