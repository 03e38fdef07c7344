"""Run an SQL prompt on the engine of CLICKHOUSE_URL.

On the embedded engine encode_text('words') and encode_image('path') encode with the
model of a dataset; a server has its own functions (deploy/clickhouse/README.md).
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandParser
from django.db import DatabaseError

from search.clickhouse import client
from search.errors import InvalidQuery, SearchError, SearchUnavailable
from search.models import SYSTEM, Dataset

FUNCTIONS = settings.BASE_DIR / "deploy" / "clickhouse" / "encode_function.xml"
HISTORY = settings.VAR_DIR / "clickhouse_history"
HISTORY_LINES = 1000
TABLE = "PrettyCompactMonoBlock"
PROMPT, CONTINUATION = "clickhouse> ", "        ... "
EXIT_WORDS = ("exit", "quit")

QUOTED = r"'(?>\\.|[^'\\])*+'|\"(?>\\.|[^\"\\])*+\"|`(?>\\.|[^`\\])*+`"
COMMENT = r"--[^\n]*+|/\*.*?\*/"
CODE = r"[^;'\"`/-]|/(?!\*)|-(?!-)"
STATEMENT = re.compile(rf"((?>{QUOTED}|{COMMENT}|{CODE})*+);", re.S)
BLANK = re.compile(rf"(?>\s|{COMMENT})*+", re.S)
# Statements that return rows take a FORMAT; INSERT or SET would not parse with it.
RETURNS_ROWS = re.compile(
    r"\(|(WITH|SELECT|FROM|SHOW|DESC|DESCRIBE|EXPLAIN|EXISTS|CHECK)\b", re.I
)
OWN_FORMAT = re.compile(r"\bFORMAT\s+\w+\s*(SETTINGS\b.*)?\Z", re.I | re.S)


class Command(BaseCommand):
    help = "An SQL prompt on ClickHouse, with encode_text and encode_image."
    requires_system_checks = ()  # they are the server's, and would slow this down

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "-c", "--command", metavar="SQL", help="Run these statements and leave."
        )
        parser.add_argument(
            "--dataset",
            metavar="SLUG",
            help="Encode with the model of this dataset, not of the first.",
        )
        parser.add_argument(
            "--pictures",
            metavar="FOLDER",
            default=".",
            help="Where encode_image may read; if not said, the current folder.",
        )

    def handle(
        self, *, command: str | None, dataset: str | None, pictures: str, **options: Any
    ) -> None:
        try:
            if settings.CLICKHOUSE_URL.startswith("chdb:"):
                register_encoders(dataset, pictures)
            client.ping()
            if command is None and sys.stdin.isatty():
                self.prompt()
            else:
                self.run(sys.stdin.read() if command is None else command)
        except SearchError as error:
            self.stderr.write(error.message)
            sys.exit(1)

    def prompt(self) -> None:
        self.stdout.write("A statement ends with a semicolon; Ctrl-D leaves.")
        text = ""
        with history():
            while text.strip() not in EXIT_WORDS:
                try:
                    text += input(CONTINUATION if text.strip() else PROMPT) + "\n"
                    statements, text = split(text)
                    self.print_results(statements)
                except EOFError:
                    self.stdout.write("")
                    return
                except KeyboardInterrupt:
                    self.stdout.write("")
                    text = ""
                except SearchError as error:
                    self.stderr.write(error.message)

    def run(self, text: str) -> None:
        """Run statements up to the first that fails; the last needs no semicolon."""
        statements, rest = split(f"{text}\n;")
        self.print_results(statements)
        if rest.strip():
            raise InvalidQuery("A quotation mark or a comment has no end.")

    def print_results(self, statements: list[str]) -> None:
        for statement in statements:
            blank = BLANK.match(statement)
            returns_rows = RETURNS_ROWS.match(statement, blank.end() if blank else 0)
            form = TABLE if returns_rows and not OWN_FORMAT.search(statement) else ""
            self.stdout.write(client.raw_result(statement, form), ending="")
            self.stdout.flush()


def split(text: str) -> tuple[list[str], str]:
    """Return the statements that a semicolon ends, without it, and the rest."""
    statements, end = [], 0
    while found := STATEMENT.match(text, end):
        end = found.end()
        if not BLANK.fullmatch(found[1]):
            statements.append(found[1].strip())
    return statements, text[end:]


def register_encoders(slug: str | None, pictures: str) -> None:
    """Register the encode functions, which the engine runs in our environment."""
    try:
        dataset = Dataset.for_slug(slug, SYSTEM) if slug else Dataset.objects.first()
    except DatabaseError as error:
        reason = str(error).strip().partition("\n")[0]
        raise SearchUnavailable(f"The database cannot be used: {reason}") from error
    if dataset is None:
        return
    os.environ.update(
        ENCODE_PYTHON=sys.executable,
        ENCODE_MODEL=dataset.model,
        ENCODE_WEIGHTS=dataset.weights,
        ENCODE_PICTURES=os.path.abspath(pictures),
    )
    client.register_udfs(FUNCTIONS)


@contextmanager
def history() -> Iterator[None]:
    """Load the prompt's history, and save it at the end."""
    import readline

    if HISTORY.exists():
        readline.read_history_file(HISTORY)
    readline.set_history_length(HISTORY_LINES)
    try:
        yield
    finally:
        HISTORY.parent.mkdir(parents=True, exist_ok=True)
        readline.write_history_file(HISTORY)
