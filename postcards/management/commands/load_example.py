import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from postcards.shards import MODEL, is_complete
from search.errors import SearchError
from search.ingestion import control, publishing, shard_run
from search.ingestion.progress import MOVING
from search.models import Dataset, Shard

SLUG = "postcards"
SHARD_ROWS = 1_000
POLL_S = 0.2
NICENESS = 10


class Stopped(Exception):
    """The server stops while the example is loaded."""


class Command(BaseCommand):
    help = (
        "Draw the example dataset and bring it in, unless there is a dataset already."
    )
    # A threading.Event, of the server beside which the command runs.
    stealth_options = ("stopped",)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--queue", action="store_true", help="Leave the import to the workers."
        )

    def handle(
        self, *, queue: bool, stopped: Event | None = None, **_options: Any
    ) -> None:
        if not is_missing():
            return
        self.stopped = stopped or Event()
        bring_in = self.queue if queue else import_now
        if queue:
            self.say(
                f"Drawing {settings.EXAMPLE_POSTCARDS:,} postcards as an example: the"
                " first can be searched soon."
            )
        try:
            dataset = self.load(bring_in)
        except Stopped:
            return
        except (SearchError, OSError) as error:
            raise CommandError(f"The example is not complete: {error}") from error
        if queue:
            self.say(f"All {dataset.item_count():,} postcards can be searched.")

    def load(self, bring_in: Callable[[Dataset, QuerySet[Shard]], None]) -> Dataset:
        """Draw what is missing, and bring in the first shard as soon as it is there."""
        folder = settings.VAR_DIR / SLUG
        count = -(-settings.EXAMPLE_POSTCARDS // SHARD_ROWS)
        rows = -(-settings.EXAMPLE_POSTCARDS // count)
        dataset, _ = Dataset.objects.get_or_create(
            slug=SLUG,
            defaults={
                "title": "Postcards",
                "model": MODEL,
                "weights": "",
                "source": str(folder),
                "without_removal_list": True,
            },
        )
        shards = [Shard(dataset=dataset, number=number) for number in range(count)]
        Shard.objects.bulk_create(shards, ignore_conflicts=True)
        drawing = self.draw(folder, count, rows)
        try:
            while drawing.poll() is None and not is_complete(folder, 0):
                self.wait()
            if is_complete(folder, 0):
                bring_in(dataset, dataset.shards.filter(number=0))
            while drawing.poll() is None:
                self.wait()
        finally:
            drawing.terminate()
        if drawing.returncode:
            raise CommandError("The postcards could not be drawn.")
        bring_in(dataset, dataset.shards.all())
        return dataset

    def draw(self, folder: Path, shards: int, rows: int) -> subprocess.Popen:
        """Start drawing in a process of its own: it would hold up all searches here."""
        numbers = ("--shards", str(shards), "--rows", str(rows))
        command = ("make_postcards", "--out", str(folder), *numbers, "--verbosity=0")
        drawing = subprocess.Popen(
            [sys.executable, settings.BASE_DIR / "manage.py", *command],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C in the terminal is for the server
        )
        os.setpriority(os.PRIO_PROCESS, drawing.pid, NICENESS)
        return drawing

    def queue(self, dataset: Dataset, shards: QuerySet[Shard]) -> None:
        control.queue(dataset, shards)
        while shards.filter(state__in=MOVING).exists():
            self.wait()
        check(shards)

    def wait(self) -> None:
        if self.stopped.wait(POLL_S):
            raise Stopped

    def say(self, sentence: str) -> None:
        self.stdout.write(f"  {sentence}\n")
        self.stdout.flush()


def is_missing() -> bool:
    """Return whether there is no dataset at all, or an example that is not complete."""
    if settings.EXAMPLE_POSTCARDS < 1:
        return False
    never_started = Shard.objects.filter(
        dataset__slug=SLUG, state=Shard.State.PENDING, started_at=None
    )
    return never_started.exists() or not Dataset.objects.exists()


def import_now(dataset: Dataset, shards: QuerySet[Shard]) -> None:
    waiting = shards.exclude(state=Shard.State.INGESTED)
    # No other process can use the engine, so a run that has a lease is dead.
    waiting.exclude(state=Shard.State.ARRIVED).update(
        state=Shard.State.QUEUED, lease_until=None
    )
    for shard in waiting:
        shard_run.ingest(shard.pk)
    check(shards)
    for number in publishing.due_partitions(dataset):
        publishing.publish(dataset, number)


def check(shards: QuerySet[Shard]) -> None:
    failed = shards.filter(state=Shard.State.FAILED).first()
    if failed:
        raise CommandError(f"Shard {failed.number}: {failed.error}")
