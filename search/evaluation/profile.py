"""The profile of a dataset: the words of its captions, and the similarity of nonsense.

Suggestions and corrections of a search read the words. A search whose best similarity
is one that random queries reach as well finds nothing that matches.
"""

import logging
from random import Random

import numpy as np
from django.utils import timezone

from search.clickhouse import captions, client
from search.errors import SearchError, SearchUnavailable
from search.jobs.leases import MAX_FAILURES, Lease, database_errors, lease_expired
from search.models import SYSTEM, Dataset, DatasetProfile
from search.query.model import SearchQuery, Term
from search.retrieval import service
from search.retrieval.vocabulary import LOW, MIDDLE

MAX_WORDS = 50_000
MAX_CHANGE = 1.5  # of the number of rows, from which on a profile is measured anew
RANDOM_QUERIES = 32
CONSONANTS, VOWELS = "bcdfghjklmnprstvwxz", "aeiouy"

logger = logging.getLogger(__name__)


def is_due(dataset: Dataset) -> bool:
    """Return whether a profile is to be measured, which no worker does now."""
    known = DatasetProfile.objects.filter(dataset=dataset)
    at_work = known.exclude(lease_expired(), failures__lt=MAX_FAILURES)
    return not at_work.exists() and _is_outdated(dataset)


def _is_outdated(dataset: Dataset) -> bool:
    """Return whether a profile is missing, or of many rows less or more."""
    known = DatasetProfile.objects.filter(dataset=dataset).values_list(
        "rows", flat=True
    )
    fewer, more = sorted((dataset.item_count(), known.first() or 0))
    return more > 0 and more >= MAX_CHANGE * fewer


def measure(dataset_pk: int) -> bool:
    """Measure and store a dataset's profile if it is due.

    Return False where there is nothing to do, or another worker does it. Raises
    SearchUnavailable when the engine or the database does not answer.
    """
    with database_errors():
        client.ping()
        dataset = Dataset.objects.filter(pk=dataset_pk).first()
        if dataset is None or not is_due(dataset):
            return False
        DatasetProfile.objects.get_or_create(dataset=dataset)
        lease = Lease.acquire(DatasetProfile.objects.filter(dataset=dataset))
        if lease is None:
            return False
        if not _is_outdated(dataset):  # another worker was quicker
            lease.release(failures=0)
            return False
        name = f"The profile of {dataset}"
        return lease.run(lambda: _measure_under(lease, dataset), name)


def _measure_under(lease: Lease, dataset: Dataset) -> None:
    rows, now = dataset.item_count(), timezone.now()
    try:
        words = captions.count_words(dataset.item_table, rows, MAX_WORDS)
    except SearchError as error:
        lease.release()
        raise SearchUnavailable(error.message) from error
    lines = "\n".join(f"{word} {count}" for word, count in words)
    noise = _noise(dataset)
    lease.release(failures=0, rows=rows, words=lines, noise=noise, measured_at=now)
    logger.info("%s has a profile.", dataset)


def _noise(dataset: Dataset) -> dict[str, dict[str, float]]:
    """Return quantiles of the best similarities of random queries, by field.

    {} where the model cannot be loaded: the words are worth keeping without.
    """
    noise = {}
    fields = dataset.search_fields
    try:
        for field in (*fields, "both") if len(fields) > 1 else fields:
            best = [_best(dataset, text, field) for text in random_texts()]
            low, middle = np.quantile(best, (0.25, 0.5))
            noise[field] = {LOW: round(float(low), 4), MIDDLE: round(float(middle), 4)}
    except SearchError as error:
        logger.warning("No random queries of %s: %s", dataset, error.message)
        return {}
    return noise


def _best(dataset: Dataset, text: str, field: str) -> float:
    query = SearchQuery(dataset.slug, (Term(text=text),), field=field, limit=1)
    hits = service.search(query, SYSTEM, service.unlimited, veils=True).hits
    return hits[0].similarity or 0.0 if hits else 0.0


def random_texts() -> list[str]:
    """Return texts of one to four words that no language has, always the same."""
    random = Random(0)
    return [
        " ".join(_random_word(random) for _ in range(random.randint(1, 4)))
        for _ in range(RANDOM_QUERIES)
    ]


def _random_word(random: Random) -> str:
    syllables = (
        random.choice(CONSONANTS) + random.choice(VOWELS)
        for _ in range(random.randint(2, 4))
    )
    return "".join(syllables) + random.choice(CONSONANTS)
