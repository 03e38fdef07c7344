from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from search.clickhouse import client
from search.ingestion import tasks
from search.management.console import Error, command_errors
from search.management.worker import single_process
from search.models import SYSTEM, Dataset, Removal
from search.removals import files, takedowns


class Command(BaseCommand):
    help = (
        "Load a list of what must not be found. It is kept out of what comes in, and "
        "hidden where it is in already."
    )
    requires_system_checks = ()  # they are the server's, and would slow this down

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file",
            type=Path,
            help="one value a line; of a .csv the first column; packed by gzip or not",
        )
        parser.add_argument("--kind", required=True, choices=Removal.Kind.values)
        parser.add_argument("--dataset", default="", help="its slug; else all of them")
        parser.add_argument("--reason", default="")

    def handle(
        self, *, file: Path, kind: str, dataset: str, reason: str, **options: Any
    ) -> None:
        with command_errors():
            if single_process():
                client.ping()  # first of all: fails while a server has the engine open
            only = Dataset.for_slug(dataset, SYSTEM) if dataset else None
            since = timezone.now()
            try:
                with file.open("rb") as opened:
                    loaded = files.load(opened, file.name, kind, only, reason)
            except OSError as error:
                raise Error(f"{file} cannot be read: {error.strerror}.") from error
            self.stdout.write(str(loaded))
            if not single_process():
                tasks.schedule_hiding(only, since)
                return
            for each in [only] if only else Dataset.objects.all():
                takedowns.hide(each, each.item_table, since)
