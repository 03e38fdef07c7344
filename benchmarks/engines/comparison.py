"""The whole of a run: build, ask, print."""

import os
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from . import data, in_memory, measure, ours, postcards_recall, steps, tables, web
from .system import System

SLOW_TO_BUILD = ("pgvector", "qdrant-edge")


def run(options: Namespace, folder: Path) -> None:
    sizes, server = [], web.Server(most_clients=max(measure.CLIENTS))
    try:
        for count in sorted(options.rows):
            sizes.append(size(count, options, folder, server))
        load = os.getloadavg()[0]
        print(f"{os.cpu_count()} cores; load before the first question: {load:.1f}")
        measure.rounds(sizes, options.queries)
        measure.picture_rounds(sizes)
        measure.bursts(sizes, options.seconds)
        for each in sizes:
            print(f"\n{tables.latencies(each)}\n\n{tables.throughputs(each)}")
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
    count: int, options: Namespace, folder: Path, server: web.Server
) -> measure.Size:
    rows = data.Rows(count, data.draw(folder, max(options.rows)))
    dataset = ours.dataset(rows, folder)
    words = data.words(rows, options.queries)
    pictures = data.pictures(rows, options.queries)
    bare = ours.BareQuery(dataset.item_table)
    bare.load(words.vectors[0])
    systems = [
        bare,
        ours.Find(dataset.slug),
        ours.NextPage(dataset.slug),
        *[kind(server, dataset.slug) for kind in web.KINDS],
        *peers(options, rows, folder),
    ]
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
            yield peer(name, rows, folder)
        except ImportError as error:
            advice = "pip install -r benchmarks/requirements.txt"
            print(f"{name} is left out ({error}): {advice}")
        except LookupError as error:  # PostgreSQL refuses to run as root
            print(f"{name} is left out: {error}")


def peer(name: str, rows: data.Rows, folder: Path) -> System:
    if name == "numpy":
        return in_memory.Exact(rows)
    if name == "usearch":
        return in_memory.Usearch(rows, folder)
    if name == "qdrant-edge":
        from .qdrant import Qdrant

        return Qdrant(rows, folder)
    from .pgvector import Pgvector, server_in

    return Pgvector(rows, server_in(folder / "postgres"))
