import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.management import BaseCommand, CommandParser

from search.management import query_options
from search.management.console import (
    TRY_AGAIN,
    command_errors,
    for_programs,
    for_terminal,
    quiet,
)
from search.query.filters import (
    SPECS,
    Choice,
    FilterSpec,
    Number,
    Switch,
    Text,
    Whole,
)
from search.query.model import FIELDS, MAX_RESULTS, MODES, SORTS, SearchQuery
from search.retrieval.service import Page

DEFAULT_LIMIT = 20
INTERRUPTED = 130
EPILOG = (
    "In a terminal the results are a list: similarity, id, size, caption, URL. "
    "Elsewhere tabs stand between these, and nothing is shortened. What was hidden is "
    "said on stderr. Exit codes: 0 all is well, also when nothing was found; 1 the "
    "search was refused, and stderr says why; 2 the command is not written as it "
    "should be; 75 the engine or the model is away, and the same command may succeed "
    "later."
)
CHOICES = {
    "field": (FIELDS, "which embeddings are compared (image)"),
    "mode": (MODES, "by the index, or with every item (ann)"),
    "sort": (SORTS, "in which order those that are found come (similarity)"),
}


class Command(BaseCommand):
    help = "Searches a dataset, in the language of the page's search box."
    requires_system_checks = ()  # they are the server's, and would slow this down

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = EPILOG
        parser.add_argument(
            "words",
            nargs="*",
            type=text,
            help='what to look for, as in "red house -car width>512"; what begins with '
            "a minus comes after --",
        )
        parser.add_argument(
            "--dataset",
            type=text,
            metavar="SLUG",
            help="needed where there are several",
        )
        parser.add_argument(
            "--limit",
            type=number_of_results,
            default=DEFAULT_LIMIT,
            metavar="N",
            help=f"up to {MAX_RESULTS:,} (%(default)s)",
        )
        parser.add_argument(
            "--image", action="append", default=[], metavar="FILE", help="an image"
        )
        parser.add_argument(
            "--item",
            action="append",
            default=[],
            type=int,
            metavar="ID",
            help="an item of the dataset",
        )
        for name, (choices, description) in CHOICES.items():
            parser.add_argument(
                f"--{name}", choices=choices, default=choices[0], help=description
            )
        for spec in SPECS.values():
            add_filter(parser, spec)
        parser.add_argument(
            "--user",
            type=text,
            metavar="NAME",
            help="whose concepts are meant",
        )
        parser.add_argument(
            "--json", action="store_true", help="print what POST /api/search/ answers"
        )

    def handle(self, *, limit: int, **options: Any) -> None:
        try:
            with quiet(), command_errors(unavailable=TRY_AGAIN):
                query, user = query_of(**options)
                pages = list(query_options.pages_of(query, user, limit))
                remark = query_options.remark(query.dataset, pages)
            if options["json"]:
                answer = query_options.answer_of(query.dataset, pages)
                self._print([json.dumps(answer, indent=2)])
            else:
                self._print(self._lines(pages))
                self.stderr.write(remark, style_func=str)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)

    def _lines(self, pages: list[Page]) -> Iterator[str]:
        hits = [hit for page in pages for hit in page.hits]
        if self.stdout.isatty():
            return for_terminal(hits, shutil.get_terminal_size().columns)
        return for_programs(hits)

    def _print(self, lines: Iterable[str]) -> None:
        """Print the lines until the reader closes the pipe."""
        if reconfigure := getattr(self.stdout, "reconfigure", None):
            reconfigure(errors="replace")  # captions use all scripts
        try:
            for line in lines:
                self.stdout.write(line)
            self.stdout.flush()
        except BrokenPipeError:
            # Python flushes stdout again at exit, which would print an error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())


def query_of(
    *,
    words: list[str],
    dataset: str | None,
    image: list[str],
    item: list[int],
    user: str | None,
    **options: Any,
) -> tuple[SearchQuery, Any]:
    """Return the query that the options describe, and its user. Raise SearchError."""
    slug = query_options.dataset_named(dataset)
    query_options.check_engine()  # before the slow loading of a model
    filters = {
        name: value for name in SPECS if (value := options.get(name)) is not None
    }
    query = query_options.query(
        slug,
        " ".join(words),
        image,
        item,
        filters,
        **{name: options[name] for name in CHOICES},
    )
    return query, query_options.user_named(user)


def add_filter(parser: CommandParser, spec: FilterSpec) -> None:
    """Add the option of a filter, if it has one."""
    name = spec.name.replace("_", "-")
    options: dict[str, Any] = {"help": spec.option_help, "metavar": spec.metavar}
    match spec.type:
        case Whole():
            parser.add_argument(f"--{name}", type=int, **options)
        case Number():
            parser.add_argument(f"--{name}", type=float, **options)
        case Text():
            parser.add_argument(f"--{name}", type=text, **options)
        case Choice() as choice:
            parser.add_argument(
                f"--{name}", type=text, choices=choice.values, **options
            )
        case Switch():
            parser.add_argument(
                f"--no-{name}",
                action="store_false",
                dest=spec.name,
                default=None,
                help=spec.option_help,
            )


def text(value: str) -> str:
    """Return the argument; refuse one that is not UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError("This text is not UTF-8.") from error
    return value


def number_of_results(value: str) -> int:
    """Return the argument as a number; refuse one out of range."""
    if not (value.isdecimal() and 1 <= int(value) <= MAX_RESULTS):
        raise argparse.ArgumentTypeError(f"This is a number from 1 to {MAX_RESULTS:,}.")
    return int(value)
