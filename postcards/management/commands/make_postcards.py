from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from postcards.shards import is_complete, write_shard
from search.errors import SearchError


class Command(BaseCommand):
    help = "Draw postcards and write them as shards in the layout of LAION-400M."
    requires_system_checks = ()  # they are the server's, and would slow this down

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--out", type=Path, required=True)
        parser.add_argument("--shards", type=int, default=1)
        parser.add_argument("--rows", type=int, default=10_000, help="of each shard")

    def handle(
        self, *, out: Path, shards: int, rows: int, verbosity: int, **_options: Any
    ) -> None:
        if shards < 1 or rows < 1:
            raise CommandError("At least one shard of at least one row is needed.")
        total = shards * rows
        with tqdm(
            total=total, desc="Drawing postcards", unit=" cards", disable=None
        ) as bar:
            for number in range(shards):
                if is_complete(out, number):
                    bar.update(rows)
                    continue
                try:
                    write_shard(out, number, rows, bar.update)
                except (SearchError, OSError) as error:
                    raise CommandError(str(error)) from error
        if verbosity:
            self.stdout.write(f"{total:,} postcards in {shards} shards in {out}")
