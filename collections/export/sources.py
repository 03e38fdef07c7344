"""Where the rows of an export come from, by what was asked for."""

import hashlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol
from uuid import UUID

import numpy as np
import pyarrow as pa

from search.errors import InvalidQuery, NotFound
from search.models import Dataset
from search.query.model import decode_embedding
from search.removals.takedowns import RemovalList
from search.retrieval import scan, service
from search.retrieval.dataset_index import DatasetIndex
from search.retrieval.query_encoder import VECTOR_FIELDS
from search.retrieval.scan import removals_version

from ..collection import rows as collected
from ..models import Collection
from ..pagination import ORDERS
from ..sharing import find_readable
from .export_request import ExportRequest, filters_of, search_query
from .formats import EMBEDDINGS, arrow_schema, to_arrow

Plan = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """Some rows, in columns as the source's `schema` has them.

    The next batch begins at `place`; up to it `looked_at` items were looked at in all.
    `left_out` counts what stood between these rows and is not among them, by reason.
    """

    table: pa.Table
    place: int
    looked_at: int
    left_out: Mapping[str, int] = field(default_factory=dict)


# They can be closed before the last one: what they are read from is let go.
Batches = Generator[Batch, None, None]


class Source(Protocol):
    @property
    def schema(self) -> pa.Schema: ...

    @property
    def datasets(self) -> list[str]:
        """Their slugs."""

    def plan(self) -> Plan:
        """What is fixed at the start."""

    def holds(self, plan: Plan) -> bool:
        """Whether rows written by this plan may be followed by rows read now."""

    def to_look_at(self, plan: Plan) -> int:
        """How many items there are to look at."""

    def batches(self, plan: Plan, place: int, size: int) -> Batches:
        """From a place on, the first of which is 0; up to `size` rows each."""


Row = dict[str, Any]
# Of a dataset's own, by the names that the engine's columns have.
FROM_DATASET = ("caption_similarity", "metadata")


class Members:
    """In the order made by hand; a place counts the batches before it.

    Raises NotFound for a collection that is not (any more) for this user's eyes.
    """

    def __init__(self, asked: ExportRequest, user: Any):
        self.asked = asked
        way = find_readable(Collection, user, UUID(asked.what["collection"]))
        self.collection, self.is_mine = way.object, way.is_mine

    @cached_property
    def datasets(self) -> list[str]:
        slugs = self.collection.items.order_by("dataset").values_list("dataset")
        return [slug for (slug,) in slugs.distinct()]

    @cached_property
    def _known(self) -> dict[str, Dataset]:
        """The datasets that are still there, by slug."""
        found = Dataset.objects.filter(slug__in=self.datasets)
        return {dataset.slug: dataset for dataset in found.order_by("slug")}

    @cached_property
    def schema(self) -> pa.Schema:
        if not self.asked.with_embeddings:
            return arrow_schema(self.asked, with_notes=self.is_mine)
        lengths = {dataset.dimension for dataset in self._known.values()}
        if not lengths:
            raise NotFound("None of these pictures is in a dataset any more.")
        if len(lengths) > 1:
            raise InvalidQuery(
                "These pictures are of datasets whose embeddings have different "
                "lengths: export them without."
            )
        return arrow_schema(self.asked, lengths.pop(), with_notes=self.is_mine)

    def plan(self) -> Plan:
        return {
            "order": self._order(),
            "size": self.collection.items.count(),
            "removals": {
                slug: removals_version(dataset)["digest"]
                for slug, dataset in self._known.items()
            },
        }

    def holds(self, plan: Plan) -> bool:
        """Members that came, went or were moved, and removals, shift the places."""
        return plan == self.plan()

    def _order(self) -> str:
        """A digest of which members there are and in which order they come."""
        members = ORDERS["hand"].sorted(self.collection.items.all())
        digest = hashlib.sha256()
        for (key,) in members.values_list("pk").iterator(chunk_size=2_000):
            digest.update(f"{key} ".encode())
        return digest.hexdigest()

    def to_look_at(self, plan: Plan) -> int:
        return plan["size"]

    def batches(self, plan: Plan, place: int, size: int) -> Batches:
        before, number = 0, 0
        for found in collected.batches(self.collection, with_notes=self.is_mine):
            there = min(collected.AT_ONCE, plan["size"] - before)
            for first in range(0, max(len(found), 1), size):
                number += 1
                if number <= place:
                    continue
                some = found[first : first + size]
                is_last = first + size >= len(found)
                table, listed = self._table(some)
                removed = max(0, there - len(found)) if is_last else 0
                yield Batch(
                    table,
                    number,
                    before + (there if is_last else first + len(some)),
                    {"removed": listed + removed},
                )
            before += there

    def _table(self, rows: list[Row]) -> tuple[pa.Table, int]:
        """These rows in the columns of the export, and how many are on a list."""
        own = pa.table(
            {
                name: pa.array([_value(row, name) for row in rows], kind)
                for name, kind in _kinds(self.schema)
            }
        )
        known = self._from_datasets(rows)
        for name in known.column_names:
            own = own.append_column(name, known[name])
        stay = ~self._listed(rows, known)
        table = to_arrow(own, self.schema)
        return table.filter(pa.array(stay)), int(np.count_nonzero(~stay))

    def _from_datasets(self, rows: list[Row]) -> pa.Table:
        """What the datasets know, row by row; nulls for items that they lost."""
        names = [*FROM_DATASET, *(EMBEDDINGS if self.asked.with_embeddings else ())]
        types = [self.schema.field(EMBEDDINGS.get(name, name)).type for name in names]
        empty = pa.schema(zip(names, types, strict=True))
        found = [empty.empty_table()]
        place_of: dict[tuple[str, int], int] = {}
        for slug in self._known:
            ids = [row["id"] for row in rows if row["dataset"] == slug]
            table = self._contents(slug, ids)
            if table is not None:
                start = len(place_of)
                keys = ((slug, item_id) for item_id in table["id"].to_pylist())
                place_of |= {key: start + n for n, key in enumerate(keys)}
                found.append(table.select(names).cast(empty))
        places = [place_of.get((row["dataset"], row["id"])) for row in rows]
        return pa.concat_tables(found).take(pa.array(places, pa.int64()))

    def _contents(self, slug: str, ids: list[int]) -> pa.Table | None:
        if not ids:
            return None
        try:
            return scan.contents(
                DatasetIndex(self._known[slug]),
                ids,
                with_embeddings=self.asked.with_embeddings,
            )
        except NotFound:
            return None  # its table is dropped

    @cached_property
    def _removals(self) -> dict[str, RemovalList]:
        return {slug: RemovalList.of(own) for slug, own in self._known.items()}

    def _listed(self, rows: list[Row], known: pa.Table) -> np.ndarray:
        """Which rows a removal list names, though the engine may not know it yet."""
        named = np.zeros(len(rows), bool)
        for slug, removals in self._removals.items():
            own = [n for n, row in enumerate(rows) if row["dataset"] == slug]
            if own:
                named[own] = removals.names(
                    [rows[n]["id"] for n in own],
                    [rows[n]["url"] for n in own],
                    scan.url_digests(known["metadata"].take(own)),
                )
        return named


def _kinds(schema: pa.Schema) -> Iterator[tuple[str, pa.DataType]]:
    """The columns that a member has by itself."""
    others = {*FROM_DATASET, *EMBEDDINGS.values()}
    return ((f.name, f.type) for f in schema if f.name not in others)


def _value(row: Row, name: str) -> Any:
    return datetime.fromisoformat(row[name]) if name == "added_at" else row[name]


def source_of(asked: ExportRequest, user: Any) -> Source:
    """Raises NotFound for what is no more, or not for this user's eyes."""
    if asked.kind == "collection":
        return Members(asked, user)
    return Ranked(asked) if asked.kind == "search" else Scanned(asked)


@dataclass(frozen=True)
class OfDataset:
    """What is of one dataset."""

    asked: ExportRequest

    @cached_property
    def corpus(self) -> DatasetIndex:
        return DatasetIndex.for_slug(self.asked.what["dataset"])

    @property
    def datasets(self) -> list[str]:
        return [self.corpus.dataset.slug]

    @cached_property
    def removals(self) -> RemovalList:
        return RemovalList.of(self.corpus.dataset)

    @cached_property
    def schema(self) -> pa.Schema:
        dimension = self.corpus.dataset.dimension
        return arrow_schema(
            self.asked, dimension if self.asked.with_embeddings else None
        )

    @property
    def _ground(self) -> Plan:
        """What all rows stand on; the same slug may be another dataset's later."""
        dataset = self.corpus.dataset
        removals = removals_version(dataset)["digest"]
        return {"dataset": dataset.pk, "removals": removals}

    def holds(self, plan: Plan) -> bool:
        """Else what was put on a removal list since would stay among the rows."""
        return self._ground.items() <= plan.items()

    def _shown(self, table: pa.Table) -> tuple[pa.Table, int]:
        """In the columns of the export, and how many were on a removal list."""
        shown = scan.without_listed(table, self.removals)
        return to_arrow(shown, self.schema), len(table) - len(shown)


class Scanned(OfDataset):
    """All of a dataset that pass the filters, or are near enough to a concept.

    A place is an item's id.
    """

    def plan(self) -> Plan:
        return self._ground | {"shards": scan.shards_of(self.corpus.dataset)}

    def to_look_at(self, plan: Plan) -> int:
        return self._scan(plan).to_look_at

    def batches(self, plan: Plan, place: int, size: int) -> Batches:
        scan = self._scan(plan)
        for found in scan.batches(place, size):
            table, listed = self._shown(found.table)
            yield Batch(
                table,
                found.next,
                scan.looked_at(found.next),
                {"removed": found.removed + listed, "nsfw": found.nsfw},
            )

    def _scan(self, plan: Plan) -> scan.Scan:
        near = {}
        what = self.asked.what
        if self.asked.kind == "concept":
            vector = np.array(decode_embedding(what["embedding"]), np.float32)
            fields = VECTOR_FIELDS if what["field"] == "both" else (what["field"],)
            near = {
                "vectors": dict.fromkeys(fields, vector),
                "at_least": what["at_least"],
            }
        return scan.Scan(
            self.corpus,
            plan["shards"],
            filters_of(self.asked),
            with_embeddings=self.asked.with_embeddings,
            **near,
        )


class Ranked(OfDataset):
    """The results of a search, nearest first; a place is a rank."""

    def plan(self) -> Plan:
        query = search_query(self.asked)
        found = service.rank(query, self.asked.what["limit"])
        return self._ground | {
            "ids": found.ids.tolist(),
            "similarities": found.similarities.tolist(),
            "exact": found.exact,
            "left_out": {
                "removed": found.hidden.removed,
                "nsfw": found.hidden.nsfw,
                "duplicates": found.hidden.duplicates,
            },
        }

    def to_look_at(self, plan: Plan) -> int:
        return len(plan["ids"])

    def batches(self, plan: Plan, place: int, size: int) -> Batches:
        similarities = dict(zip(plan["ids"], plan["similarities"], strict=True))
        # One that found nothing has a batch, too: of what is left out.
        for at in range(place, max(len(plan["ids"]), 1), size):
            ids = plan["ids"][at : at + size]
            table = scan.contents(
                self.corpus, ids, with_embeddings=self.asked.with_embeddings
            )
            near = [similarities[item_id] for item_id in table["id"].to_pylist()]
            column = pa.array(near, pa.float32())
            gone = len(ids) - len(table)  # since the search
            table, listed = self._shown(table.append_column("similarity", column))
            # What the search left out stands nowhere in between: it counts at once.
            left_out = {} if at else dict(plan["left_out"])
            left_out["removed"] = left_out.get("removed", 0) + gone + listed
            yield Batch(table, at + max(len(ids), 1), at + len(ids), left_out)
