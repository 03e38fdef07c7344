"""The output of commands: errors, progress and hits."""

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
GAP = "  "
MIN_CAPTION_WIDTH = 30  # columns of a caption with its URL on the same line
NO_SIZE = "–"
TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the same command may succeed later


class Error(CommandError):
    """A CommandError, by a name that manage.py may print before the sentence."""


@contextmanager
def command_errors(unavailable: int = 1) -> Iterator[None]:
    """Turn our errors and the database's into CommandErrors of one sentence.

    `unavailable` is the exit code for SearchUnavailable, where the same command may
    succeed later; it is 1 for others.
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
    """Log errors only: the command itself explains what is wrong."""
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
        self._shown_at = time.monotonic()
        self._shown_rows: int | None = None

    def show(self, progress: ImportProgress) -> None:
        if self._bar is not None:
            self._draw(self._bar, progress)
        elif self._shown_rows is None:
            self._shown_rows = progress.rows_done
        elif (seconds := time.monotonic() - self._shown_at) >= LINE_EVERY_S:
            speed = max(0, progress.rows_done - self._shown_rows) / seconds
            self._out.write(f"{show_progress(progress)}, {speed:,.0f} rows/s")
            self._out.flush()
            self._shown_at, self._shown_rows = time.monotonic(), progress.rows_done

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _draw(self, bar: tqdm, progress: ImportProgress) -> None:
        if not bar.n:
            bar.initial = (
                progress.rows_done
            )  # rows of earlier runs do not count as speed
        bar.total, bar.n = progress.rows_expected, progress.rows_done
        bar.set_postfix_str(_shards(progress) + _index(progress))


def show_progress(progress: ImportProgress) -> str:
    """Return a sentence: 12,000 of about 80,000 rows, 3 of 10 shards in."""
    about = "about " if progress.rows_estimated else ""
    total = f" of {about}{progress.rows_expected:,}" if progress.rows_expected else ""
    return f"{progress.rows_done:,}{total} rows, {_shards(progress)}{_index(progress)}"


def _shards(progress: ImportProgress) -> str:
    total, ingested = len(progress.shards), progress.counts[Shard.State.INGESTED]
    failed = progress.counts[Shard.State.FAILED]
    return f"{ingested} of {total} shards in" + (f", {failed} failed" if failed else "")


def _index(progress: ImportProgress) -> str:
    """Return the progress of the indexes being built, or their error."""
    running = progress.publications
    if error := next((each.error for each in running if each.error), ""):
        return f", {error}"
    vectors = sum(partition.vectors for partition in running)
    done = sum(partition.vectors_done for partition in running)
    return f", search index {done / vectors:.0%}" if vectors else ""


def for_programs(hits: Iterable[Hit]) -> Iterator[str]:
    """Yield lines of similarity, id, size, caption and URL, separated by tabs."""
    for hit in hits:
        yield "\t".join([_similarity(hit), str(hit.id), _size(hit), *_texts(hit)])


def for_terminal(hits: Sequence[Hit], width: int) -> Iterator[str]:
    """Yield lines of at most `width` columns, except for URLs, which are not cut.

    The URL follows the caption on the same line if there is space, else on the next.
    """
    ids = max((len(str(hit.id)) for hit in hits), default=0)
    sizes = max((len(_size(hit)) for hit in hits), default=0)
    captions = max((columns(_texts(hit)[0]) for hit in hits), default=0)
    urls = max((columns(_texts(hit)[1]) for hit in hits), default=0)
    indent = len("-0.123") + ids + sizes + 3 * len(GAP)
    remaining = min(captions, width - indent - urls - len(GAP))
    is_one_line = remaining >= min(captions, MIN_CAPTION_WIDTH)
    room = remaining if is_one_line else max(1, width - indent)
    for hit in hits:
        caption, url = _texts(hit)
        fields = [
            f"{_similarity(hit):>6}",
            f"{hit.id:>{ids}}",
            f"{_size(hit):>{sizes}}",
        ]
        line = GAP.join([*fields, shortened(caption, room)])
        if is_one_line:
            yield line + " " * (indent + room - columns(line)) + GAP + url
        else:
            yield line.rstrip()
            yield " " * indent + url


def shortened(text: str, room: int) -> str:
    """Return a text of at most so many columns, with … where it is cut."""
    return text if columns(text) <= room else clip(text, 0, room - 1).rstrip() + "…"


def columns(text: str) -> int:
    """Return the columns of a terminal that a printable text takes."""
    return wcswidth(text)


def printable(text: str) -> str:
    """Return a text as one line without control characters: texts are untrusted."""
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
