"""The whole of a run: build, tune, ask, print."""

import os
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from vector_sources import VectorSource, describe, open_source

from . import data, in_memory, measure, ours, postcards_recall, steps, tables, web
from .system import System
from .tuning import TUNING_QUESTIONS, tune

SLOW_TO_BUILD = ("pgvector", "qdrant-edge")


def run(options: Namespace, folder: Path) -> None:
    source = open_source(options.vectors)
    print(f"Vectors: {describe(options.vectors)}.")
    sizes, server = [], web.Server(most_clients=max(measure.CLIENTS))
    try:
        for count in sorted(options.rows):
            sizes.append(size(count, options, folder, server, source))
        load = os.getloadavg()[0]
        print(f"{os.cpu_count()} cores; load before the first question: {load:.1f}")
        measure.rounds(sizes, options.queries)
        measure.picture_rounds(sizes)
        if options.seconds:
            measure.bursts(sizes, options.seconds)
        for each in sizes:
            print(f"\n{tables.latencies(each)}")
            if options.seconds:
                print(f"\n{tables.throughputs(each)}")
            print(f"\n{steps.steps(each, slug=ours.slug_of(each.rows))}")
        if options.postcards:
            print(f"\n{postcards_recall.recall(options.postcards, folder)}")
        print(f"\n{tables.targets(sizes)}")
    finally:
        for each in sizes:
            for system in each.systems:
                system.close()
        server.close()


def size(
    count: int,
    options: Namespace,
    folder: Path,
    server: web.Server,
    source: VectorSource,
) -> measure.Size:
    rows = data.Rows(count, data.draw(folder, max(options.rows), source))
    words = data.Questions(rows, source.questions[: options.queries])
    pictures = data.Questions(rows, source.image_queries(options.queries))
    systems = [
        *ours.systems(rows, folder, source, words.vectors[0]),
        *[kind(server, ours.slug_of(rows)) for kind in web.KINDS],
        *peers(options, rows, folder),
    ]
    captions = data.Questions(rows, source.captions[:TUNING_QUESTIONS])
    for system in systems:
        tune(system, captions)
    return measure.Size(rows, words, pictures, systems)


def peers(options: Namespace, rows: data.Rows, folder: Path) -> Iterator[System]:
    """Yield the systems that are available; name the others, with the reason."""
    for name in options.peers:
        if name == "none":
            continue
        if name in SLOW_TO_BUILD and rows.count > options.peer_rows:
            print(f"{name} is left out at {rows.count:,} rows: see --peer-rows.")
            continue
        try:
            yield from peer(name, rows, folder)
        except ImportError as error:
            advice = "pip install -r benchmarks/requirements.txt"
            print(f"{name} is left out ({error}): {advice}")
        except LookupError as error:  # PostgreSQL refuses to run as root
            print(f"{name} is left out: {error}")


def peer(name: str, rows: data.Rows, folder: Path) -> Sequence[System]:
    """Return the systems of a peer. Raise ImportError for one that is missing."""
    if name == "numpy":
        return [in_memory.Exact(rows)]
    if name == "usearch":
        return [in_memory.Usearch(rows, folder)]
    if name == "qdrant-edge":
        from .qdrant import Qdrant

        return [Qdrant(rows, folder)]
    if name == "faiss":
        from . import faiss_indexes

        return [kind(rows, folder) for kind in faiss_indexes.KINDS]
    from .pgvector import Pgvector, server_in

    return [Pgvector(rows, server_in(folder / "postgres"))]
