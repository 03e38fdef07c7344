"""How commands tell what goes wrong, and how far the work is."""

import argparse
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from django.core.management import CommandError
from django.core.management.base import OutputWrapper
from django.db import DatabaseError
from tqdm import tqdm
from wcwidth import clip, wcswidth

from search.errors import SearchError, SearchUnavailable
from search.ingestion.progress import ImportProgress
from search.models import Shard
from search.retrieval.service import Hit

LINE_EVERY_S = 5
TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the same command may succeed later


class Error(CommandError):
    """manage.py prints the name of the class before the sentence."""


@contextmanager
def command_errors(unavailable: int = 1) -> Iterator[None]:
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

    def show(self, standing: ImportProgress) -> None:
        if self._bar is not None:
            self._draw(self._bar, standing)
        elif self._told_rows is None:
            self._told_rows = standing.rows_done
        elif (spent := time.monotonic() - self._told_at) >= LINE_EVERY_S:
            speed = max(0, standing.rows_done - self._told_rows) / spent
            self._out.write(f"{show_progress(standing)}, {speed:,.0f} rows/s")
            self._out.flush()
            self._told_at, self._told_rows = time.monotonic(), standing.rows_done

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _draw(self, bar: tqdm, standing: ImportProgress) -> None:
        if not bar.n:
            bar.initial = standing.rows_done  # what was there is not this run's speed
        bar.total, bar.n = standing.rows_expected, standing.rows_done
        bar.set_postfix_str(_shards(standing) + _index(standing))


def show_progress(standing: ImportProgress) -> str:
    """In words: 12,000 of about 80,000 rows, 3 of 10 shards in."""
    about = "about " if standing.rows_estimated else ""
    whole = f" of {about}{standing.rows_expected:,}" if standing.rows_expected else ""
    return f"{standing.rows_done:,}{whole} rows, {_shards(standing)}{_index(standing)}"


def _shards(standing: ImportProgress) -> str:
    whole, there = len(standing.shards), standing.counts[Shard.State.INGESTED]
    failed = standing.counts[Shard.State.FAILED]
    return f"{there} of {whole} shards in" + (f", {failed} failed" if failed else "")


def _index(standing: ImportProgress) -> str:
    """How far the indexes are that are being built, or why they are not."""
    running = standing.publications
    if error := next((each.error for each in running if each.error), ""):
        return f", {error}"
    vectors = sum(partition.vectors for partition in running)
    done = sum(partition.vectors_done for partition in running)
    return f", search index {done / vectors:.0%}" if vectors else ""


GAP = "  "
MIN_CAPTION_WIDTH = 30  # columns of a caption that has its URL beside it
NO_SIZE = "–"


def for_programs(hits: Iterable[Hit]) -> Iterator[str]:
    """Similarity, id, size, caption and URL of each, with nothing shortened."""
    for hit in hits:
        yield "\t".join([_similarity(hit), str(hit.id), _size(hit), *_texts(hit)])


def for_terminal(hits: Sequence[Hit], width: int) -> Iterator[str]:
    """The same in lines of at most `width` columns, but for URLs.

    A caption is shortened; its URL stands beside it where there is room, else below.
    """
    ids = max((len(str(hit.id)) for hit in hits), default=0)
    sizes = max((len(_size(hit)) for hit in hits), default=0)
    captions = max((columns(_texts(hit)[0]) for hit in hits), default=0)
    urls = max((columns(_texts(hit)[1]) for hit in hits), default=0)
    indent = len("-0.123") + ids + sizes + 3 * len(GAP)
    beside = min(captions, width - indent - urls - len(GAP))
    is_beside = beside >= min(captions, MIN_CAPTION_WIDTH)
    room = beside if is_beside else max(1, width - indent)
    for hit in hits:
        caption, url = _texts(hit)
        facts = [f"{_similarity(hit):>6}", f"{hit.id:>{ids}}", f"{_size(hit):>{sizes}}"]
        line = GAP.join([*facts, shortened(caption, room)])
        if is_beside:
            yield line + " " * (indent + room - columns(line)) + GAP + url
        else:
            yield line.rstrip()
            yield " " * indent + url


def shortened(text: str, room: int) -> str:
    """The text in at most so many columns; … stands for what is left out."""
    return text if columns(text) <= room else clip(text, 0, room - 1).rstrip() + "…"


def columns(text: str) -> int:
    """How many columns of a terminal a printable text takes."""
    return wcswidth(text)


def printable(text: str) -> str:
    """In one line and without what steers a terminal: texts come from anywhere."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())


def _texts(hit: Hit) -> tuple[str, str]:
    return printable(hit.caption), printable(hit.url)


def _similarity(hit: Hit) -> str:
    return f"{hit.similarity:.3f}"


def _size(hit: Hit) -> str:
    return f"{hit.width}×{hit.height}" if hit.width and hit.height else NO_SIZE


def add_shards(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shards", default="", metavar="0-9,12", help="only these; else all"
    )
