"""How much of the exact answer a dataset's index finds, and how fast.

Words and pictures are told apart: the vectors of words lie beside those of pictures,
where a graph leads less surely to what is nearest. The vector queries are those of
everyone's searches; filters and folding are not measured.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random

import numpy as np
from django.contrib.auth.models import AnonymousUser

from search.clickhouse import lookup, queries
from search.clickhouse.filters import Condition
from search.clickhouse.schema import ItemTable
from search.errors import NotFound
from search.models import Dataset, Evaluation
from search.query.model import MAX_RESULTS, SearchQuery, Term
from search.retrieval import service
from search.retrieval.dataset_index import FIRST_DEPTH
from search.retrieval.sampling import random_ids

RANKS = (1, 10, 100)

OnProgress = Callable[[], object]  # called after each search


@dataclass(frozen=True)
class Question:
    """A query's unit vector, and the item and the field that it is of, if any."""

    vector: np.ndarray
    item: int | None = None
    field: str = ""


@dataclass(frozen=True)
class Answers:
    """Ids and distances of the first items, a pair of arrays for each question."""

    ids: list[np.ndarray]
    distances: list[np.ndarray]
    milliseconds: list[float]

    def took(self, percent: int) -> float:
        return round(float(np.percentile(self.milliseconds, percent)), 2)


def stored_questions(table: ItemTable, field: str, ids: list[int]) -> list[Question]:
    """The vectors of those items that are there, in the order of `ids`."""
    found = lookup.embeddings(table, field, ids)
    return [
        Question(found[item] / np.linalg.norm(found[item]), item, field)
        for item in ids
        if item in found
    ]


def search_all(
    table: ItemTable,
    field: str,
    questions: Sequence[Question],
    count: int,
    exact: bool,
    done: OnProgress,
) -> Answers:
    """Searches one after the other; the item that a question is of is left out."""
    found = Answers([], [], [])
    # The first one loads what the others find in memory.
    _nearest(table, field, questions[0].vector, count, exact)
    for question in questions:
        started = time.perf_counter()
        nearest = _nearest(table, field, question.vector, count, exact)
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
    count: int,
    exact: bool,
    condition: Condition | None = None,
) -> queries.Candidates:
    return queries.nearest(
        table,
        field,
        vector,
        count,
        condition=condition or Condition(),
        nsfw="safe",
        exact=exact,
    )


def true_distances(
    table: ItemTable, field: str, question: Question, ids: np.ndarray
) -> np.ndarray:
    """Of these items: those that come with a search by the index are rounded."""
    if not len(ids):
        return np.empty(0, np.float32)
    these = Condition("id IN {these:Array(UInt64)}", {"these": ids.tolist()})
    found = _nearest(table, field, question.vector, len(ids), True, these)
    known = dict(zip(found.ids.tolist(), found.distances.tolist(), strict=True))
    return np.array([known.get(item, np.inf) for item in ids.tolist()], np.float32)


def recall(
    found: Sequence[np.ndarray], truth: Sequence[np.ndarray], rank: int
) -> float:
    """Recall@rank over all questions, by the true distances of what was found."""
    shares = [
        np.count_nonzero(near[:rank] <= best[:rank].max()) / len(best[:rank])
        for near, best in zip(found, truth, strict=True)
        if len(best)
    ]
    return round(float(np.mean(shares)), 4) if shares else 1.0


GOOD_RECALL = 0.95  # of the first ten; a wider search is tried, too, when it is lower
WIDER_EF = 4  # times as many candidates
# As narrow a search as that for the few on the page of an item, itself among them.
NEIGHBOURS = max(RANKS) + 1
RESULT_COUNTS = 10  # evaluations of a dataset


@dataclass(frozen=True)
class Shape:
    """A kind of search: what asks, whose vectors answer, how many candidates."""

    name: str
    asked: str
    field: str
    count: int


SHAPES = (
    Shape("pictures by words", "words", "image", FIRST_DEPTH),
    Shape("pictures by a picture", "picture", "image", FIRST_DEPTH),
    Shape("neighbours of an item", "picture", "image", NEIGHBOURS),
    Shape("captions by words", "words", "text", FIRST_DEPTH),
)


@dataclass(frozen=True)
class Figures:
    """What was measured for one shape.

    `width` is how many candidates the walk through the graph kept (ef_search). The
    figures of a wider search are there only if it was tried.
    """

    name: str
    asked: str
    field: str
    queries: int
    width: int
    recall_1: float
    recall_10: float
    recall_100: float
    ann_p50_ms: float
    ann_p95_ms: float
    exact_p50_ms: float
    exact_p95_ms: float
    wider_width: int | None = None
    wider_recall_10: float | None = None
    wider_p50_ms: float | None = None


def evaluate(
    slug: str,
    count: int,
    seed: int,
    given: Sequence[Question] = (),
    done: OnProgress = lambda: None,
) -> Evaluation:
    """Measures a dataset with `count` of its items, and keeps the figures.

    The vectors of their pictures ask, and those of their captions unless words are
    `given`. Raises NotFound for a dataset that is not there or has no items.
    """
    dataset = Dataset.for_slug(slug)
    # Some ids have no item any more.
    ids = random_ids(dataset, 2 * count, Random(seed))
    pictures = stored_questions(dataset.item_table, "image", ids)[:count]
    captions = stored_questions(dataset.item_table, "text", ids)[:count]
    if not pictures:
        raise NotFound("This dataset has no items yet.")
    asked = {"picture": pictures, "words": given or captions}
    truths: dict[tuple[str, str], Answers] = {}
    figures = []
    for shape in SHAPES:
        questions, key = asked[shape.asked], (shape.asked, shape.field)
        if key not in truths:
            truths[key] = search_all(
                dataset.item_table, shape.field, questions, FIRST_DEPTH, True, done
            )
        figures.append(measure(dataset.item_table, shape, questions, truths[key], done))
    return _kept(dataset, figures, bool(given))


def _kept(dataset: Dataset, figures: list[Figures], given: bool) -> Evaluation:
    state = queries.index_state(dataset.item_table)
    evaluations = dataset.evaluations
    evaluation = evaluations.create(
        words=Evaluation.Words.GIVEN if given else Evaluation.Words.CAPTIONS,
        rows=state["rows"],
        rows_without_index=state["rows_without_index"],
        figures=[asdict(each) for each in figures],
    )
    last = evaluations.values_list("pk", flat=True)[:RESULT_COUNTS]
    evaluations.exclude(pk__in=list(last)).delete()
    return evaluation


def encode_questions(slug: str, lines: Sequence[str]) -> list[Question]:
    """Words as questions; SearchUnavailable when the dataset's model cannot be had."""
    asked = (SearchQuery(slug, (Term(text=line),)) for line in lines)
    return [
        Question(service.embed(query, AnonymousUser(), service.unlimited).vector)
        for query in asked
    ]


def measure(
    table: ItemTable,
    shape: Shape,
    questions: Sequence[Question],
    truth: Answers,
    done: OnProgress,
) -> Figures:
    def search(count: int) -> tuple[Answers, dict[int, float]]:
        found = search_all(table, shape.field, questions, count, False, done)
        distances = [
            true_distances(table, shape.field, question, ids)
            for question, ids in zip(questions, found.ids, strict=True)
        ]
        return found, {rank: recall(distances, truth.distances, rank) for rank in RANKS}

    found, recalls = search(shape.count)
    figures = Figures(
        name=shape.name,
        asked=shape.asked,
        field=shape.field,
        queries=len(questions),
        width=search_width(table, shape.count),
        recall_1=recalls[1],
        recall_10=recalls[10],
        recall_100=recalls[100],
        ann_p50_ms=found.took(50),
        ann_p95_ms=found.took(95),
        exact_p50_ms=truth.took(50),
        exact_p95_ms=truth.took(95),
    )
    if recalls[10] < GOOD_RECALL:
        count = min(WIDER_EF * search_width(table, shape.count), MAX_RESULTS)
        again, wide_recalls = search(count)
        return replace(
            figures,
            wider_width=search_width(table, count),
            wider_recall_10=wide_recalls[10],
            wider_p50_ms=again.took(50),
        )
    return figures


def search_width(table: ItemTable, count: int) -> int:
    """Candidates kept by a walk that is to bring `count`: no fewer than it brings."""
    settings = queries.index_settings(table, count, 1)
    brought = count * settings.get("vector_search_index_fetch_multiplier", 1)
    return int(max(settings["hnsw_candidate_list_size_for_search"], brought))
