"""How commands tell what goes wrong, and how far the work is."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import CommandError
from django.core.management.base import OutputWrapper
from django.db import DatabaseError
from tqdm import tqdm

from search.errors import SearchError, SearchUnavailable
from search.ingestion.progress import Standing
from search.models import Shard

LINE_EVERY_S = 5
TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the same command may succeed later


class Error(CommandError):
    """manage.py prints the name of the class before the sentence."""


@contextmanager
def told(unavailable: int = 1) -> Iterator[None]:
    """Ends the command with one sentence and exit code 1 when something is wrong.

    `unavailable` is the exit code when the engine or the encoder is away: the same
    command may succeed later.
    """
    try:
        yield
    except SearchUnavailable as error:
        raise Error(error.message, returncode=unavailable) from error
    except SearchError as error:
        raise Error(error.message) from error
    except DatabaseError as error:
        reason = str(error).strip().partition("\n")[0]
        raise Error(
            f"The database cannot be used: {reason}. If it is new, run manage.py "
            "migrate first."
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is logged but errors: the command says in a sentence what is wrong."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


class Progress:
    """A bar in a terminal; elsewhere a line every few seconds."""

    def __init__(self, out: OutputWrapper):
        self._out = out
        self._bar = tqdm(unit=" rows", unit_scale=True) if out.isatty() else None
        self._told_at = time.monotonic()
        self._told_rows: int | None = None

    def show(self, standing: Standing) -> None:
        if self._bar is not None:
            self._draw(self._bar, standing)
        elif self._told_rows is None:
            self._told_rows = standing.rows_done
        elif (spent := time.monotonic() - self._told_at) >= LINE_EVERY_S:
            speed = max(0, standing.rows_done - self._told_rows) / spent
            self._out.write(f"{how_far(standing)}, {speed:,.0f} rows/s")
            self._out.flush()
            self._told_at, self._told_rows = time.monotonic(), standing.rows_done

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _draw(self, bar: tqdm, standing: Standing) -> None:
        if not bar.n:
            bar.initial = standing.rows_done  # what was there is not this run's speed
        bar.total, bar.n = standing.rows_expected, standing.rows_done
        bar.set_postfix_str(_shards(standing) + _index(standing))


def how_far(standing: Standing) -> str:
    """In words: 12,000 of about 80,000 rows, 3 of 10 shards in."""
    about = "about " if standing.rows_estimated else ""
    whole = f" of {about}{standing.rows_expected:,}" if standing.rows_expected else ""
    return f"{standing.rows_done:,}{whole} rows, {_shards(standing)}{_index(standing)}"


def _shards(standing: Standing) -> str:
    whole, there = len(standing.shards), standing.counts[Shard.State.INGESTED]
    failed = standing.counts[Shard.State.FAILED]
    return f"{there} of {whole} shards in" + (f", {failed} failed" if failed else "")


def _index(standing: Standing) -> str:
    """How far the indexes are that are being built, or why they are not."""
    running = standing.publications
    if error := next((each.error for each in running if each.error), ""):
        return f", {error}"
    vectors = sum(partition.vectors for partition in running)
    done = sum(partition.vectors_done for partition in running)
    return f", search index {done / vectors:.0%}" if vectors else ""
