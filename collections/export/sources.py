"""The sources of exports: collections, searches, concepts and datasets."""

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
from search.query.model import decode_embedding, split_slugs
from search.removals.takedowns import RemovalList
from search.retrieval import scan, service
from search.retrieval.column_stats import without_veils
from search.retrieval.scan import removals_version

from ..collection import rows as collected
from ..models import Collection
from ..pagination import ORDERS
from ..sharing import find_readable
from .export_request import ExportRequest
from .formats import EMBEDDINGS, arrow_schema, to_arrow

Plan = dict[str, Any]
Row = dict[str, Any]
# Columns of the datasets' tables, by the engine's names.
FROM_DATASET = ("caption_similarity", "metadata")


@dataclass(frozen=True)
class Batch:
    """Some rows, with the columns of the source's `schema`.

    The next batch begins at `place`; before it, `looked_at` items were scanned in all.
    `left_out` counts by reason the items between these rows that are not exported.
    """

    table: pa.Table
    place: int
    looked_at: int
    left_out: Mapping[str, int] = field(default_factory=dict)


# Generators, which release their resources when they are closed early.
Batches = Generator[Batch, None, None]


class Source(Protocol):
    @property
    def schema(self) -> pa.Schema: ...

    @property
    def datasets(self) -> list[str]:
        """The slugs of its datasets."""

    def plan(self) -> Plan:
        """Return the state that is fixed at the start, as JSON."""

    def is_current(self, plan: Plan) -> bool:
        """Return whether an export by this plan may be resumed now."""

    def to_scan(self, plan: Plan) -> int:
        """Return how many items there are to scan."""

    def batches(self, plan: Plan, place: int, size: int) -> Batches:
        """Yield batches of up to `size` rows from a place on; the first place is 0."""


class CollectionSource:
    """The items of a collection, in their manual order; a place is a batch number.

    Raises NotFound for a collection that this user must not (any more) see.
    """

    def __init__(self, request: ExportRequest, user: Any):
        self.request, self.user = request, user
        access = find_readable(Collection, user, UUID(request.what["collection"]))
        self.collection, self.is_mine = access.object, access.is_mine
        self.items = self.collection.items.visible_to(user)

    @cached_property
    def datasets(self) -> list[str]:
        slugs = self.items.order_by("dataset").values_list("dataset")
        return [slug for (slug,) in slugs.distinct()]

    @cached_property
    def _known(self) -> dict[str, Dataset]:
        """The datasets that still exist, by slug."""
        found = Dataset.objects.visible_to(self.user).filter(slug__in=self.datasets)
        return {dataset.slug: dataset for dataset in found.order_by("slug")}

    @cached_property
    def schema(self) -> pa.Schema:
        if not self.request.with_embeddings:
            return arrow_schema(self.request.kind, with_notes=self.is_mine)
        lengths = {dataset.dimension for dataset in self._known.values()}
        if not lengths:
            raise NotFound("None of these images is in a dataset any more.")
        if len(lengths) > 1:
            raise InvalidQuery(
                "These images come from datasets with embeddings of different "
                "dimensions. Export them without embeddings."
            )
        return arrow_schema(self.request.kind, lengths.pop(), with_notes=self.is_mine)

    def plan(self) -> Plan:
        return {
            "order": self._order(),
            "size": self.items.count(),
            "removals": {
                slug: removals_version(dataset)["digest"]
                for slug, dataset in self._known.items()
            },
            "safety": {slug: each.safety for slug, each in self._known.items()},
        }

    def is_current(self, plan: Plan) -> bool:
        """Return False for changes of the items, their order or removal lists."""
        return plan == self.plan()

    def _order(self) -> str:
        """Return a digest of the items in their order."""
        items = ORDERS["hand"].sorted(self.items)
        digest = hashlib.sha256()
        for (key,) in items.values_list("pk").iterator(chunk_size=2_000):
            digest.update(f"{key} ".encode())
        return digest.hexdigest()

    def to_scan(self, plan: Plan) -> int:
        return plan["size"]

    def batches(self, plan: Plan, place: int, size: int) -> Batches:
        before, number = 0, 0
        found = collected.batches(self.collection, self.user, with_notes=self.is_mine)
        for rows in found:
            count = min(collected.BATCH_ROWS, plan["size"] - before)
            for first in range(0, max(len(rows), 1), size):
                number += 1
                if number <= place:
                    continue
                some = rows[first : first + size]
                is_last = first + size >= len(rows)
                table, listed = self._table(some)
                removed = max(0, count - len(rows)) if is_last else 0
                yield Batch(
                    table,
                    number,
                    before + (count if is_last else first + len(some)),
                    {"removed": listed + removed},
                )
            before += count

    def _table(self, rows: list[Row]) -> tuple[pa.Table, int]:
        """Return rows in the export's columns, and how many removals are left out."""
        own = pa.table(
            {
                name: pa.array([_value(row, name) for row in rows], kind)
                for name, kind in _kinds(self.schema)
            }
        )
        from_datasets = self._from_datasets(rows)
        for name in from_datasets.column_names:
            own = own.append_column(name, from_datasets[name])
        listed = self._listed(rows, from_datasets)
        table = to_arrow(own, self.schema)
        return table.filter(pa.array(~listed)), int(np.count_nonzero(listed))

    def _from_datasets(self, rows: list[Row]) -> pa.Table:
        """Return the datasets' values, row by row; nulls for items that are missing."""
        names = [*FROM_DATASET, *(EMBEDDINGS if self.request.with_embeddings else ())]
        types = [self.schema.field(EMBEDDINGS.get(name, name)).type for name in names]
        empty = pa.schema(zip(names, types, strict=True))
        tables = [empty.empty_table()]
        place_of: dict[tuple[str, int], int] = {}
        for slug in self._known:
            ids = [row["id"] for row in rows if row["dataset"] == slug]
            table = self._contents(slug, ids)
            if table is not None:
                start = len(place_of)
                keys = ((slug, item_id) for item_id in table["id"].to_pylist())
                place_of |= {key: start + n for n, key in enumerate(keys)}
                tables.append(table.select(names).cast(empty))
        places = [place_of.get((row["dataset"], row["id"])) for row in rows]
        return pa.concat_tables(tables).take(pa.array(places, pa.int64()))

    def _contents(self, slug: str, ids: list[int]) -> pa.Table | None:
        if not ids:
            return None
        try:
            return scan.contents(
                self._known[slug],
                ids,
                with_embeddings=self.request.with_embeddings,
            )
        except NotFound:
            return None  # its table was dropped

    @cached_property
    def _removals(self) -> dict[str, RemovalList]:
        return {slug: RemovalList.of(own) for slug, own in self._known.items()}

    def _listed(self, rows: list[Row], from_datasets: pa.Table) -> np.ndarray:
        """Return which rows are on a removal list, hidden in the engine or not yet."""
        listed = np.zeros(len(rows), bool)
        for slug, removals in self._removals.items():
            own = [n for n, row in enumerate(rows) if row["dataset"] == slug]
            if own:
                listed[own] = removals.contains(
                    [rows[n]["id"] for n in own],
                    [rows[n]["url"] for n in own],
                    scan.url_digests(from_datasets["metadata"].take(own)),
                )
        return listed


def _kinds(schema: pa.Schema) -> Iterator[tuple[str, pa.DataType]]:
    """Return the columns that an item of a collection has by itself."""
    others = {*FROM_DATASET, *EMBEDDINGS.values()}
    return ((f.name, f.type) for f in schema if f.name not in others)


def _value(row: Row, name: str) -> Any:
    return datetime.fromisoformat(row[name]) if name == "added_at" else row[name]


def source_of(request: ExportRequest, user: Any) -> Source:
    """Return the source of an export. Raises NotFound for what the user cannot see."""
    if request.kind == "collection":
        return CollectionSource(request, user)
    source = SearchSource if request.kind == "search" else ScanSource
    return source(request, user)


@dataclass(frozen=True)
class DatasetSource:
    """A source of the items of one dataset, or for a search of several.

    Raises NotFound for a dataset that this user must not (any more) see.
    """

    request: ExportRequest
    user: Any

    @cached_property
    def known(self) -> dict[str, Dataset]:
        slugs = split_slugs(self.request.what["dataset"])
        return {slug: Dataset.for_slug(slug, self.user) for slug in slugs}

    @property
    def datasets(self) -> list[str]:
        return list(self.known)

    @cached_property
    def dataset(self) -> Dataset:
        """The first dataset, which decides what all have in common."""
        return self.known[self.datasets[0]]

    @cached_property
    def removals(self) -> dict[str, RemovalList]:
        return {slug: RemovalList.of(own) for slug, own in self.known.items()}

    @cached_property
    def schema(self) -> pa.Schema:
        return arrow_schema(
            self.request.kind,
            self.dataset.dimension if self.request.with_embeddings else None,
            with_dataset=len(self.known) > 1,
        )

    @property
    def _version(self) -> Plan:
        """The state that an export depends on.

        It is the keys of datasets, since a slug may be reused, their removal lists, and
        which items are hidden for what they are.
        """
        datasets, filters = self.known.values(), self.request.filters
        return {
            "datasets": [each.pk for each in datasets],
            "removals": [removals_version(each)["digest"] for each in datasets],
            "nsfw": [without_veils(each, filters).nsfw for each in datasets],
            "safety": [each.safety for each in datasets],
        }

    def is_current(self, plan: Plan) -> bool:
        """Return False for changed removal lists: finished parts may have the items."""
        return self._version.items() <= plan.items()

    def _export_table(self, table: pa.Table, slug: str) -> tuple[pa.Table, int]:
        """Return rows in the export's columns, and how many removals are left out."""
        allowed = scan.without_listed(table, self.removals[slug])
        if "dataset" in self.schema.names:
            allowed = allowed.append_column("dataset", pa.repeat(slug, len(allowed)))
        return to_arrow(allowed, self.schema), len(table) - len(allowed)


class ScanSource(DatasetSource):
    """All items that pass the filters, or are similar enough to a concept.

    A place is an item id.
    """

    def plan(self) -> Plan:
        return self._version | {"shards": scan.shards_of(self.dataset)}

    def to_scan(self, plan: Plan) -> int:
        return self._scan(plan).to_look_at

    def batches(self, plan: Plan, place: int, size: int) -> Batches:
        scan = self._scan(plan)
        for batch in scan.batches(place, size):
            table, listed = self._export_table(batch.table, self.dataset.slug)
            yield Batch(
                table,
                batch.next,
                scan.looked_at(batch.next),
                {"removed": batch.removed + listed, "nsfw": batch.nsfw},
            )

    def _scan(self, plan: Plan) -> scan.Scan:
        similar = {}
        what = self.request.what
        if self.request.kind == "concept":
            vector = np.array(decode_embedding(what["embedding"]), np.float32)
            similar = {
                "vector": vector,
                "field": what["field"],
                "at_least": what["at_least"],
            }
        return scan.Scan(
            self.dataset,
            plan["shards"],
            self.request.filters.replace(nsfw=plan["nsfw"][0]),
            with_embeddings=self.request.with_embeddings,
            **similar,
        )


class SearchSource(DatasetSource):
    """The results of a search, most similar first; a place is a rank."""

    def plan(self) -> Plan:
        query = self.request.search_query
        ranked = service.rank(
            query, self.user, service.unlimited, self.request.what["limit"]
        )
        return self._version | {
            "of": list(ranked.datasets),
            "ids": ranked.ids.tolist(),
            "similarities": ranked.similarities.tolist(),
            "exact": ranked.exact,
            "left_out": {
                "removed": ranked.hidden.removed,
                "nsfw": ranked.hidden.nsfw,
                "duplicates": ranked.hidden.duplicates,
            },
        }

    def to_scan(self, plan: Plan) -> int:
        return len(plan["ids"])

    def batches(self, plan: Plan, place: int, size: int) -> Batches:
        ranks = range(len(plan["ids"]))
        # A search without results has one batch, to count what is left out.
        for first in range(place, max(len(ranks), 1), size):
            some = ranks[first : first + size]
            tables, places = [], []
            for slug in self.datasets:
                own = [rank for rank in some if plan["of"][rank] == slug]
                table, found = self._results(slug, plan, own)
                tables.append(table)
                places += found
            table = pa.concat_tables(tables).take(np.argsort(places, kind="stable"))
            # What the search left out has no rank, and is counted in the first batch.
            left_out = {} if first else dict(plan["left_out"])
            gone = len(some) - len(table)  # removed since the search
            left_out["removed"] = left_out.get("removed", 0) + gone
            yield Batch(table, first + max(len(some), 1), first + len(some), left_out)

    def _results(
        self, slug: str, plan: Plan, ranks: list[int]
    ) -> tuple[pa.Table, list[int]]:
        """Return those results of a dataset that are there, and their ranks."""
        rank_of = {plan["ids"][rank]: rank for rank in ranks}
        table = scan.contents(
            self.known[slug],
            list(rank_of),
            with_embeddings=self.request.with_embeddings,
        )
        found = [rank_of[item_id] for item_id in table["id"].to_pylist()]
        values = [plan["similarities"][rank] for rank in found]
        table = table.append_column("similarity", pa.array(values, pa.float32()))
        table, _ = self._export_table(table, slug)
        return table, [rank_of[item_id] for item_id in table["id"].to_pylist()]
