"""The index against an exact search of the example dataset, by hand-written words."""

import json
import time
from pathlib import Path
from statistics import mean, median

from postcards.evaluate import QUERIES
from postcards.shards import MODEL, write_shard
from search.evaluation import calibration
from search.ingestion import control, publishing, shard_run
from search.models import SYSTEM, Dataset, Shard
from search.query.filters import Filters
from search.query.model import SearchQuery, Term
from search.retrieval import service

from .data import COUNT

SLUG = "postcards"


def recall(rows: int, folder: Path) -> str:
    """Return a line with the share of the exact answers that the index finds."""
    if not (folder / f"postcards-{rows}").exists():
        bring_in(rows, folder)
    right, times = [], {"ann": [], "exact": []}
    lines = QUERIES.read_text(encoding="utf-8").splitlines()
    for words in [json.loads(line)["query"] for line in lines]:
        found = {}
        for mode in times:
            started = time.perf_counter()
            found[mode] = ids(words, mode)
            times[mode].append((time.perf_counter() - started) * 1000)
        right.append(len(found["ann"] & found["exact"]) / len(found["exact"]))
    by_index, exact = (median(times[mode]) for mode in times)
    return (
        f"Postcards, {rows:,} rows, {len(right)} hand-written queries by words: "
        f"recall@{COUNT} against exact {mean(right):.3f}; p50 {by_index:.1f} ms by the "
        f"index, {exact:.1f} ms exact."
    )


def ids(words: str, mode: str) -> set[int]:
    filters = Filters(nsfw="any", dedupe=False)
    terms = (Term(text=words),)
    search_query = SearchQuery(SLUG, terms, mode=mode, filters=filters, limit=COUNT)
    return {
        hit.id for hit in service.search(search_query, SYSTEM, service.unlimited).hits
    }


def bring_in(rows: int, folder: Path) -> None:
    source = folder / f"shards-postcards-{rows}"
    write_shard(source, 0, rows, lambda _: None)
    Dataset.objects.filter(slug=SLUG).delete()
    made = Dataset.objects.create(
        slug=SLUG, title=SLUG, model=MODEL, weights="", source=str(source)
    )
    control.discover_shards(made)
    made.shards.update(state=Shard.State.QUEUED)
    shard_run.ingest(made.shards.get().pk)
    publishing.publish(made, 0)
    calibration.calibrate(made.pk)
    (folder / f"postcards-{rows}").touch()
