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
from search.query.model import (
    FIELDS,
    MAX_RESULTS,
    MODES,
    NSFW,
    ORIENTATIONS,
    SORTS,
    SearchQuery,
)
from search.retrieval.service import Page

DEFAULT_LIMIT = 20
INTERRUPTED = 130
ENDING = (
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
FILTERS: dict[str, dict[str, Any]] = {
    "nsfw": {"choices": NSFW, "help": "any shows what is not safe, too"},
    "min_width": {"type": int, "metavar": "PIXELS"},
    "max_width": {"type": int, "metavar": "PIXELS"},
    "min_height": {"type": int, "metavar": "PIXELS"},
    "max_height": {"type": int, "metavar": "PIXELS"},
    "orientation": {"choices": ORIENTATIONS},
    "min_similarity": {
        "type": float,
        "metavar": "N",
        "help": "of the dataset's own score of image and caption",
    },
    "caption": {"metavar": "WORDS", "help": "which the caption must hold"},
    "site": {"metavar": "HOST"},
    "license": {"metavar": "WORDS"},
    "cutoff": {"type": float, "metavar": "N", "help": "least similarity to the query"},
}


class Command(BaseCommand):
    help = "Searches a dataset, in the language of the page's search box."
    requires_system_checks = ()  # they are the server's, and would slow this down

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = ENDING
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
            "--image", action="append", default=[], metavar="FILE", help="a picture"
        )
        parser.add_argument(
            "--item",
            action="append",
            default=[],
            type=int,
            metavar="ID",
            help="an item of the dataset",
        )
        for name, (choices, meant) in CHOICES.items():
            parser.add_argument(
                f"--{name}", choices=choices, default=choices[0], help=meant
            )
        for name, options in FILTERS.items():
            parser.add_argument(
                f"--{name.replace('_', '-')}", **{"type": text} | options
            )
        parser.add_argument(
            "--no-dedupe",
            action="store_false",
            dest="dedupe",
            help="do not fold near-duplicates",
        )
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
                query, user = asked(**options)
                pages = list(query_options.pages_of(query, user, limit))
                remark = query_options.remark(query.dataset, pages)
            if options["json"]:
                told_at_once = query_options.join_terms(query.dataset, pages)
                self._print([json.dumps(told_at_once, indent=2)])
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
        """Until whoever reads has enough."""
        if reconfigure := getattr(self.stdout, "reconfigure", None):
            reconfigure(errors="replace")  # captions have characters of all scripts
        try:
            for line in lines:
                self.stdout.write(line)
            self.stdout.flush()
        except BrokenPipeError:
            # Python would try once more at its end, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())


def asked(
    *,
    words: list[str],
    dataset: str | None,
    image: list[str],
    item: list[int],
    user: str | None,
    **options: Any,
) -> tuple[SearchQuery, Any]:
    """Return the query that the options describe, and its user. Raises SearchError."""
    slug = query_options.dataset_named(dataset)
    query_options.check_engine()  # before a model is loaded in vain
    filters = {name: options[name] for name in FILTERS if options[name] is not None}
    query = query_options.query(
        slug,
        " ".join(words),
        image,
        item,
        {**filters, "dedupe": options["dedupe"]},
        **{name: options[name] for name in CHOICES},
    )
    return query, query_options.user_named(user)


def text(given: str) -> str:
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError("This text is not UTF-8.") from error
    return given


def number_of_results(given: str) -> int:
    if not (given.isdecimal() and 1 <= int(given) <= MAX_RESULTS):
        raise argparse.ArgumentTypeError(f"This is a number from 1 to {MAX_RESULTS:,}.")
    return int(given)
