from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from search.clickhouse import client
from search.ingestion import tasks
from search.management.console import Error, command_errors
from search.management.worker import single_process
from search.models import SYSTEM, Dataset, Removal
from search.removals import files, restoring, takedowns


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
        parser.add_argument(
            "--check", action="store_true", help="only say what it would hide"
        )
        parser.add_argument(
            "--restore",
            action="store_true",
            help="take the values off the list again, and show their items",
        )

    def handle(
        self,
        *,
        file: Path,
        kind: str,
        dataset: str,
        reason: str,
        check: bool = False,
        restore: bool = False,
        **options: Any,
    ) -> None:
        with command_errors():
            if single_process():
                client.ping()  # first of all: fails while a server has the engine open
            only = Dataset.for_slug(dataset, SYSTEM) if dataset else None
            since = timezone.now()
            try:
                with file.open("rb") as opened:
                    if check or restore:
                        self._preview_or_restore(opened, file.name, kind, only, restore)
                        return
                    loaded = files.load(opened, file.name, kind, only, reason)
            except OSError as error:
                raise Error(f"{file} cannot be read: {error.strerror}.") from error
            self.stdout.write(str(loaded))
            if not single_process():
                tasks.schedule_hiding(only, since)
                return
            for each in [only] if only else Dataset.objects.all():
                takedowns.hide(each, each.item_table, since)

    def _preview_or_restore(
        self,
        opened: BinaryIO,
        name: str,
        kind: str,
        only: Dataset | None,
        restore: bool,
    ) -> None:
        takedowns.check_scope(kind, only)
        values, read = files.read(opened, name, kind)
        for error in read.errors:
            self.stdout.write(error)
        if restore:
            keys = [takedowns.digest(kind, value) for value in values]
            shown = sum(
                restoring.restore(
                    Removal.objects.filter(kind=kind, dataset=only, digest__in=some)
                )
                for some in restoring.in_batches(keys)
            )
            self.stdout.write(f"{shown:,} hidden items are shown again.")
            return
        for each in restoring.preview(kind, values, only):
            samples = f", such as {', '.join(map(str, each.samples))}"
            self.stdout.write(
                f"{each.dataset}: {each.count:,} items would be hidden"
                f"{samples if each.samples else ''}."
            )
