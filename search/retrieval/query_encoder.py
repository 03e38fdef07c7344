"""Encode the terms of a query into the vectors that are searched with."""

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from django.conf import settings

from search import cache
from search.clickhouse import lookup
from search.clickhouse.schema import VECTOR_COLUMNS, ItemTable
from search.encoder import encoder_for
from search.errors import InvalidQuery, SearchUnavailable
from search.fetch import LIMITS, fetch
from search.images.decoders import query_decoders
from search.models import Dataset
from search.query.model import MIN_NORM, SearchQuery, Term, unit_vector

from .items import TruncatedText, check_item_id, item_not_found

VECTOR_FIELDS = tuple(VECTOR_COLUMNS)
FETCHED_CACHE_S = 3_600
SLOT_WAIT_S = 0.5

# Threads of the web server that fetch and decode images to search by. Thumbnails take
# half of them; at least one is left for texts.
_image_slots = threading.BoundedSemaphore(max(1, settings.SERVER_THREADS // 2 - 1))


def searched_fields(field: str) -> tuple[str, ...]:
    """Return the vector fields of a query's field: two for "both"."""
    return VECTOR_FIELDS if field == "both" else (field,)


def check_field(dataset: Dataset, field: str) -> None:
    """Raise InvalidQuery for a search in captions that have no embeddings."""
    if field != "image" and field not in dataset.search_fields:
        raise InvalidQuery(
            "The captions of this dataset have no embeddings: search in images."
        )


@dataclass(frozen=True)
class EncodedQuery:
    """The weighted unit vectors of the terms, (terms, dimension), by field."""

    parts: dict[str, np.ndarray]
    truncated: tuple[TruncatedText, ...]

    @property
    def vectors(self) -> dict[str, np.ndarray]:
        """The direction of the sum, by field: float32, of unit length.

        Raise InvalidQuery for terms that cancel out.
        """
        return {field: _direction(parts) for field, parts in self.parts.items()}


@dataclass(frozen=True)
class QueryEncoder:
    """Encodes queries for one dataset."""

    dataset: Dataset
    table: ItemTable

    def encode(self, query: SearchQuery) -> EncodedQuery:
        """Encode the terms for the searched fields.

        Only the vectors of items differ between the fields: others are encoded once.
        Raises InvalidQuery for a field that has no embeddings.
        """
        check_field(self.dataset, query.field)
        texts, truncated = self._encode_texts(query.terms)
        images = self._image_vectors(query.terms)
        shared = [self._shared(term, texts, images) for term in query.terms]
        parts = {
            field: np.array(
                [
                    term.weight * self._of_field(term, vector, field)
                    for term, vector in zip(query.terms, shared, strict=True)
                ]
            )
            for field in searched_fields(query.field)
        }
        return EncodedQuery(parts, truncated)

    def _shared(
        self,
        term: Term,
        texts: dict[str, np.ndarray],
        images: dict[bytes | str, np.ndarray],
    ) -> np.ndarray | None:
        """Return the vector of a term that all fields share; None for an item."""
        if term.item is not None:
            return None
        if term.text is not None:
            return texts[term.text]
        if (image := term.image_source) is not None:
            return images[image]
        assert term.embedding is not None  # the service has resolved concepts
        return self._given_vector(term.embedding)

    def _of_field(
        self, term: Term, shared: np.ndarray | None, field: str
    ) -> np.ndarray:
        vector = shared
        if term.item is not None:
            vector = self.item_vector(term.item, field)
        assert vector is not None  # only those of items are not shared
        return vector.astype(np.float64)

    def item_vector(self, item_id: int, field: str) -> np.ndarray:
        """Return the unit vector of an item. Raises NotFound."""
        found = lookup.embeddings(self.table, field, [check_item_id(item_id)])
        if item_id not in found:
            raise item_not_found(item_id)
        return found[item_id] / np.linalg.norm(found[item_id])

    def _encode_texts(
        self, terms: Sequence[Term]
    ) -> tuple[dict[str, np.ndarray], tuple[TruncatedText, ...]]:
        """Encode all texts in one call to the encoder, which may be remote."""
        texts = list({term.text: None for term in terms if term.text is not None})
        if not texts:
            return {}, ()
        encoder = encoder_for(self.dataset.model, self.dataset.weights)
        vectors, lengths = encoder.read_texts(texts)
        truncated = tuple(
            TruncatedText(text, length)
            for text, length in zip(texts, lengths, strict=True)
            if length < len(text)
        )
        by_text = dict(zip(texts, self._check_dimension(vectors), strict=True))
        return by_text, truncated

    def _image_vectors(self, terms: Sequence[Term]) -> dict[bytes | str, np.ndarray]:
        """Return the vectors of all images, by their bytes or URL.

        They are decoded in one call, which bounds what they cost together.
        """
        vectors: dict[bytes | str, np.ndarray] = {}
        missing = []
        for source in {term.image_source: None for term in terms}:
            if source is None:
                continue
            found = cache.get(self._key(source)) if isinstance(source, str) else None
            if found is None:
                missing.append(source)
            else:
                vectors[source] = found
        if missing:
            with _image_slot():
                images = query_decoders.shrink(_read(missing))
            encoder = encoder_for(self.dataset.model, self.dataset.weights)
            encoded = encoder.encode_images([image.image for image in images])
            encoded = self._check_dimension(encoded)
            for source, vector in zip(missing, encoded, strict=True):
                vectors[source] = vector
                if isinstance(source, str):
                    cache.set(self._key(source), vector, FETCHED_CACHE_S)
        return vectors

    def _key(self, url: str) -> str:
        source = f"{self.dataset.model} {self.dataset.weights} {url}"
        return f"picture:{hashlib.sha256(source.encode()).hexdigest()}"

    def _check_dimension(self, vectors: np.ndarray) -> np.ndarray:
        if vectors.shape[1] != self.dataset.dimension:
            raise SearchUnavailable(
                f"The model {self.dataset.model} makes vectors of {vectors.shape[1]} "
                f"numbers; those of this dataset have {self.dataset.dimension}."
            )
        return vectors

    def _given_vector(self, embedding: tuple[float, ...]) -> np.ndarray:
        return unit_vector(
            embedding, self.dataset.dimension, "embedding", "those of this dataset"
        )


@contextmanager
def _image_slot() -> Iterator[None]:
    if not _image_slots.acquire(timeout=SLOT_WAIT_S):
        raise SearchUnavailable(
            "Too many searches by image are running; please try again in a moment."
        )
    try:
        yield
    finally:
        _image_slots.release()


def _read(sources: Sequence[bytes | str]) -> list[bytes]:
    """Return the files; fetch those that are a URL, within the time of one fetch."""
    deadline = time.monotonic() + LIMITS.seconds
    files = []
    for source in sources:
        if isinstance(source, str):
            left = max(deadline - time.monotonic(), 0.0)
            source = fetch(source, replace(LIMITS, seconds=left)).content
        files.append(source)
    return files


def _direction(parts: np.ndarray) -> np.ndarray:
    total = parts.sum(axis=0)
    length = float(np.linalg.norm(total))
    if length < MIN_NORM:
        raise InvalidQuery(
            "The terms cancel each other out. Change a weight or remove a term."
        )
    return (total / length).astype(np.float32)
