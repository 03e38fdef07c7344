"""Concepts as files: .npy with the vector alone, .json with all that is known of it."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from search.errors import InvalidQuery
from search.models import Dataset

from ..models import Concept
from .services import how_made


def unit_vector(
    numbers: np.ndarray | Sequence[float], dimension: int, those: str
) -> np.ndarray:
    """The direction of these numbers: float32, of unit length.

    `those` are the vectors that have this dimension. Raises InvalidQuery for another
    shape, and where there is no direction.
    """
    vector = np.asarray(numbers, np.float64)
    if vector.shape != (dimension,):
        raise InvalidQuery(
            f"The vector holds {vector.size:,} numbers; {those} have {dimension}."
        )
    with np.errstate(over="ignore"):  # then the length is endless
        length = float(np.linalg.norm(vector))
    if not 1e-6 < length < math.inf:
        raise InvalidQuery(
            "The vector has no direction: its length is zero or endless."
        )
    return (vector / length).astype(np.float32)


MAX_BYTES = 1024 * 1024
MAGIC = b"\x93NUMPY"
UNREADABLE_BY = (
    *(ValueError, TypeError, KeyError, AttributeError),
    *(ArithmeticError, RecursionError),
)
UNREADABLE = "This file is neither a .npy file with one vector nor a .json concept."


@dataclass(frozen=True)
class ConceptFile:
    """A concept from a file: a unit vector, float32, and what is told of it."""

    vector: np.ndarray
    model: str
    weights: str
    name: str = ""
    description: str = ""


def npy(concept: Concept) -> bytes:
    file = BytesIO()
    np.save(file, concept.embedding, allow_pickle=False)
    return file.getvalue()


def concept_json(concept: Concept, *, is_mine: bool) -> dict[str, Any]:
    """What the .json file holds; its owner's also says by which marks it was made."""
    latest = concept.versions.filter(number=concept.version).first()
    return {
        "name": concept.name,
        "description": concept.description,
        "model": concept.model,
        "weights": concept.weights,
        "dimension": len(concept.embedding),
        "version": concept.version,
        "created": (latest or concept).created_at.isoformat(),
        "made_of": how_made(concept, is_mine=is_mine),
        "vector": concept.embedding.tolist(),
    }


def read(data: bytes, dataset: Dataset) -> ConceptFile:
    """A concept for searches of this dataset's model. Raises InvalidQuery."""
    if len(data) > MAX_BYTES:
        raise InvalidQuery("The file is larger than 1 MB; a concept is far smaller.")
    by = {"model": dataset.model, "weights": dataset.weights}
    if data.startswith(MAGIC):
        return ConceptFile(_of_file(_array(data), dataset), **by)
    try:
        given = json.loads(data)
        vector = np.array(given["vector"], np.float64)
        texts = {name: str(given.get(name) or "") for name in ("name", "description")}
        made_by = (str(given["model"]), str(given.get("weights") or ""))
        for text in (*texts.values(), *made_by):
            text.encode()  # JSON can hold half a character; databases cannot
    except UNREADABLE_BY as error:
        raise InvalidQuery(UNREADABLE) from error
    if made_by != (dataset.model, dataset.weights):
        raise InvalidQuery(
            f"This concept is of the model {made_by[0][:100]}; {dataset.title} was "
            f"made with {dataset.model}."
        )
    return ConceptFile(_of_file(vector, dataset), **by, **texts)


def _array(data: bytes) -> np.ndarray:
    try:
        with BytesIO(data) as file:
            version = np.lib.format.read_magic(file)
            if version not in ((1, 0), (2, 0)):
                raise InvalidQuery(UNREADABLE)
            reader = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
            shape, _, dtype = reader(file)
            # The header is believed only if the rest is as long as it says.
            whole = math.prod(shape) * dtype.itemsize == len(data) - file.tell()
            if dtype.kind != "f" or not whole:
                raise InvalidQuery(UNREADABLE)
            return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape)
    except InvalidQuery:
        raise
    # A lying header meets numpy with whatever error comes first.
    except Exception as error:
        raise InvalidQuery(UNREADABLE) from error


def _of_file(vector: np.ndarray, dataset: Dataset) -> np.ndarray:
    vector = vector.astype(np.float64).squeeze()
    return unit_vector(vector, dataset.dimension, f"vectors of {dataset.title}")
