"""faiss in this process: IVF-Flat and HNSW, in float32, filtered by a bitmap."""

import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from .data import COUNT, FILTERS, Rows
from .in_memory import CONNECTIONS, CONSTRUCTION
from .system import LADDER, LONG_LADDER, System

LISTS_PER_ROOT = 4  # of the rows: faiss's advice is 4 to 16
TRAINED_ON = 64  # rows a list
ITERATIONS = 10


class Faiss(System):
    """A faiss index of unit vectors, kept in a file."""

    def __init__(self, rows: Rows, folder: Path):
        self.rows = rows
        file = folder / f"{self.name.lower().replace(' ', '-')}-{rows.count}"
        if file.exists():
            self.index = faiss.read_index(str(file))
        else:
            started = time.perf_counter()
            self.index = self.built()
            faiss.write_index(self.index, str(file))
            print(f"{self.name}: built in {time.perf_counter() - started:,.0f} s")
        faiss.omp_set_num_threads(1)

    def built(self) -> faiss.Index:
        raise NotImplementedError

    def parameters(self, effort: int, among: dict[str, Any]) -> faiss.SearchParameters:
        raise NotImplementedError

    def add(self, index: faiss.Index) -> None:
        for part in self.rows.chunks():
            index.add(self.rows.vectors[part].astype(np.float32))

    def search(self, vector: np.ndarray, where: str) -> list[int]:
        among = {}
        if FILTERS[where]:
            passing = self.rows.matching(FILTERS[where])
            bits = np.packbits(passing, bitorder="little")
            among["sel"] = faiss.IDSelectorBitmap(bits)
        parameters = self.parameters(self.effort[where], among)
        _, found = self.index.search(vector[None], COUNT, params=parameters)
        return self.rows.shown(found[0][found[0] >= 0])


class FaissClusters(Faiss):
    name = "faiss IVF-Flat"
    effort_name = "lists"
    efforts = (1, 2, 4, 8, *LADDER)

    def built(self) -> faiss.Index:
        dimension = self.rows.vectors.shape[1]
        lists = int(LISTS_PER_ROOT * self.rows.count**0.5)
        lists = min(lists, max(1, self.rows.count // TRAINED_ON))
        quantizer = faiss.IndexFlatIP(dimension)
        index = faiss.IndexIVFFlat(
            quantizer, dimension, lists, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.spherical = True
        index.cp.niter, index.cp.max_points_per_centroid = ITERATIONS, TRAINED_ON
        step = max(1, self.rows.count // (lists * TRAINED_ON))
        index.train(self.rows.vectors[::step].astype(np.float32))
        self.add(index)
        return index

    def parameters(self, effort: int, among: dict[str, Any]) -> faiss.SearchParameters:
        return faiss.SearchParametersIVF(nprobe=effort, **among)


class FaissGraph(Faiss):
    name = "faiss HNSW"
    efforts = LONG_LADDER

    def built(self) -> faiss.Index:
        dimension = self.rows.vectors.shape[1]
        metric = faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexHNSWFlat(dimension, CONNECTIONS, metric)
        index.hnsw.efConstruction = CONSTRUCTION
        self.add(index)
        return index

    def parameters(self, effort: int, among: dict[str, Any]) -> faiss.SearchParameters:
        return faiss.SearchParametersHNSW(efSearch=effort, **among)


KINDS = (FaissClusters, FaissGraph)
