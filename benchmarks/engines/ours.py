"""laionweb itself, measured from the inside out: ClickHouse, service.search, HTTP.

The rows come in by the product's own import. Both embeddings of a row are the image's,
and only the images' graph is built: that of the texts would take as long once more and
is not asked. Filters are the product's, with nsfw "any" and dedupe off, as the other
systems have neither; the rows named "as the page asks" have both, and 40 results.
"""

import os
import shutil
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq

from search.clickhouse import client, lookup, queries, schema, writer
from search.clickhouse.schema import INDEXES, VECTOR_COLUMNS, ItemTable
from search.ingestion import control, publishing, shard_run
from search.models import Dataset, Shard
from search.query.filters import Filters
from search.query.model import DEFAULT_LIMIT, SearchQuery, Term
from search.retrieval import service

from .data import COUNT, FILTERS, Rows, condition
from .in_memory import SEARCH_WIDTH
from .system import System

LOADING_TIMEOUT_S = 600


def dataset(rows: Rows, folder: Path) -> Dataset:
    """Return the rows as a dataset, ingested and indexed if they were not yet."""
    slug, built = slug_of(rows), folder / f"built-{rows.count}"
    if not built.exists():
        Dataset.objects.filter(slug=slug).delete()
        source = write_shard(rows, folder / f"shards-{rows.count}")
        made = Dataset.objects.create(slug=slug, title=slug, source=str(source))
        schema.drop(made.item_table)
        bring_in(made)
        shutil.rmtree(source)
        built.touch()
    return Dataset.objects.get(slug=slug)


def slug_of(rows: Rows) -> str:
    return f"rows_{rows.count}"


def write_shard(rows: Rows, folder: Path) -> Path:
    """Write a shard in LAION's format; the text embeddings are the images' again."""
    folder.mkdir(exist_ok=True)
    np.save(folder / "img_emb_0.npy", rows.vectors)
    (folder / "text_emb_0.npy").unlink(missing_ok=True)
    os.link(folder / "img_emb_0.npy", folder / "text_emb_0.npy")
    named = {"nsfw": "NSFW", "license": "LICENSE", "caption_similarity": "similarity"}
    facts = rows.facts.drop(["id"])
    facts = facts.rename_columns([named.get(n, n) for n in facts.column_names])
    pq.write_table(facts, folder / "metadata_0.parquet")
    return folder


def bring_in(made: Dataset) -> None:
    started = time.perf_counter()
    control.discover_shards(made)
    made.shards.update(state=Shard.State.QUEUED)
    shard_run.ingest(made.shards.get().pk)
    brought = time.perf_counter()
    with patch.object(writer, "INDEXES", {"image": INDEXES["image"]}):
        publishing.publish(made, 0)
    built = time.perf_counter()
    print(
        f"laionweb: brought in in {brought - started:,.0f} s, "
        f"graph built in {built - brought:,.0f} s"
    )


class BareQuery(System):
    """One statement, with the peers' ef; a filter is a WHERE and no more."""

    name = "bare ClickHouse query"

    def __init__(self, table: ItemTable):
        self.statements = {where: statement(table, where) for where in FILTERS}
        self.settings = {
            **queries.INDEX_SETTINGS,
            "hnsw_candidate_list_size_for_search": SEARCH_WIDTH,
        }

    def search(self, vector: np.ndarray, where: str) -> list[int]:
        parameters = {"vector": queries.to_hex(vector), "count": COUNT}
        found = client.nearest_arrow(
            self.statements[where], parameters, **self.settings
        )
        return found["id"].to_pylist()

    def load(self, vector: np.ndarray) -> None:
        """Load the graph, which from a cold disk may take longer than a search may."""
        parameters = {"vector": queries.to_hex(vector), "count": COUNT}
        settings = {**self.settings, "max_execution_time": LOADING_TIMEOUT_S}
        client.nearest_arrow(self.statements["none"], parameters, **settings)


def statement(table: ItemTable, where: str) -> str:
    conditions = f"WHERE {condition(where)}" if FILTERS[where] else ""
    return (
        f"SELECT {lookup.ITEM_COLUMNS}, {table.metric}({VECTOR_COLUMNS['image']}, "
        "reinterpret(unhex({vector:String}), 'Array(Float32)')) AS distance "
        f"FROM {table.name} {conditions} ORDER BY distance LIMIT {{count:UInt32}}"
    )


class Find(System):
    name = "service.search"

    def __init__(self, slug: str):
        self.slug = slug

    def search(self, vector: np.ndarray, where: str) -> list[int]:
        page = service.search(query(self.slug, vector, where), None, service.unlimited)
        return [hit.id for hit in page.hits]


class NextPage(System):
    """The page after the one that Find fetches, from its cursor."""

    name = "service.search, next page"
    filters = ("none",)
    answers = in_bursts = False

    def __init__(self, slug: str):
        self.slug = slug

    def prepare(self, vector: np.ndarray, where: str) -> None:
        self.cursor = service.search(
            query(self.slug, vector, where), None, service.unlimited
        ).next

    def search(self, vector: np.ndarray, where: str) -> list[int]:
        page = service.search(
            SearchQuery(self.slug, (), limit=COUNT, cursor=self.cursor),
            None,
            service.unlimited,
        )
        return [hit.id for hit in page.hits]


def query(slug: str, vector: np.ndarray, where: str) -> SearchQuery:
    filters = Filters(nsfw="any", dedupe=False, **FILTERS[where])
    terms = (Term(embedding=tuple(vector.tolist())),)
    return SearchQuery(slug, terms, filters=filters, limit=COUNT)


def body(slug: str, vector: np.ndarray, where: str) -> dict:
    """Return the same search as JSON for POST /api/search/."""
    return {
        "dataset": slug,
        "terms": [{"embedding": vector.tolist()}],
        "filters": {"nsfw": "any", "dedupe": False, **FILTERS[where]},
        "limit": COUNT,
    }


def default_body(slug: str, vector: np.ndarray) -> dict:
    """Return a request with the page's defaults: safe, deduplicated, 40 results."""
    terms = [{"embedding": vector.tolist()}]
    return {"dataset": slug, "terms": terms, "limit": DEFAULT_LIMIT}
