"""Small copies of some images of a source, or why they would be left out."""

import logging
import time
from base64 import b64encode
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO

from search.errors import NotFound, SearchError
from search.ingestion.sources.image_fetch import SourceImage, read_image
from search.ingestion.sources.image_set import shown_name
from search.ingestion.sources.original import find_file
from search.models import Dataset, Reject
from search.removals.takedowns import REJECT_REASON

from .contents import Candidate

SIZE = 200  # pixels of the longer side
WAIT_S = 8.0  # for all
THREADS = 12
LATE = "It was not there within some seconds."
BROKEN = "It cannot be read."
NO_PREVIEW = "There is no preview of it."

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preview:
    """A small copy as a data URL, or "" and the reason; `width` is the original's."""

    name: str
    caption: str
    data: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""


def previews(candidates: Sequence[Candidate], wait_s: float = WAIT_S) -> list[Preview]:
    """Load images, those of strangers in decoder processes, within a time for all."""
    deadline = time.monotonic() + wait_s
    pool = ThreadPoolExecutor(THREADS, "previews")
    jobs = [pool.submit(each.load) for each in candidates]
    try:
        return [
            _preview(candidate, job, max(0.0, deadline - time.monotonic()))
            for candidate, job in zip(candidates, jobs, strict=True)
        ]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def reject_preview(dataset: Dataset, reject: Reject) -> bytes:
    """Return a small copy of a rejected image on this server, as WebP.

    Raises NotFound if it is none that can be read, or must not be shown.
    """
    if dataset.kind != Dataset.Kind.IMAGES or reject.reason == REJECT_REASON:
        raise NotFound(NO_PREVIEW)
    found = find_file(dataset.source, dataset.columns, reject.file)
    if found is None:
        raise NotFound(NO_PREVIEW)
    try:
        return _webp(read_image(found.read()))
    except SearchError as error:
        raise NotFound(error.message) from error


def _preview(candidate: Candidate, job: Future[SourceImage], wait_s: float) -> Preview:
    name, caption = shown_name(candidate.name), candidate.caption
    try:
        loaded = job.result(wait_s)
    except TimeoutError:
        return Preview(name, caption, reason=LATE)
    except SearchError as error:
        return Preview(name, caption, reason=error.message)
    except OSError:
        logger.exception("No preview of %s", name)
        return Preview(name, caption, reason=BROKEN)
    return Preview(name, caption, _data_url(loaded), loaded.width, loaded.height)


def _data_url(loaded: SourceImage) -> str:
    return f"data:image/webp;base64,{b64encode(_webp(loaded)).decode()}"


def _webp(loaded: SourceImage) -> bytes:
    small, file = loaded.image.copy(), BytesIO()
    small.thumbnail((SIZE, SIZE))
    small.save(file, "WEBP", quality=75, method=2)
    return file.getvalue()
