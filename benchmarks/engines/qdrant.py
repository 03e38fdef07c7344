"""Qdrant's engine within this process: its package qdrant-edge-py."""

import time
from pathlib import Path

import numpy as np
import qdrant_edge as edge

from .data import COLUMNS, COUNT, FILTERS, Rows
from .in_memory import CONNECTIONS, CONSTRUCTION
from .system import LONG_LADDER, System

BATCH = 1_000
FULL_SCAN_KB = 10_000  # Qdrant's own default


class Qdrant(System):
    """One segment, vectors in float16, an index on each column that is filtered by."""

    name = "qdrant-edge"
    efforts = LONG_LADDER

    def __init__(self, rows: Rows, folder: Path):
        self.rows = rows
        place = folder / f"qdrant-{rows.count}"
        if (place / "built").exists():
            self.shard = edge.EdgeShard.load(str(place))
        else:
            place.mkdir(exist_ok=True)
            self.build(place)
        self.conditions = {name: condition(name) for name in FILTERS}

    def build(self, place: Path) -> None:
        started = time.perf_counter()
        self.shard = edge.EdgeShard.create(str(place), config(self.rows))
        kinds = edge.PayloadSchemaType
        for column, kind in {
            "width": kinds.Integer,
            "height": kinds.Integer,
            "caption_similarity": kinds.Float,
        }.items():
            made = edge.UpdateOperation.create_field_index(column, kind)
            self.shard.update(made)
        for part in self.rows.chunks(BATCH):
            vectors = self.rows.vectors[part].astype(np.float32).tolist()
            facts = self.rows.facts.slice(part.start, BATCH).to_pylist()
            points = [
                edge.Point(fact["id"], vector, fact)
                for fact, vector in zip(facts, vectors, strict=True)
            ]
            self.shard.update(edge.UpdateOperation.upsert_points(points))
        self.shard.optimize()
        self.shard.flush()
        (place / "built").touch()
        print(f"qdrant: built in {time.perf_counter() - started:,.0f} s")

    def search(self, vector: np.ndarray, where: str) -> list[int]:
        request = edge.QueryRequest(
            limit=COUNT,
            query=edge.Query.Nearest(vector.tolist()),
            filter=self.conditions[where],
            params=edge.SearchParams(hnsw_ef=self.effort[where]),
            with_payload=True,
        )
        return [point.payload["id"] for point in self.shard.query(request)]

    def close(self) -> None:
        self.shard.close()


def config(rows: Rows) -> edge.EdgeConfig:
    graph = edge.HnswIndexConfig(
        m=CONNECTIONS, ef_construct=CONSTRUCTION, full_scan_threshold=FULL_SCAN_KB
    )
    vectors = edge.EdgeVectorParams(
        size=rows.vectors.shape[1],
        distance=edge.Distance.Cosine,
        datatype=edge.VectorStorageDatatype.Float16,
        hnsw_config=graph,
    )
    optimizers = edge.EdgeOptimizersConfig(
        default_segment_number=1,
        max_segment_size=rows.count * 4,  # kB
        indexing_threshold=1_000,
    )
    return edge.EdgeConfig(vectors=vectors, hnsw_config=graph, optimizers=optimizers)


def condition(where: str) -> edge.Filter | None:
    must = [
        edge.FieldCondition(key=COLUMNS[key], range=edge.RangeFloat(gte=least))
        for key, least in FILTERS[where].items()
    ]
    return edge.Filter(must=must) if must else None
