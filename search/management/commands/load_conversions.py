"""Load conversions, the picks after searches, which make items popular."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from search.errors import SearchError
from search.ingestion.conversions import load
from search.models import Dataset


class Command(BaseCommand):
    help = (
        "Counts how often the items of a dataset were picked, and for which words, by "
        "files of conversions (photo_id, keyword) as TSV, CSV or Parquet. The same "
        "content counts once."
    )
    requires_system_checks = ()  # they are the server's, and would slow this down

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", help="the dataset")
        parser.add_argument("files", nargs="+", type=Path, metavar="file")
        parser.add_argument(
            "--id",
            dest="name",
            default="",
            help="where the items' metadata has the ids of the file, if the name of "
            "its column is another",
        )

    def handle(self, *, slug: str, files: list[Path], name: str, **_: Any) -> None:
        dataset = Dataset.objects.filter(slug=slug).first()
        if dataset is None:
            raise CommandError(f"There is no dataset {slug}.")
        for path in files:
            if not path.is_file():
                raise CommandError(f"There is no file {path}.")
            try:
                with tqdm(desc=path.name, unit=" rows", disable=None) as bar:
                    file = load(dataset, path, name, bar.update)
            except SearchError as error:
                raise CommandError(error.message) from error
            self.stdout.write(
                f"{path.name}: {file.rows:,} conversions, {file.rows_matched:,} of "
                "items that are in the dataset."
            )
            if file.rows_rejected:
                self.stdout.write(f"{file.rows_rejected:,} rows cannot be read.")
