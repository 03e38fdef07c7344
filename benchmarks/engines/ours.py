"""laionweb itself, measured from the inside out: ClickHouse, service.search, HTTP.

The rows come in by the product's own import, twice: into a dataset that is searched by
clusters, with captions that calibrate it, and into one that is searched by a graph, of
which only the images' is built. Filters are the product's, with nsfw "any" and dedupe
off, as the other systems have neither; the rows named "as the page asks" have both, and
40 results.
"""

import shutil
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
from vector_sources import VectorSource

from search.clickhouse import client, queries, schema, writer
from search.clickhouse.schema import CLUSTERS, GRAPH, INDEXES, ItemTable
from search.evaluation import calibration
from search.ingestion import control, publishing, shard_run
from search.models import SYSTEM, Dataset, Shard
from search.query.filters import Filters
from search.query.model import DEFAULT_LIMIT, SearchQuery, Term
from search.retrieval import service

from .data import CHUNK, COUNT, FILTERS, Rows, condition
from .system import LONG_LADDER, System

LOADING_TIMEOUT_S = 600


def systems(
    rows: Rows, folder: Path, source: VectorSource, vector: np.ndarray
) -> list[System]:
    """Return what is measured of laionweb besides HTTP; `vector` loads the graph."""
    clusters = dataset(rows, folder, source, CLUSTERS)
    graph = BareGraph(dataset(rows, folder, source, GRAPH).item_table)
    graph.load(vector)
    slug = clusters.slug
    bare = BareClusters(clusters.item_table, rows.count)
    return [bare, graph, Find(slug), FindExact(slug), NextPage(slug)]


def dataset(rows: Rows, folder: Path, source: VectorSource, index: str) -> Dataset:
    """Return the rows as a dataset, ingested and indexed if they were not yet."""
    slug, built = slug_of(rows, index), folder / f"built-{index}-{rows.count}"
    if not built.exists():
        Dataset.objects.filter(slug=slug).delete()
        shards = write_shard(rows, folder / f"shards-{rows.count}", source)
        made = Dataset.objects.create(
            slug=slug, title=slug, source=str(shards), index=index
        )
        schema.drop(made.item_table)
        bring_in(made)
        shutil.rmtree(shards)
        built.touch()
    return Dataset.objects.get(slug=slug)


def slug_of(rows: Rows, index: str = CLUSTERS) -> str:
    return f"{index}_{rows.count}"


def write_shard(rows: Rows, folder: Path, source: VectorSource) -> Path:
    """Write a shard in LAION's format."""
    folder.mkdir(exist_ok=True)
    np.save(folder / "img_emb_0.npy", rows.vectors)
    texts = np.lib.format.open_memmap(
        folder / "text_emb_0.npy", "w+", np.float16, rows.vectors.shape
    )
    for part, there in enumerate(rows.chunks()):
        texts[there] = source.texts(CHUNK, part)[: there.stop - there.start]
    texts.flush()
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
    if made.index == CLUSTERS:
        calibration.calibrate(made.pk)
    built = time.perf_counter()
    print(
        f"laionweb, {made.index}: brought in in {brought - started:,.0f} s, "
        f"published and calibrated in {built - brought:,.0f} s"
    )


class Bare(System):
    """One statement for the ten nearest; a filter is a WHERE and no more."""

    def __init__(self, table: ItemTable):
        self.table = table

    def statement(self, reading: queries.Reading, where: str) -> str:
        conditions = [reading.where] if reading.where else []
        conditions += [condition(where)] if FILTERS[where] else []
        filtered = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        return (
            f"SELECT id, nsfw, {queries.SHOWN_COLUMNS}, {reading.distance} AS distance "
            f"FROM {reading.source} {filtered} "
            f"ORDER BY {reading.order} LIMIT {{count:UInt32}}"
        )

    def ask(self, reading: queries.Reading, where: str, **settings: object) -> list:
        parameters = {**reading.parameters, "count": COUNT}
        settings = {**reading.settings, **settings}
        found = client.arrow(self.statement(reading, where), parameters, **settings)
        return found["id"].to_pylist()


class BareClusters(Bare):
    """The clusters nearest to the vector, with so many rows; routing included."""

    name = "bare statement, clusters"
    effort_name = "rows"
    efforts = tuple(round(2 ** (step / 2)) for step in range(18, 41))  # to 1,048,576

    def __init__(self, table: ItemTable, rows: int):
        super().__init__(table)
        self.rows = rows

    def search(self, vector: np.ndarray, where: str) -> list[int]:
        share = self.effort[where] / self.rows
        reading = queries.read_clusters(self.table, "image", vector, min(share, 1.0))
        return self.ask(reading, where)


class BareGraph(Bare):
    """The graph, of whose candidates those that pass the filter remain."""

    name = "bare statement, graph"
    efforts = LONG_LADDER

    def search(self, vector: np.ndarray, where: str) -> list[int]:
        effort = self.effort[where]
        fetched = effort / COUNT if FILTERS[where] else 1.0
        return self.ask(
            queries.read_graph(self.table, "image", vector, COUNT, False, fetched),
            where,
            hnsw_candidate_list_size_for_search=effort,
            max_limit_for_vector_search_queries=self.efforts[-1],
        )

    def load(self, vector: np.ndarray) -> None:
        """Load the graph, which from a cold disk may take longer than a search may."""
        reading = queries.read_graph(self.table, "image", vector, COUNT, False)
        self.ask(reading, "none", max_execution_time=LOADING_TIMEOUT_S)


class Find(System):
    name = "service.search"
    mode = "ann"

    def __init__(self, slug: str):
        self.slug = slug

    def search(self, vector: np.ndarray, where: str) -> list[int]:
        asked = replace(query(self.slug, vector, where), mode=self.mode)
        page = service.search(asked, SYSTEM, service.unlimited)
        return [hit.id for hit in page.hits]


class FindExact(Find):
    name = "service.search, exact"
    filters = ("none",)
    in_bursts = False
    mode = "exact"


class NextPage(System):
    """The page after the one that Find fetches, from its cursor."""

    name = "service.search, next page"
    filters = ("none",)
    answers = in_bursts = False

    def __init__(self, slug: str):
        self.slug = slug

    def prepare(self, vector: np.ndarray, where: str) -> None:
        self.cursor = service.search(
            query(self.slug, vector, where), SYSTEM, service.unlimited
        ).next

    def search(self, vector: np.ndarray, where: str) -> list[int]:
        page = service.search(
            SearchQuery(self.slug, (), limit=COUNT, cursor=self.cursor),
            SYSTEM,
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
