import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, OutputWrapper
from django.utils.text import slugify
from tqdm import tqdm

from search.errors import InvalidQuery
from search.management.commands.serve import stop_on_signals
from search.management.console import (
    LINE_EVERY_S,
    TRY_AGAIN,
    Error,
    command_errors,
    quiet,
)
from search.management.query_options import check_engine, user_named
from search.query.filters import Filters
from search.query.model import FIELDS, MAX_RESULTS, MODES, SORTS
from search.query.parser import parse
from search.retrieval import query_reader, service

from ...export import export_request, writer
from ...export.checkpoint import JsonObject, Progress
from ...export.export_request import ExportRequest
from ...export.formats import FORMATS

INTERRUPTED = 130
COMPARED: dict[str, Any] = {
    "choices": FIELDS,
    "default": "image",
    "help": "which embeddings are compared (%(default)s)",
}
EPILOG = (
    "Exit codes: 0 all is written; 1 the export was refused, and stderr says why; 2 "
    "the command is not written as it should be; 75 the engine or the model is away, "
    "and the same command may succeed later; 130 it was stopped."
)


class Command(BaseCommand):
    help = (
        "Write a dataset, a search, a collection, or what is near a concept, into "
        "files. Ctrl-C stops; the same command goes on."
    )
    requires_system_checks = ()  # they are the server's, and would slow this down

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.epilog = EPILOG
        kinds = parser.add_subparsers(dest="kind", required=True)

        def add(
            kind: str, text: str, what: str, **more: Any
        ) -> argparse.ArgumentParser:
            added = kinds.add_parser(kind, help=text)
            added.add_argument(what, **more)
            added.add_argument(
                "--form",
                choices=tuple(FORMATS),
                default="parquet",
                help="of the files (%(default)s)",
            )
            added.add_argument(
                "--embeddings", action="store_true", help="with the vectors; in Parquet"
            )
            added.add_argument(
                "--out", type=Path, help="an empty folder, or one to go on with"
            )
            return added

        _add_filters_option(add("dataset", "All items of a dataset.", "slug"))
        _add_search_options(
            add(
                "search",
                "The results of a search, nearest first.",
                "words",
                help='as in the box, such as "red house -car width>512"',
            )
        )
        id_option = {"type": UUID, "help": "as in the address of its page"}
        collection = add("collection", "What a user has collected.", "id", **id_option)
        collection.add_argument("--user", required=True, help="who may see it")
        text = "All items that are near enough to a concept."
        concept = add("concept", text, "id", **id_option)
        concept.add_argument("--user", required=True, help="who may see it")
        concept.add_argument("--dataset", required=True, metavar="SLUG")
        concept.add_argument(
            "--above", type=float, required=True, help="the least similarity"
        )
        concept.add_argument("--field", **COMPARED)
        _add_filters_option(concept)

    def handle(self, *, out: Path | None, **options: Any) -> None:
        stop_on_signals()
        with quiet(), command_errors(unavailable=TRY_AGAIN), _file_errors():
            user = user_named(options.pop("user", None))
            check_engine("export on its pages or by its API")
            request = _read_request(user, **options)
            folder = out or Path(
                f"{slugify(request.name) or request.kind}-{request.form}"
            )
            if not writer.is_for(request, folder):
                raise Error(
                    f"{folder} holds something else: name an empty folder by --out."
                )
            self._write(request, user, folder)

    def _write(self, request: ExportRequest, user: Any, folder: Path) -> None:
        is_finished = (folder / writer.MANIFEST).exists()
        bar = ProgressBar(self.stdout)
        try:
            manifest = writer.write(request, user, folder, bar.show)
        except KeyboardInterrupt:
            bar.close()
            raise Error(
                "Stopped. The same command goes on.", returncode=INTERRUPTED
            ) from None
        finally:
            bar.close()
        prefix = "It is there already: " if is_finished else ""
        self.stdout.write(f"{prefix}{_summary(manifest)}, in {folder}.")


def _add_search_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a search."""
    parser.add_argument("--dataset", required=True, metavar="SLUG")
    parser.add_argument(
        "--limit",
        type=int,
        default=MAX_RESULTS,
        metavar="N",
        help=f"up to {MAX_RESULTS:,}, as many as it is without this",
    )
    parser.add_argument("--field", **COMPARED)
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="ann",
        help="by the index, or with every item (%(default)s)",
    )
    parser.add_argument(
        "--sort",
        choices=SORTS,
        default="similarity",
        help="in which order they come (%(default)s)",
    )
    parser.add_argument("--user", help="whose concepts are meant")


def _add_filters_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--filters", default="", help='as in the box, such as "width>512 nsfw:any"'
    )


class ProgressBar:
    """A bar in a terminal; elsewhere a line every few seconds."""

    def __init__(self, out: OutputWrapper):
        self._out = out
        self._bar = tqdm(unit=" items", unit_scale=True) if out.isatty() else None
        self._written_at = time.monotonic()

    def show(self, progress: Progress) -> None:
        if self._bar is not None:
            if not self._bar.n:
                self._bar.initial = progress.looked_at  # from earlier runs: not speed
            self._bar.total, self._bar.n = progress.to_look_at, progress.looked_at
            self._bar.set_postfix_str(
                f"{progress.rows:,} rows, {progress.bytes / 1e6:,.1f} MB"
            )
        elif time.monotonic() - self._written_at >= LINE_EVERY_S:
            of = f" of {progress.to_look_at:,}" if progress.to_look_at else ""
            self._out.write(
                f"{progress.looked_at:,}{of} items looked at, {progress.rows:,} rows"
            )
            self._out.flush()
            self._written_at = time.monotonic()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _read_request(
    user: Any, *, kind: str, form: str, embeddings: bool, **given: Any
) -> ExportRequest:
    options: dict[str, Any] = {"form": form, "with_embeddings": embeddings}
    if kind == "collection":
        return export_request.of_collection(user, given["id"], **options)
    if kind == "dataset":
        return export_request.of_dataset(
            user, given["slug"], _filters(given["filters"]), **options
        )
    slug, field = given["dataset"], given["field"]
    if kind == "concept":
        filters = _filters(given["filters"])
        return export_request.of_concept(
            user, given["id"], slug, given["above"], field, filters, **options
        )
    read = query_reader.read(given["words"], slug, "", user)
    query = query_reader.query(
        slug, read, field=field, mode=given["mode"], sort=given["sort"]
    )
    return export_request.of_search(
        query, user, service.unlimited, limit=given["limit"], **options
    )


def _filters(text: str) -> Filters:
    read = parse(text)
    if read.terms:
        raise InvalidQuery("Only filters can stand there, such as width>512.")
    return Filters(**read.filters)


@contextmanager
def _file_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Error(f"{where}{error.strerror or error}.") from error


def _summary(manifest: JsonObject) -> str:
    files, counts = manifest["files"], manifest["counts"]
    size = sum(file["bytes"] for file in files) / 1e6
    left_out = [f"{n:,} {why}" for why, n in counts["left_out"].items() if n]
    without = f" ({', '.join(left_out)} left out)" if left_out else ""
    return (
        f"{counts['rows']:,} rows{without} in {len(files):,} "
        f"file{'' if len(files) == 1 else 's'}, {size:,.1f} MB"
    )
