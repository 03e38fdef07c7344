"""The figures as tables of Markdown."""

import os
import time
from collections.abc import Iterator
from io import StringIO

import numpy as np
from django.conf import settings
from django.core.management import call_command
from django.test import Client
from PIL import Image

from search.encoder.openclip import OpenClipEncoder

from .model import PICTURE_FLOP, peak
from .sites import BATCHED, FULL, HERE, SINGLE, Place
from .users import Figures, Things

ROWS = 1_000
texts: Figures = {}


def print_machine(model: str) -> None:
    loaded = OpenClipEncoder(model)._loaded
    kind = str(loaded.precision).removeprefix("torch.")
    print(f"ViT-B/32 on {loaded.device}, {kind}, {os.cpu_count()} CPU cores.\n")


def print_users(kind: str, figures: Figures) -> None:
    print(f"| {kind} | users | per second | p50 ms | p95 ms | CPU ms each |")
    print("|---|---|---|---|---|---|")
    for (name, users), series in sorted(figures.items(), key=lambda item: item[0][1]):
        p50, p95 = series.percentile(50), series.percentile(95)
        print(
            f"| {name} | {users} | {series.rate:,.1f} | {p50:,.1f} | {p95:,.1f} "
            f"| {series.cpu_ms:,.1f} |"
        )
    print()
    if kind == "texts":
        texts.update(figures)


def print_requests(places: list[Place], count: int) -> None:
    """Measure the page of a text query, for new and for repeated texts."""
    from search.models import Dataset
    from search.retrieval import service

    call_command("migrate", verbosity=0)
    settings.EXAMPLE_POSTCARDS = ROWS
    call_command("load_example", verbosity=0, stdout=StringIO())
    Dataset.objects.update(model=places[0].encoder.model)
    client, things = Client(headers={"host": "localhost"}), Things()
    shares: list[float] = []
    search = service.search

    def timed(*arguments):
        page = search(*arguments)
        shares.append(page.encode_ms)
        return page

    service.search = timed
    print("| whole page of words | p50 ms | p95 ms | of which encoding, p50 ms |")
    print("|---|---|---|---|")
    for again in (False, True):
        for place in places:
            place.use()
            took = list(requests(client, things, count, again))
            encoding = np.median(shares[-len(took) :])
            state = "asked before" if again else "new"
            p50, p95 = np.percentile(took, (50, 95))
            print(f"| {place.name}, {state} | {p50:.1f} | {p95:.1f} | {encoding:.1f} |")
    service.search = search
    print()


def requests(
    client: Client, things: Things, count: int, again: bool
) -> Iterator[float]:
    """Search `count` times, and yield the milliseconds of each."""
    for number in range(count + 1):
        words = "a red house" if again else things.text()
        started = time.perf_counter()
        answer = client.get("/", {"q": words, "dataset": "postcards"})
        assert answer.status_code == 200, answer.content
        if number:  # the first one opens connections
            yield (time.perf_counter() - started) * 1000


def print_bulk(model: str, count: int) -> None:
    """Measure decoded images in large batches, as in ingestion."""
    encoder = OpenClipEncoder(model)
    images = [Image.effect_noise((512, 384), 40).convert("RGB")] * count
    encoder.encode_images(images[:8])
    started, cpu = time.perf_counter(), time.process_time()
    encoder.encode_images(images)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    line = (
        f"In bulk: {count / wall:,.1f} pictures/s, {1000 * cpu / count:.1f} CPU ms each"
    )
    if most := peak():
        line += f", {count / wall * PICTURE_FLOP / most:.1%} of the GPU's peak"
    print(f"{line}.\n")


def print_targets() -> None:
    import torch

    lone = texts[BATCHED, 1].percentile(50) - texts[HERE, 1].percentile(50)
    gain = texts[BATCHED, 64].rate / texts[SINGLE, 64].rate
    wanted = 4.0 if torch.cuda.is_available() else 1.5
    short = texts[FULL, 1].cpu_ms / texts[HERE, 1].cpu_ms
    print("| target | measured | met |\n|---|---|---|")
    print(
        f"| a lone text by Celery ≤ 15 ms longer | {lone:.1f} ms "
        f"| {yes_or_no(lone <= 15)} |"
    )
    print(
        f"| 64 users ≥ {wanted} × the texts/s of one by one | {gain:.1f} × "
        f"| {yes_or_no(gain >= wanted)} |"
    )
    print(f"| as few positions as a text has: CPU saved | {short:.1f} × | |")


def yes_or_no(met: bool) -> str:
    return "yes" if met else "no"
