import sys
import time
from argparse import SUPPRESS
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction
from django.db.models import IntegerField, QuerySet
from django.utils.timezone import localtime

from search.clickhouse import client
from search.evaluation import calibration
from search.ingestion import control, deletion, validation, watching
from search.ingestion.control import shards_of
from search.ingestion.progress import ImportProgress, index_work, spans
from search.ingestion.setup import creation
from search.jobs.leases import MAX_FAILURES, WORKER_DIED, lease_expired
from search.management.console import (
    Error,
    Progress,
    add_shards,
    command_errors,
    show_progress,
)
from search.management.worker import POLL_S, local_worker, single_process, watch
from search.models import SYSTEM, Dataset, Partition, Shard, Watch
from search.models.registry import own_field
from search.retrieval.service import index_state

ACTIONS = {
    "pause": "Stop shards where they are; resume goes on from there.",
    "resume": "Go on with shards that were paused.",
    "retry": "Try shards that have failed again.",
    "cancel": "Stop shards and forget what has arrived; what is searched stays.",
}
DONE = {"drop": "dropped", "delete": "deleted"}
RECALLS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)  # that `calibrate` prints
# Options of create and edit that are fields of the same name.
FIELDS = (
    "title",
    "description",
    "license",
    "cover",
    "safety",
    "visibility",
    "kind",
    "source",
    "shard_range",
    "model",
    "weights",
    "dimension",
    "metric",
    "index",
    "shards_per_partition",
    "image_pattern",
    "text_pattern",
    "metadata_pattern",
)


class Command(BaseCommand):
    help = "Create, inspect, steer and drop datasets; `ingest` brings them in."
    requires_system_checks = ()  # they are the server's, and would slow this down

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="Enter a dataset.")
        _add_fields(create)
        create.add_argument(
            "--column",
            action="append",
            default=[],
            metavar="ROLE=NAME",
            help="which column of the source is what, as url=photo_image_url",
        )
        create.add_argument(
            "--rating",
            action="append",
            default=[],
            metavar="VALUE=MEANING",
            help="what a value of the column nsfw means: safe, unsure, unsafe or "
            "unrated, as R-15=unsure",
        )
        create.add_argument(
            "--rating-threshold",
            type=float,
            metavar="N",
            help="from which number in the column nsfw on an image is unsafe",
        )
        create.add_argument(
            "--no-check",
            action="store_true",
            help="do not look at source and model, which may be on other machines only",
        )
        create.add_argument("--keep-files", action="store_true")
        create.add_argument("--without-removal-list", action="store_true")
        edit = actions.add_parser(
            "edit", help="Change what is given, and nothing else."
        )
        _add_fields(edit)
        actions.add_parser("list", help="All datasets, a line each.")
        show = actions.add_parser("show", help="How a dataset stands.")
        show.add_argument("slug")
        for name, text in ACTIONS.items():
            parser_of_action = actions.add_parser(name, help=text)
            parser_of_action.add_argument("slug")
            add_shards(parser_of_action)
        reindex = actions.add_parser(
            "reindex",
            help="Move to clusters, or to more of them, and index what an earlier "
            "version did not; beside searches.",
        )
        reindex.add_argument("slug")
        reindex.add_argument(
            "--keep-graph", action="store_true", help="search by graphs as before"
        )
        calibrate = actions.add_parser(
            "calibrate",
            help="Measure how much of its clusters searches have to read.",
        )
        calibrate.add_argument("slug")
        drop = actions.add_parser("drop", help="Drop some shards, or delete all of it.")
        drop.add_argument("slug")
        add_shards(drop)
        drop.add_argument("--yes", action="store_true", help="do not ask")
        watch = actions.add_parser(
            "watch", help="Let new files of the source come in by themselves."
        )
        watch.add_argument("slug")
        watch.add_argument("--every", type=int, metavar="SECONDS")
        watch.add_argument("--off", action="store_true", help="watch it no more")
        delete = actions.add_parser(
            "delete",
            help=f"Delete a dataset; for {deletion.UNDONE_FOR} it can be restored.",
        )
        delete.add_argument("slug")
        delete.add_argument("--yes", action="store_true", help="do not ask")
        delete.add_argument(
            "--for-good",
            action="store_true",
            help="drop it at once: no restoring",
        )
        actions.add_parser("deleted", help="Deleted datasets, a line each.")
        restore = actions.add_parser("restore", help="Undo the deletion of a dataset.")
        restore.add_argument("slug", help="that it had, or its number: see `deleted`")

    def handle(self, *, action: str, **options: Any) -> None:
        with command_errors():
            if action in ACTIONS:
                self._apply(action, options["slug"], options["shards"])
            else:
                getattr(self, f"_{action}")(**options)

    def _create(
        self, *, slug: str, column: list[str], rating: list[str], **options: Any
    ) -> None:
        fields = {name: options[name] for name in FIELDS if name in options}
        ratings: dict[str, Any] = {}
        if rating:
            ratings["values"] = dict(map(_value_and_meaning, rating))
        if (threshold := options["rating_threshold"]) is not None:
            ratings["threshold"] = threshold
        dataset = Dataset(
            **{"title": slug} | fields,
            slug=slug,
            columns=dict(map(_role_and_column, column)),
            ratings=ratings,
            keep_files=options["keep_files"],
            without_removal_list=options["without_removal_list"],
        )
        if not options["no_check"]:
            _check(dataset, fields)
        _save(dataset, options)
        self.stdout.write(f"Dataset {slug} is entered; `ingest {slug}` brings it in.")

    def _edit(self, *, slug: str, **options: Any) -> None:
        dataset = Dataset.for_slug(slug, SYSTEM)
        fixed = validation.fixed_fields(dataset)
        for name in FIELDS:
            if name not in options:
                continue
            if name in fixed and options[name] != getattr(dataset, name):
                raise Error(f"{name}: This is fixed once there are shards.")
            setattr(dataset, name, options[name])
        _save(dataset, options)
        self.stdout.write(f"Dataset {slug} is changed.")

    def _list(self, **options: Any) -> None:
        for dataset in Dataset.objects.all():
            self.stdout.write(
                f"{dataset.slug}  {dataset.kind}  {dataset.item_count():,} items  "
                f"{dataset.title}"
            )

    def _show(self, *, slug: str, **options: Any) -> None:
        dataset = Dataset.for_slug(slug, SYSTEM)
        progress = ImportProgress.of(dataset)
        states = ", ".join(
            f"{n:,} {state}" for state, n in progress.counts.items() if n
        )
        lines = [
            f"{dataset.title} ({slug}), {dataset.get_kind_display()}",
            f"Source: {dataset.source or 'none'}",
            f"Model: {' '.join(filter(None, [dataset.model, dataset.weights]))}, "
            f"{dataset.dimension} numbers",
            f"Shards: {states or 'none yet'}",
            f"Rows: {show_progress(progress)}; "
            f"{progress.rows_visible:,} items can be found, "
            f"{progress.rows_rejected:,} rows were left out",
            *_unknown_ratings(progress),
            f"Index: {self._index(dataset)}",
            f"Table: {dataset.item_table.name}",
        ]
        if work := index_work(dataset):
            lines.append(f"{work} `dataset reindex {slug}` does that, or continues it.")
        lines += [f"{rows:,} rows: {note}" for note, rows in progress.notes]
        if progress.rows_unaccounted:
            lines.append(f"{progress.rows_unaccounted:,} rows are lost: a fault.")
        lines += [
            f"Shard {spans(numbers)}: {error}" for error, numbers in progress.errors
        ]
        if watch := Watch.objects.filter(dataset=dataset, active=True).first():
            found = watch.fault or f"{watch.new:,} new, {watch.removed:,} removed"
            lines.append(f"Watched every {watch.every_s} seconds: {found}")
        lines.append(f"Safety: {dataset.get_safety_display()}")
        lines.append(f"Who may see it: {dataset.seen_by()}")
        self.stdout.write("\n".join(lines))

    def _index(self, dataset: Dataset) -> str:
        if not dataset.item_count():
            return "none yet"
        state = index_state(dataset)
        return ", ".join(f"{name} {value:,}" for name, value in state.items())

    def _apply(self, action: str, slug: str, shards: str) -> None:
        dataset = Dataset.for_slug(slug, SYSTEM)
        if action == "cancel":
            client.ping()  # fails while a server has the embedded engine open
        count = control.apply_action(dataset, shards_of(dataset, shards), action)
        if not count:
            raise Error(f"There is nothing to {action}.")
        self.stdout.write(f"{action}: {count:,} shards.")
        if single_process() and action in ("resume", "retry"):
            self.stdout.write(f"The server brings them in, or `ingest {slug}`.")

    def _reindex(self, *, slug: str, keep_graph: bool, **options: Any) -> None:
        dataset = Dataset.for_slug(slug, SYSTEM)
        undone = dataset.partitions.filter(reindex=True).exists()
        if not undone and not control.needs_reindex(dataset, keep_graph):
            self.stdout.write(f"{dataset} is indexed already.")
            return
        # The server, if it has the embedded engine open, finds the work in the ledger.
        with nullcontext() if client.locked_by() else local_worker():
            total = control.reindex(dataset, keep_graph)
            self._watch_reindex(dataset, total)
        self.stdout.write(f"{dataset} is indexed.")

    def _watch_reindex(self, dataset: Dataset, total: int) -> None:
        shown = ""
        unfinished = dataset.partitions.filter(reindex=True)
        failed = unfinished.filter(lease_expired(), failures__gte=MAX_FAILURES)
        while left := list(unfinished.all()):
            if partition := failed.first():
                raise Error(f"{partition}: {partition.error or WORKER_DIED}")
            if (line := _reindex_progress(left, total)) != shown:
                self.stdout.write(line)
                self.stdout.flush()
            shown = line
            time.sleep(POLL_S)

    def _calibrate(self, *, slug: str, **options: Any) -> None:
        dataset = Dataset.for_slug(slug, SYSTEM)
        if dataset.index != Dataset.Index.CLUSTERS:
            raise Error(f"{dataset} has a graph: only clusters are calibrated.")
        if not dataset.item_count():
            raise Error(f"{dataset} has no items yet.")
        if not calibration.calibrate(dataset.pk, forced=True):
            raise Error(f"{dataset} is calibrated or dropped by another process.")
        dataset.refresh_from_db()
        self.stdout.write("\n".join(_curves(dataset)))

    def _drop(self, *, slug: str, shards: str, yes: bool, **options: Any) -> None:
        if not shards:
            self._delete(slug=slug, yes=yes, for_good=False)
            return
        dataset = Dataset.for_slug(slug, SYSTEM)
        selected = shards_of(dataset, shards)
        client.ping()  # before anything is dropped
        numbers = spans(selected.values_list("number", flat=True))
        rows = ImportProgress.of(dataset, selected).rows_visible
        what = f"{dataset}, shards {numbers}"
        self._confirm(f"{what}, {rows:,} items", yes, "drop")
        self._drop_shards(dataset, selected)
        self.stdout.write(f"Dropped: {what}.")

    def _watch(
        self, *, slug: str, every: int | None, off: bool, **options: Any
    ) -> None:
        dataset = Dataset.for_slug(slug, SYSTEM)
        if off:
            watching.switch_off(dataset)
            self.stdout.write(f"{dataset} is not watched any more.")
            return
        watch = watching.switch_on(dataset, every)
        self.stdout.write(
            f"Watching {dataset.source}: the server and its workers look every "
            f"{watch.every_s} seconds."
        )

    def _delete(self, *, slug: str, yes: bool, for_good: bool, **options: Any) -> None:
        dataset = Dataset.for_slug(slug, SYSTEM)
        if for_good:
            client.ping()  # before anything is deleted
        goes = ", ".join(deletion.consequences(dataset)) or "no images"
        self._confirm(f"The dataset {dataset} with {goes}", yes, "delete")
        deletion.delete(dataset)
        if not for_good:
            self.stdout.write(
                f"Deleted: {dataset}. For {deletion.UNDONE_FOR}, `manage.py dataset "
                f"restore {slug}` undoes that."
            )
            return
        deletion.purge(deletion.find_deleted(dataset.pk))
        self.stdout.write(f"Deleted for good: {dataset}.")

    def _deleted(self, **options: Any) -> None:
        for dataset in deletion.deleted():
            until = localtime(dataset.restorable_until)
            self.stdout.write(
                f"{dataset.pk}  {dataset.deleted_slug}  {dataset.item_count():,} items "
                f" until {until:%Y-%m-%d %H:%M}  {dataset.title}"
            )

    def _restore(self, *, slug: str, **options: Any) -> None:
        found = [
            each
            for each in deletion.deleted()
            if slug in (each.deleted_slug, str(each.pk))
        ]
        if not found:
            raise Error(f"There is no deleted dataset “{slug}”.")
        restored = deletion.restore(found[0])
        self.stdout.write(f"Restored: {restored} ({restored.slug}).")

    def _confirm(self, what: str, yes: bool, action: str) -> None:
        if yes:
            return
        if not sys.stdin.isatty():
            raise Error(f"{what}: add --yes to {action} it.")
        if input(f"{what}. {action.title()} it? [y/N] ").strip().lower() not in (
            "y",
            "yes",
        ):
            raise Error(f"Nothing was {DONE[action]}.")

    def _drop_shards(self, dataset: Dataset, shards: QuerySet[Shard]) -> None:
        progress = Progress(self.stdout)
        try:
            with local_worker():
                if not control.drop(dataset, shards):
                    raise Error("There is nothing to drop.")
                watch(dataset, shards, progress)
        finally:
            progress.close()


def _add_fields(parser: CommandParser) -> None:
    """Add the slug, and options that are absent unless they are given."""
    parser.add_argument("slug")
    for name in FIELDS:
        field = own_field(Dataset, name)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=SUPPRESS,
            type=int if isinstance(field, IntegerField) else str,
            choices=[value for value, _ in field.choices or ()] or None,
            help=str(field.help_text).replace("%", "%%"),
        )
    for name, what in (("user", "user names"), ("group", "names of groups")):
        parser.add_argument(
            f"--allowed-{name}s",
            nargs="*",
            default=SUPPRESS,
            metavar="NAME",
            help=f"{what}: who may see it, with --visibility chosen",
        )


def _check(dataset: Dataset, given: Collection[str]) -> None:
    """Complete a dataset by its source and model. Raise Error for what is wrong."""
    with _refusals():
        creation.complete(dataset, given, is_local=True)


@contextmanager
def _refusals() -> Iterator[None]:
    """Raise Error with the first field of a refusal."""
    try:
        yield
    except creation.Refused as error:
        for field, sentence in error.errors.items():
            raise Error(f"{field}: {sentence}") from error


def _save(dataset: Dataset, options: dict[str, Any]) -> None:
    """Save a dataset and who may see it. Raise Error for what is wrong."""
    for field, sentences in validation.problems(dataset).items():
        raise Error(f"{field}: {sentences[0]}")
    names = {name: options[name] for name in creation.ACCESS if name in options}
    with _refusals():
        access = creation.find_access(names)
    # Workers write to the row meanwhile, such as the mean of its vectors.
    changed = [name for name in FIELDS if name in options] if dataset.pk else None
    if not dataset.pk:
        creation.name_tables(dataset)
    with transaction.atomic():
        dataset.save(update_fields=changed)
        creation.grant(dataset, access)


def _curves(dataset: Dataset) -> Iterator[str]:
    """Yield the curves of a dataset as lines."""
    kinds = calibration.KINDS
    known = [
        (field, kind, curve)
        for field in calibration.fields_of(dataset)
        for kind in kinds
        if (curve := dataset.curve(field, kind))
    ]
    if not known:
        yield f"{dataset} has one cluster: searches compare all rows."
    for field, kind, curve in known:
        yield f"Field {field}, searched by {kind}:"
        yield f"{'recall@10':>12} {'rows read':>10}"
        for recall in RECALLS:
            share = curve.share_for(recall, 10)
            yield f"{recall:12.3f} {share:10.2%}"


def _reindex_progress(left: list[Partition], total: int) -> str:
    """Return how far it is: 3 of 12 partitions done, 40% of the next."""
    rows = sum(each.vectors for each in left if each.lease_until)
    done = sum(each.vectors_done for each in left if each.lease_until)
    line = f"{total - len(left)} of {total} partitions done"
    return f"{line}, {done / rows:.0%} of the next" if rows else line


def _unknown_ratings(progress: ImportProgress) -> Iterator[str]:
    if progress.rows_unknown_rating:
        values = ", ".join(f"“{value}”" for value in progress.unknown_ratings)
        yield (
            f"Ratings: {progress.rows_unknown_rating:,} rows have one that is not "
            f"known and count as unrated: {values}"
        )


def _value_and_meaning(text: str) -> tuple[str, str]:
    value, sign, meaning = text.rpartition("=")
    if not sign:
        raise Error(f"“{text[:60]}” is not of the form R-15=unsure.")
    return value, meaning


def _role_and_column(text: str) -> tuple[str, str]:
    role, sign, name = text.partition("=")
    if not sign:
        raise Error(f"“{text[:60]}” is not of the form url=photo_image_url.")
    return role, name
