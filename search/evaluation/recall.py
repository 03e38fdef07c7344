"""Measure the recall and the speed of a dataset's index against exact search.

Queries by words and by images are measured apart: text embeddings lie outside of the
image embeddings, where a graph finds the nearest less reliably. The vector queries are
those of searches; filters and near-duplicates are not measured. Clusters are read as
far as searches read them: by the dataset's calibration.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random

import numpy as np

from search.clickhouse import lookup, queries
from search.clickhouse.filters import Condition
from search.clickhouse.schema import ItemTable
from search.errors import NotFound
from search.models import SYSTEM, Dataset, Evaluation
from search.query.model import (
    DEFAULT_LIMIT,
    DEFAULT_RECALL,
    MAX_RESULTS,
    SearchQuery,
    Term,
)
from search.retrieval import service
from search.retrieval.dataset_index import FIRST_DEPTH, PICTURES, WORDS
from search.retrieval.sampling import random_ids

RANKS = (1, 10, 100)

OnProgress = Callable[[], object]  # called after each search


@dataclass(frozen=True)
class Question:
    """A query's unit vector, and the item and field that it comes from, if any."""

    vector: np.ndarray
    item: int | None = None
    field: str = ""


@dataclass(frozen=True)
class Answers:
    """Ids and distances of the first items, one array for each question."""

    ids: list[np.ndarray]
    distances: list[np.ndarray]
    milliseconds: list[float]

    def time_percentile(self, percent: int) -> float:
        """Return a percentile of the milliseconds."""
        return round(float(np.percentile(self.milliseconds, percent)), 2)


def stored_questions(table: ItemTable, field: str, ids: list[int]) -> list[Question]:
    """Return the stored vectors of items, in the order of `ids`."""
    found = lookup.embeddings(table, field, ids)
    return [
        Question(found[item] / np.linalg.norm(found[item]), item, field)
        for item in ids
        if item in found
    ]


@dataclass(frozen=True)
class Reading:
    """A way to answer a search: `count` items, exactly or by a `share` of clusters."""

    count: int
    exact: bool = False
    share: float | None = None


def search_all(
    table: ItemTable,
    field: str,
    questions: Sequence[Question],
    reading: Reading,
    done: OnProgress,
) -> Answers:
    """Search one question after the other, without the item it comes from."""
    found = Answers([], [], [])
    # Load the index into memory.
    _nearest(table, field, questions[0].vector, reading)
    for question in questions:
        started = time.perf_counter()
        nearest = _nearest(table, field, question.vector, reading)
        found.milliseconds.append((time.perf_counter() - started) * 1000)
        own = question.item if question.field == field else None
        others = np.flatnonzero(~np.isin(nearest.ids, [] if own is None else [own]))
        found.ids.append(nearest.ids[others[: max(RANKS)]])
        found.distances.append(nearest.distances[others[: max(RANKS)]])
        done()
    return found


def _nearest(
    table: ItemTable,
    field: str,
    vector: np.ndarray,
    reading: Reading,
    condition: Condition | None = None,
) -> queries.Candidates:
    return queries.nearest(
        table,
        field,
        vector,
        reading.count,
        condition=condition or Condition(),
        nsfw="safe",
        exact=reading.exact,
        share=reading.share,
    )


def true_distances(
    table: ItemTable, field: str, question: Question, ids: np.ndarray
) -> np.ndarray:
    """Compute the distances of items; those of a search of a graph are rounded."""
    if not len(ids):
        return np.empty(0, np.float32)
    these = Condition("id IN {these:Array(UInt64)}", {"these": ids.tolist()})
    reading = Reading(len(ids), exact=True)
    found = _nearest(table, field, question.vector, reading, these)
    known = dict(zip(found.ids.tolist(), found.distances.tolist(), strict=True))
    return np.array([known.get(item, np.inf) for item in ids.tolist()], np.float32)


def recall(
    found: Sequence[np.ndarray], truth: Sequence[np.ndarray], rank: int
) -> float:
    """Return the mean recall@rank, by the true distances of the items found."""
    shares = [
        np.count_nonzero(near[:rank] <= best[:rank].max()) / len(best[:rank])
        for near, best in zip(found, truth, strict=True)
        if len(best)
    ]
    return round(float(np.mean(shares)), 4) if shares else 1.0


# Of the first ten; where a graph finds less, a wider search is tried.
GOOD_RECALL = DEFAULT_RECALL
WIDER_EF = 4  # times as many candidates
WIDER_RECALL = 0.99  # that clusters are searched for, too
# As narrow as the search for the neighbours on an item's page.
NEIGHBOURS = max(RANKS) + 1
MAX_EVALUATIONS = 10  # stored for each dataset


@dataclass(frozen=True)
class Shape:
    """A kind of search: by what, in which field, for how many items.

    A graph is searched for `count` candidates. Of clusters, as much is read as is
    calibrated for the nearest `rank`.
    """

    name: str
    asked: str
    field: str
    count: int
    rank: int = DEFAULT_LIMIT

    @property
    def kind(self) -> str:
        """The kind of queries that is calibrated."""
        return WORDS if self.asked == "words" else PICTURES


SHAPES = (
    Shape("images by words", "words", "image", FIRST_DEPTH),
    Shape("images by an image", "picture", "image", FIRST_DEPTH),
    Shape("neighbours of an item", "picture", "image", NEIGHBOURS, rank=10),
    Shape("captions by words", "words", "text", FIRST_DEPTH),
)


@dataclass(frozen=True)
class Figures:
    """The measurements of one shape.

    `width` is the number of candidates in the graph search (ef_search), `share` that of
    the rows that are read of clusters. The `wider` ones are of a search of more, if it
    was tried. Figures of earlier versions have no shares.
    """

    name: str
    asked: str
    field: str
    queries: int
    width: int | None
    share: float | None
    recall_1: float
    recall_10: float
    recall_100: float
    ann_p50_ms: float
    ann_p95_ms: float
    exact_p50_ms: float
    exact_p95_ms: float
    wider_width: int | None = None
    wider_share: float | None = None
    wider_recall_10: float | None = None
    wider_p50_ms: float | None = None


def evaluate(
    slug: str,
    count: int,
    seed: int,
    given: Sequence[Question] = (),
    done: OnProgress = lambda: None,
) -> Evaluation:
    """Measure a dataset with `count` of its items, and store the figures.

    Queries are the image embeddings of items and, unless words are `given`, their
    caption embeddings, if there are any. Raises NotFound for an unknown dataset or one
    without items.
    """
    dataset = Dataset.for_slug(slug, SYSTEM)
    # Some ids have no item.
    ids = random_ids(dataset, 2 * count, Random(seed))
    pictures = stored_questions(dataset.item_table, "image", ids)[:count]
    available = dataset.search_fields
    captions = []
    if "text" in available:
        captions = stored_questions(dataset.item_table, "text", ids)[:count]
    if not pictures:
        raise NotFound("This dataset has no items yet.")
    questions_by = {"picture": pictures, "words": given or captions}
    truths: dict[tuple[str, str], Answers] = {}
    figures = []
    for shape in SHAPES:
        questions, key = questions_by[shape.asked], (shape.asked, shape.field)
        if not questions or shape.field not in available:
            continue
        if key not in truths:
            exactly = Reading(FIRST_DEPTH, exact=True)
            table = dataset.item_table
            truths[key] = search_all(table, shape.field, questions, exactly, done)
        figures.append(measure(dataset, shape, questions, truths[key], done))
    return _store(dataset, figures, bool(given))


def _store(dataset: Dataset, figures: list[Figures], given: bool) -> Evaluation:
    state = queries.index_state(dataset.item_table)
    evaluations = dataset.evaluations
    evaluation = evaluations.create(
        words=Evaluation.Words.GIVEN if given else Evaluation.Words.CAPTIONS,
        rows=state["rows"],
        rows_without_index=state["rows_without_index"],
        figures=[asdict(each) for each in figures],
    )
    last = evaluations.values_list("pk", flat=True)[:MAX_EVALUATIONS]
    evaluations.exclude(pk__in=list(last)).delete()
    return evaluation


def encode_questions(slug: str, lines: Sequence[str]) -> list[Question]:
    """Encode lines of words. Raises SearchUnavailable without the dataset's model."""
    text_queries = (SearchQuery(slug, (Term(text=line),)) for line in lines)
    return [
        Question(service.embed(query, SYSTEM, service.unlimited).vector)
        for query in text_queries
    ]


def measure(
    dataset: Dataset,
    shape: Shape,
    questions: Sequence[Question],
    truth: Answers,
    done: OnProgress,
) -> Figures:
    table, by_clusters = dataset.item_table, dataset.index == Dataset.Index.CLUSTERS

    def search(reading: Reading) -> tuple[Answers, dict[int, float]]:
        found = search_all(table, shape.field, questions, reading, done)
        distances = found.distances
        if not by_clusters:
            distances = [
                true_distances(table, shape.field, question, ids)
                for question, ids in zip(questions, found.ids, strict=True)
            ]
        return found, {rank: recall(distances, truth.distances, rank) for rank in RANKS}

    reading = Reading(shape.count)
    if by_clusters:
        reading = _of_clusters(dataset, shape, DEFAULT_RECALL)
    found, recalls = search(reading)
    figures = Figures(
        name=shape.name,
        asked=shape.asked,
        field=shape.field,
        queries=len(questions),
        width=None if by_clusters else search_width(table, shape.count),
        share=reading.share,
        recall_1=recalls[1],
        recall_10=recalls[10],
        recall_100=recalls[100],
        ann_p50_ms=found.time_percentile(50),
        ann_p95_ms=found.time_percentile(95),
        exact_p50_ms=truth.time_percentile(50),
        exact_p95_ms=truth.time_percentile(95),
    )
    wider = _wider(dataset, shape, reading, recalls[10])
    if wider is None:
        return figures
    again, wide_recalls = search(wider)
    return replace(
        figures,
        wider_width=None if by_clusters else search_width(table, wider.count),
        wider_share=wider.share,
        wider_recall_10=wide_recalls[10],
        wider_p50_ms=again.time_percentile(50),
    )


def _of_clusters(dataset: Dataset, shape: Shape, wanted: float) -> Reading:
    """Return how a search that is to find a share of the nearest reads clusters."""
    curve = dataset.curve(shape.field, shape.kind)
    share = queries.UNCALIBRATED_ROWS / max(dataset.item_count(), 1)
    if curve:
        share = curve.share_for(wanted, shape.rank)
    return Reading(NEIGHBOURS, share=round(min(share, 1.0), 6))


def _wider(
    dataset: Dataset, shape: Shape, reading: Reading, found: float
) -> Reading | None:
    """Return a search of more than `reading`, if it is worth trying."""
    if dataset.index == Dataset.Index.CLUSTERS:
        wider = _of_clusters(dataset, shape, WIDER_RECALL)
        return None if wider == reading else wider
    if found >= GOOD_RECALL:
        return None
    width = search_width(dataset.item_table, shape.count)
    return Reading(min(WIDER_EF * width, MAX_RESULTS))


def search_width(table: ItemTable, count: int) -> int:
    """Return the candidates that the graph search for `count` items keeps."""
    settings = queries.index_settings(table, count, 1)
    fetched = count * settings.get("vector_search_index_fetch_multiplier", 1)
    return int(max(settings["hnsw_candidate_list_size_for_search"], fetched))
