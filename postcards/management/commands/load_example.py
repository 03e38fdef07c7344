from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from postcards.shards import MODEL
from search.errors import SearchError
from search.ingestion import control, publishing, shard_run
from search.models import Dataset, Shard

SLUG = "postcards"
SHARD_ROWS = 5_000


class Command(BaseCommand):
    help = (
        "Draw the example dataset and bring it in, unless there is a dataset already."
    )

    def handle(self, **_options: Any) -> None:
        unfinished = Dataset.objects.filter(slug=SLUG).exclude(
            shards__state=Shard.State.INGESTED
        )
        if Dataset.objects.exists() and not unfinished.exists():
            return
        folder = settings.VAR_DIR / SLUG
        count = settings.EXAMPLE_POSTCARDS
        if count < 1:
            return
        shards = -(-count // SHARD_ROWS)
        call_command(
            "make_postcards", out=folder, shards=shards, rows=-(-count // shards)
        )
        dataset, _ = Dataset.objects.update_or_create(
            slug=SLUG,
            defaults={
                "title": "Postcards",
                "model": MODEL,
                "weights": "",
                "source": str(folder),
                "without_removal_list": True,
            },
        )
        try:
            self._ingest(dataset)
        except SearchError as error:
            raise CommandError(error.message) from error

    def _ingest(self, dataset: Dataset) -> None:
        control.discover_shards(dataset)
        waiting = dataset.shards.exclude(state=Shard.State.INGESTED)
        # No other process can use the engine, so a run that has a lease is dead.
        waiting.exclude(state=Shard.State.ARRIVED).update(
            state=Shard.State.QUEUED, lease_until=None
        )
        with tqdm(desc="Bringing them in", unit=" shards", disable=None) as bar:
            for shard in waiting:
                shard_run.ingest(shard.pk)
                bar.update()
        failed = dataset.shards.filter(state=Shard.State.FAILED).first()
        if failed:
            raise CommandError(f"Shard {failed.number}: {failed.error}")
        self.stdout.write("Building the search index …")
        for number in publishing.due_partitions(dataset):
            publishing.publish(dataset, number)
