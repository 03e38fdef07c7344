"""Where the rows of an export come from, by what was asked for."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from search.query.model import decode_embedding
from search.removals.takedowns import RemovalList
from search.retrieval import scan, service
from search.retrieval.dataset_index import Corpus
from search.retrieval.query_encoder import VECTOR_FIELDS
from search.retrieval.scan import removals_version

from .asked import Asked, filters_of, search_query
from .batch import Batch, Batches, Plan, Source
from .columns import schema_of, shaped
from .members import Members


def source_of(asked: Asked, user: Any) -> Source:
    """Raises NotFound for what is no more, or not for this user's eyes."""
    if asked.kind == "collection":
        return Members(asked, user)
    return Ranked(asked) if asked.kind == "search" else Scanned(asked)


@dataclass(frozen=True)
class OfDataset:
    """What is of one dataset."""

    asked: Asked

    @cached_property
    def corpus(self) -> Corpus:
        return Corpus.named(self.asked.what["dataset"])

    @property
    def datasets(self) -> list[str]:
        return [self.corpus.dataset.slug]

    @cached_property
    def removals(self) -> RemovalList:
        return RemovalList.of(self.corpus.dataset)

    @cached_property
    def schema(self) -> pa.Schema:
        dimension = self.corpus.dataset.dimension
        return schema_of(self.asked, dimension if self.asked.with_embeddings else None)

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
        return shaped(shown, self.schema), len(table) - len(shown)


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
        found = service.ranked(query, self.asked.what["limit"])
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
