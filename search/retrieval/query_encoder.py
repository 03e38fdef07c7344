"""Encode the terms of a query into the vectors that are searched with."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from search import cache
from search.clickhouse import lookup
from search.clickhouse.schema import VECTOR_COLUMNS, ItemTable
from search.encoder import encoder_for
from search.errors import InvalidQuery, SearchUnavailable
from search.fetch import LIMITS, fetch
from search.models import Dataset
from search.query.model import MIN_NORM, SearchQuery, Term, unit_vector

from .items import check_item_id, item_not_found

VECTOR_FIELDS = tuple(VECTOR_COLUMNS)
FETCHED_CACHE_S = 3_600


def searched_fields(field: str) -> tuple[str, ...]:
    """Return the vector fields of a query's field: two for "both"."""
    return VECTOR_FIELDS if field == "both" else (field,)


@dataclass(frozen=True)
class QueryEncoder:
    """Encodes queries for one dataset."""

    dataset: Dataset
    table: ItemTable

    def vectors_of(self, query: SearchQuery) -> dict[str, np.ndarray]:
        """Return the direction of the weighted sum of the terms, by searched field.

        Float32, of unit length. Raises InvalidQuery for terms that cancel out.
        """
        parts = self.parts_of(query)
        return {field: _direction(vectors) for field, vectors in parts.items()}

    def parts_of(self, query: SearchQuery) -> dict[str, np.ndarray]:
        """Return the weighted unit vectors of the terms: (terms, dimension), by field.

        Only the vectors of items differ between the fields: others are encoded once.
        """
        deadline = time.monotonic() + LIMITS.seconds  # of all images together
        texts = self._text_vectors(query.terms)
        shared = [self._shared(term, texts, deadline) for term in query.terms]
        return {
            field: np.array(
                [
                    term.weight * self._of_field(term, vector, field)
                    for term, vector in zip(query.terms, shared, strict=True)
                ]
            )
            for field in searched_fields(query.field)
        }

    def _shared(
        self, term: Term, texts: dict[str, np.ndarray], deadline: float
    ) -> np.ndarray | None:
        """Return the vector of a term that all fields share; None for an item."""
        if term.item is not None:
            return None
        return (
            texts[term.text] if term.text is not None else self._vector(term, deadline)
        )

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

    def _text_vectors(self, terms: Sequence[Term]) -> dict[str, np.ndarray]:
        """Encode all texts in one call to the encoder, which may be remote."""
        texts = list({term.text: None for term in terms if term.text is not None})
        if not texts:
            return {}
        encoder = encoder_for(self.dataset.model, self.dataset.weights)
        vectors = self._check_dimension(encoder.encode_texts(texts))
        return dict(zip(texts, vectors, strict=True))

    def _vector(self, term: Term, deadline: float) -> np.ndarray:
        if term.image is not None:
            return self._image_vector(term.image)
        if term.image_url is not None:
            return self._fetched_vector(term.image_url, deadline)
        assert term.embedding is not None  # the service has resolved concepts
        return self._given_vector(term.embedding)

    def _image_vector(self, data: bytes) -> np.ndarray:
        encoder = encoder_for(self.dataset.model, self.dataset.weights)
        return self._check_dimension(encoder.encode_image_files([data]))[0]

    def _fetched_vector(self, url: str, deadline: float) -> np.ndarray:
        """Fetch and encode an image; cached, since pages are reloaded."""
        source = f"{self.dataset.model} {self.dataset.weights} {url}"
        key = f"picture:{hashlib.sha256(source.encode()).hexdigest()}"
        if (vector := cache.get(key)) is None:
            left = max(deadline - time.monotonic(), 0.0)
            image = fetch(url, replace(LIMITS, seconds=left))
            vector = self._image_vector(image.content)
            cache.set(key, vector, FETCHED_CACHE_S)
        return vector

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


def _direction(parts: np.ndarray) -> np.ndarray:
    total = parts.sum(axis=0)
    length = float(np.linalg.norm(total))
    if length < MIN_NORM:
        raise InvalidQuery(
            "The terms cancel each other out: nothing is left to search for."
        )
    return (total / length).astype(np.float32)
