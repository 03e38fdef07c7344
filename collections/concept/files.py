"""Concepts as files: .npy with only the vector, .json with everything about it."""

import json
import math
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from search.errors import InvalidQuery
from search.models import Dataset
from search.query.model import unit_vector

from ..models import Concept
from ..models.ownership import AnyUser
from .services import provenance_of

MAX_BYTES = 1024 * 1024
MAGIC = b"\x93NUMPY"
READ_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
UNREADABLE = (
    "Could not read this file. Use a .npy file with one vector or a .json concept."
)


@dataclass(frozen=True)
class ConceptFile:
    """The content of a file: a unit vector, its model, and a name if it has one."""

    vector: np.ndarray
    model: str
    weights: str
    name: str = ""
    description: str = ""


def npy(concept: Concept) -> bytes:
    file = BytesIO()
    np.save(file, concept.embedding, allow_pickle=False)
    return file.getvalue()


def concept_json(concept: Concept, user: AnyUser, *, is_mine: bool) -> dict[str, Any]:
    """Return the content of the .json file; marks and search for the owner only."""
    latest = concept.versions.filter(number=concept.version).first()
    return {
        "name": concept.name,
        "description": concept.description,
        "model": concept.model,
        "weights": concept.weights,
        "dimension": len(concept.embedding),
        "version": concept.version,
        "created": (latest or concept).created_at.isoformat(),
        "made_of": provenance_of(concept, user, is_mine=is_mine),
        "vector": concept.embedding.tolist(),
    }


def read(data: bytes, dataset: Dataset) -> ConceptFile:
    """Read a file, for searches of this dataset's model. Raises InvalidQuery."""
    if len(data) > MAX_BYTES:
        raise InvalidQuery("The file is larger than 1 MB. Concept files are smaller.")
    made_by = (dataset.model, dataset.weights)
    if data.startswith(MAGIC):
        return ConceptFile(_unit_vector(_read_npy(data), dataset), *made_by)
    try:
        content = json.loads(data)
        numbers = np.array(content["vector"], np.float64)
        texts = [str(content.get(name) or "") for name in ("name", "description")]
        given = (str(content["model"]), str(content.get("weights") or ""))
        for text in (*texts, *given):
            text.encode()  # JSON can hold half a character; databases cannot
    except READ_ERRORS as error:
        raise InvalidQuery(UNREADABLE) from error
    if given != made_by:
        raise InvalidQuery(
            f"This concept is of the model {given[0][:100]}; {dataset.title} was "
            f"made with {dataset.model}."
        )
    return ConceptFile(_unit_vector(numbers, dataset), *made_by, *texts)


def _read_npy(data: bytes) -> np.ndarray:
    try:
        with BytesIO(data) as file:
            version = np.lib.format.read_magic(file)
            if version not in ((1, 0), (2, 0)):
                raise InvalidQuery(UNREADABLE)
            reader = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
            shape, _, dtype = reader(file)
            # The header is accepted only if the rest is as long as it says.
            is_complete = math.prod(shape) * dtype.itemsize == len(data) - file.tell()
            if dtype.kind != "f" or not is_complete:
                raise InvalidQuery(UNREADABLE)
            return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape)
    except InvalidQuery:
        raise
    # A forged header makes numpy raise whatever error comes first.
    except Exception as error:
        raise InvalidQuery(UNREADABLE) from error


def _unit_vector(numbers: np.ndarray, dataset: Dataset) -> np.ndarray:
    others = f"vectors of {dataset.title}"
    return unit_vector(numbers.squeeze(), dataset.dimension, "vector", others)
