"""Time a collection of 50,000 items: pages, additions, merges and similarity.

    .venv/bin/python benchmarks/collecting.py --members 50000

Runs on a throwaway PostgreSQL, or with --sqlite on a file, and on the embedded engine
with vectors drawn by clip_like.py or bootstrapped from a folder (--vectors). Times are
milliseconds, the median of --rounds.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import UUID

from search.models import SYSTEM

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
SLUG = "bench"


def main() -> None:
    options = arguments()
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        os.environ["VAR_DIR"] = str(folder)
        os.environ["DJANGO_SETTINGS_MODULE"] = "laionweb.settings"
        for name in ("DATABASE_URL", "CLICKHOUSE_URL", "CACHE_URL"):
            os.environ.pop(name, None)
        if not options.sqlite:
            from conftest import free_port, started_postgres

            port = free_port()
            opened.enter_context(started_postgres(port))
            os.environ["DATABASE_URL"] = (
                f"postgres://postgres@127.0.0.1:{port}/postgres"
            )
        start_django()
        measure(options)


def arguments() -> argparse.Namespace:
    from vector_sources import add_option

    parser = argparse.ArgumentParser()
    parser.add_argument("--members", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sqlite", action="store_true")
    add_option(parser)
    return parser.parse_args()


def start_django() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def measure(options: argparse.Namespace) -> None:
    from django.conf import settings
    from django.test import Client
    from vector_sources import describe

    settings.ALLOWED_HOSTS = ["testserver"]
    settings.LIMITS = dict.fromkeys(settings.LIMITS, "")
    ids = draw(options.members + 5_000 * (options.rounds + 1), options.vectors)
    user, large = fill(ids[: options.members])
    client = Client()
    client.force_login(user)
    print(f"{options.members:,} members, {describe(options.vectors)}, p50 of", end=" ")
    print(f"{options.rounds} rounds, {'SQLite' if options.sqlite else 'PostgreSQL'}\n")
    print("| | p50 ms |\n|---|---|")
    pages(client, large, options.rounds)
    changes(user, large, ids[options.members :], options.rounds)
    merges(user, large)
    likeness(large, options.rounds)


def draw(rows: int, folder: Path | None) -> list[int]:
    """Create the dataset, without an index since nothing searches; return its ids."""
    import numpy as np
    import pyarrow as pa
    from support.crowd import Crowd, stored
    from vector_sources import open_source

    vectors = open_source(folder).images(rows)
    numbers = [str(row) for row in range(rows)]
    facts = {
        "url": [f"https://host.example/{number}.jpg" for number in numbers],
        "caption": [f"the caption of picture {number}" for number in numbers],
        "nsfw": ["UNLIKELY"] * rows,
        "license": ["CC-BY"] * rows,
        "similarity": np.full(rows, 0.3, np.float32),
        "width": np.full(rows, 640, np.uint32),
        "height": np.full(rows, 480, np.uint32),
        "deleted": np.zeros(rows, np.uint8),
    }
    ids = np.arange(rows, dtype=np.uint64)
    stored(Crowd(ids, vectors, vectors, pa.table(facts)), SLUG, build=False)
    return ids.tolist()


def fill(ids: list[int]):
    from django.contrib.auth import get_user_model

    from usercollections.models import Collection

    user = get_user_model().objects.create_user("bench")
    large = Collection.objects.create(owner=user, name="large")
    for start in range(0, len(ids), 5_000):
        add(user, large, ids[start : start + 5_000])
    large.refresh_from_db()
    return user, large


def add(user, collection, ids: list[int]) -> UUID:
    from usercollections.collection import members as collection_members
    from usercollections.collection.item_keys import ItemKey

    return collection_members.add(
        user, collection.pk, [ItemKey(SLUG, item) for item in ids]
    ).batch


def report(name: str, times: list[float]) -> None:
    print(f"| {name} | {statistics.median(times) * 1000:.0f} |", flush=True)


@contextmanager
def timed(times: list[float]) -> Iterator[None]:
    """Append the seconds that the block took."""
    started = time.perf_counter()
    yield
    times.append(time.perf_counter() - started)


def pages(client, large, rounds: int) -> None:
    from usercollections.pagination import ORDERS, paginate, with_sorted_caption

    address, headers = f"/collections/{large.pk}/", {"HX-Request": "true"}
    requests = {
        "list of collections": ("/collections/", {}),
        "first page": (address, {}),
    }
    for name, order in ORDERS.items():
        rows = with_sorted_caption(large.items.all())
        half = paginate(rows, order, "", large.size // 2).next
        title = f"a page in the middle: {order.title.lower()}"
        requests[title] = (address, {"order": name, "cursor": half})
    for title, (where, parameters) in requests.items():
        times: list[float] = []
        for _ in range(rounds + 1):
            with timed(times):
                answer = client.get(where, parameters, headers=headers)
            assert answer.status_code == 200
        report(title, times[1:])
    times = []
    with timed(times):
        for _ in client.get(f"{address}export.csv").streaming_content:
            pass
    report("export of all as CSV", times)


def changes(user, large, more: list[int], rounds: int) -> None:
    """Measure changes of a nearly full collection; 5,000 removals make room first."""
    from django.db import transaction

    from usercollections.collection import members as collection_members
    from usercollections.collection.item_keys import ItemKey
    from usercollections.models import Collection
    from usercollections.sharing import lock_owned

    room, added, taken, moved = [], [], [], []
    with transaction.atomic(), timed(room):
        first = [ItemKey(SLUG, item) for item in range(5_000)]
        collection_members.remove(lock_owned(Collection, user, large.pk), first)
    report("take 5,000 out", room)
    for place in range(rounds):
        with timed(added):
            batch = add(user, large, more[place * 5_000 : (place + 1) * 5_000])
        with transaction.atomic(), timed(moved):
            one = [ItemKey(SLUG, more[place * 5_000])]
            collection_members.move(
                lock_owned(Collection, user, large.pk), one, "place", 20_000
            )
        with transaction.atomic(), timed(taken):
            collection_members.undo_add(lock_owned(Collection, user, large.pk), batch)
    report("add 5,000", added)
    report("undo that", taken)
    report("move one to place 20,000", moved)


def merges(user, large) -> None:
    from usercollections.collection import services
    from usercollections.models import Collection
    from usercollections.positions import renumber

    target = Collection.objects.create(owner=user, name="target")
    merged, undone, renumbered = [], [], []
    for _ in range(3):
        with timed(merged):
            batch, _ = services.merge(user, target.pk, large.pk)
        with timed(undone):
            services.unmerge(user, target, batch, large.pk)
    with timed(renumbered):
        renumber(large.items.order_by("position", "pk"))
    report("merge all into an empty one", merged)
    report("undo that", undone)
    report("new positions for all", renumbered)


def likeness(large, rounds: int) -> None:
    from search.retrieval import item_lookup

    ids = list(large.items.values_list("item", flat=True))
    means, likenesses = [], []
    for _ in range(rounds):
        with timed(means):
            vector = item_lookup.mean(SLUG, ids, SYSTEM)
        with timed(likenesses):
            item_lookup.similarities(SLUG, vector, ids, SYSTEM)
    report("mean of all", means)
    report("likeness of all to a vector", likenesses)


if __name__ == "__main__":
    main()
