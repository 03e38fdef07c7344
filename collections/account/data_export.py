"""Export a user's data as a ZIP file that is written while it is sent.

It has every table that belongs to a user. They are found by their relations, so that
none can be forgotten. At most a few thousand rows are in memory.
"""

import json
import logging
import zipfile
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import Any

import numpy as np
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.text import slugify

from search.errors import SearchUnavailable
from search.models import Dataset
from search.retrieval.item_lookup import ItemState

from ..collection.rows import states_of
from ..models import CollectionItem
from . import services

logger = logging.getLogger(__name__)

# Fields that could help to break into the account.
SECRETS = {"password", "digest"}
# Permissions that an admin gave, and confirmation mails that were sent.
EXCLUDED = {
    "User_groups",
    "User_user_permissions",
    "Dataset_allowed_users",
    "EmailConfirmation",
}
CHUNK_ROWS = 2_000
CHUNK_BYTES = 64 * 1024
ABOUT = """\
All data that laionweb stores about {name}.

account.json          the account
*.json                lists, one row per entry
*/*.json              one file per object, with everything that belongs to it;
                      removed images have no URL or caption, nor has any image
                      while the search engine is unavailable
vectors/*.npy         embeddings for NumPy: float32, of unit length;
                      the JSON files refer to them
"""


def export_account(user: Any) -> Iterator[bytes]:
    """Yield the ZIP file in pieces."""
    stream = _Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", ABOUT.format(name=user.get_username()))
        for name, pieces in _files(user):
            with archive.open(name, "w", force_zip64=True) as file:
                for piece in pieces:
                    file.write(piece)
                    if len(stream) > CHUNK_BYTES:
                        yield stream.take()
        for name, vector in _vectors(user):
            archive.writestr(name, vector)
            if len(stream) > CHUNK_BYTES:
                yield stream.take()
    yield stream.take()


class _Stream:
    """A file that only grows; `take` returns and drops what was written."""

    def __init__(self) -> None:
        self._pieces = bytearray()

    def __len__(self) -> int:
        return len(self._pieces)

    def write(self, piece: bytes) -> int:
        self._pieces += piece
        return len(piece)

    def flush(self) -> None:
        """Do nothing: `zipfile` calls this."""

    def close(self) -> None:
        """Do nothing: `take` still returns what was written."""

    def take(self) -> bytes:
        written, self._pieces = bytes(self._pieces), bytearray()
        return written


def _files(user: Any) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield names and contents. Rows that have rows of their own get a file each."""
    yield "account.json", _encode(_json(_fields(user)))
    for relation in _exported_relations(user._meta.model):
        model = relation.related_model
        owned = services.owned_rows(model, relation.field.name, user)
        plural = _plural(model)
        if not _exported_relations(model):
            yield f"{plural}.json", _encode(_json_array(owned))
            continue
        for row in owned.iterator(CHUNK_ROWS):
            name = f"{plural}/{slugify(str(row))[:60]}-{str(row.pk)[:8]}.json"
            yield name, _encode(_json_object(row))


def _plural(model: type[models.Model]) -> str:
    return slugify(str(model._meta.verbose_name_plural))


def _exported_relations(model: type[models.Model]) -> list[services.Relation]:
    relations = services.relations(model)
    return [rel for rel in relations if rel.related_model.__name__ not in EXCLUDED]


def _encode(pieces: Iterator[str]) -> Iterator[bytes]:
    for piece in pieces:
        yield piece.encode()


def _json_array(rows: models.QuerySet) -> Iterator[str]:
    found = rows.iterator(CHUNK_ROWS)
    if rows.model is CollectionItem:
        found = _without_removed(found)
    yield "["
    for number, row in enumerate(found):
        yield ",\n" if number else "\n"
        yield from _json_object(row)
    yield "\n]"


def _without_removed(members: Iterator[CollectionItem]) -> Iterator[CollectionItem]:
    """Blank the URL and the caption of items that the owner must not see any more.

    Without the engine those removed by request are unknown, and all are blanked.
    """
    while chunk := list(islice(members, CHUNK_ROWS)):
        try:
            states = states_of(chunk)
        except SearchUnavailable as error:
            logger.warning("URLs are left out of an account export: %s", error.message)
            states = {}
        datasets = Dataset.objects.hidden_from(chunk[0].collection.owner)
        hidden = set(datasets.values_list("slug", flat=True))
        for member in chunk:
            state = states.get((member.dataset, member.item))
            if state in (None, ItemState.REMOVED) or member.dataset in hidden:
                member.url, member.caption = "", ""
            yield member


def _json_object(row: models.Model) -> Iterator[str]:
    """Yield a row as JSON, with the rows that belong to it."""
    head = "".join(_json(_fields(row)))
    yield head[:-1]
    for relation in _exported_relations(type(row)):
        inside = services.owned_rows(relation.related_model, relation.field.name, row)
        yield f", {json.dumps(_plural(inside.model))}: "
        yield from _json_array(inside)
    yield "}"


def _json(value: Any) -> Iterator[str]:
    yield json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)


def _fields(row: models.Model) -> dict[str, Any]:
    """Return the fields of a row; a vector is the name of its file."""
    return {
        field.name: (
            _vector_file(row._meta, row.pk, field)
            if isinstance(field, models.BinaryField)
            else field.value_from_object(row)
        )
        for field in row._meta.concrete_fields
        if field.name not in SECRETS
    }


def _vector_file(meta: Any, key: Any, field: models.Field) -> str:
    return f"vectors/{slugify(str(meta.verbose_name))}-{key}-{field.name}.npy"


def _vectors(user: Any) -> Iterator[tuple[str, bytes]]:
    for model, path in services.tables().items():
        for field in model._meta.concrete_fields:
            if not isinstance(field, models.BinaryField):
                continue
            owned = services.owned_rows(model, path, user).order_by()
            keyed = owned.values_list("pk", field.name)
            for key, vector in keyed.iterator(CHUNK_ROWS):
                yield _vector_file(model._meta, key, field), _npy(vector)


def _npy(vector: bytes) -> bytes:
    file = BytesIO()
    np.save(file, np.frombuffer(vector, "<f4"), allow_pickle=False)
    return file.getvalue()
