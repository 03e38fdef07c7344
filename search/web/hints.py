"""Hints over a page of results: a correction of the words, and a weak match."""

from dataclasses import dataclass

from search.query.words import indexed_words
from search.retrieval import vocabulary
from search.retrieval.service import Page

from .chips import SearchReading
from .summary import Note


@dataclass(frozen=True)
class Hints:
    corrected: Note | None = None  # the words that may be meant, and their search
    weak: bool = False  # random words find as much


def hints(reading: SearchReading, found: Page) -> Hints:
    """Return the hints of a search by words; none for other terms, which are exact."""
    terms = reading.parsed.terms
    form, words = reading.form, reading.form.params["q"]
    if not terms or not all(term.text and term.weight > 0 for term in terms):
        return Hints()
    vocabularies = vocabulary.of(reading.datasets)
    better = vocabulary.corrected(vocabularies, words)
    corrected = Note(better, form.url(q=better, cursor="")) if better else None
    tokens = indexed_words(" ".join(term.text or "" for term in terms)).split()
    known = any(vocabulary.is_known(vocabularies, token) for token in tokens)
    quantile = vocabulary.LOW if known or not vocabularies else vocabulary.MIDDLE
    return Hints(corrected, _is_weak(reading, found, quantile))


def _is_weak(reading: SearchReading, found: Page, quantile: str) -> bool:
    """Return whether the best hit of each dataset lies in the noise of random queries.

    Words that no caption has are compared with more of them.
    """
    if any(
        reading.form.cleaned_data[name] for name in ("item", "embedding", "concept")
    ):
        return False
    best = max((hit.similarity or 0.0 for hit in found.hits), default=None)
    if best is None:
        return False
    noise = [vocabulary.noise_of(dataset, found.field) for dataset in reading.datasets]
    return all(each and best < each[quantile] for each in noise)
