import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db.models import QuerySet

from search.ingestion import control
from search.ingestion.control import shards_of
from search.ingestion.progress import ImportProgress, spans
from search.management.console import (
    Error,
    Progress,
    add_shards,
    command_errors,
    show_progress,
)
from search.management.worker import local_worker, single_process, watch
from search.models import SYSTEM, Dataset, Shard

from .serve import stop_on_signals


class Command(BaseCommand):
    help = (
        "Bring in the shards of a dataset that are not in yet, and go on with those "
        "that were paused. Ctrl-C pauses."
    )
    requires_system_checks = ()  # they are the server's, and would slow this down

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="the dataset")
        add_shards(parser)
        parser.add_argument(
            "--replace", action="store_true", help="bring in again what is in already"
        )
        parser.add_argument(
            "--wait",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="show how far it is until all is in; else leave it to the workers",
        )

    def handle(
        self, *, slug: str, shards: str, replace: bool, wait: bool, **options: Any
    ) -> None:
        stop_on_signals()
        with command_errors():
            dataset = Dataset.for_slug(slug, SYSTEM)
            if single_process() and not wait:
                raise Error(
                    "Without a broker nobody else does the work: leave out --no-wait."
                )
            control.check_removal_list(dataset)
            if not control.discover_shards(dataset):
                raise Error(f"There are no shards in {dataset.source}.")
            selected = shards_of(dataset, shards)
            if wait:
                self._work(dataset, selected, replace)
            else:
                queued = self._queue(dataset, selected, replace)
                self.stdout.write(f"{queued:,} shards are queued.")

    def _queue(self, dataset: Dataset, shards: QuerySet[Shard], replace: bool) -> int:
        actions = ["start", "resume", *(["replace"] if replace else [])]
        return sum(control.queue(dataset, shards, action) for action in actions)

    def _work(self, dataset: Dataset, shards: QuerySet[Shard], replace: bool) -> None:
        progress = Progress(self.stdout)
        try:
            with local_worker():
                try:
                    self._queue(dataset, shards, replace)
                    result = watch(dataset, shards, progress)
                except KeyboardInterrupt:
                    progress.close()
                    self._pause(shards)
                    return
        finally:
            progress.close()
        self._report(result)

    def _pause(self, shards: QuerySet[Shard]) -> None:
        control.pause(shards)
        self.stdout.write("\nPaused. The same command, without --replace, goes on.")
        self.stdout.flush()

    def _report(self, progress: ImportProgress) -> None:
        self.stdout.write(
            f"{show_progress(progress)}; {progress.rows_visible:,} items can be found, "
            f"{progress.rows_rejected:,} rows were left out."
        )
        if progress.counts[Shard.State.FAILED]:
            reasons = [
                f"Shard {spans(numbers)}: {error}" for error, numbers in progress.errors
            ]
            raise Error("\n".join(reasons))
