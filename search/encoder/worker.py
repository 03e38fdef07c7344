"""An encode worker: takes what waits, computes it in batches, answers.

What arrives within a few milliseconds becomes one forward pass, and so does what
arrives while a pass is computed.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

import numpy as np
from django.conf import settings
from redis import RedisError

from search.errors import SearchError, SearchUnavailable
from search.observability import metrics
from search.observability.request_id import use_request_id

from . import encoder_here
from .openclip import OpenClipEncoder, decoders
from .queue import BEAT_S, QueueServer, Request

WINDOW_S = 0.005  # that a first request waits for company; of the 10 ms it may
IDLE_S = 0.5  # that the bell is waited for, before a stop is looked for
RETRY_S = 0.5  # when Redis does not answer
# Texts must not wait long behind pictures: a pass has as many of them as take so long.
PICTURES_S = 0.3
FIRST_PICTURES = 4

FAILED = "The model failed over the words or the picture."

Told = bytes | SearchError
logger = logging.getLogger(__name__)


class EncodeWorker:
    """Computes in one thread; another tells that it lives, as long as it does."""

    def __init__(self, url: str, models: Callable[[], Iterable[tuple[str, str]]]):
        """`models` says which names and weights are loaded before anything is asked."""
        name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._queue = QueueServer(url, name)
        self._models = models
        self._stopped, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="encode", daemon=True)
        self._most = {"t": settings.ENCODER_BATCH, "p": FIRST_PICTURES}
        self._kinds = "tp"

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Answers what is in hand; what waits is left to other workers."""
        self._stopped.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        for model, weights in self._models():
            try:
                encoder_here(model, weights).encode_texts([""])
            except SearchError as error:
                logger.warning("%s", error.message)
        threading.Thread(target=self._beat, name="encode-beat", daemon=True).start()
        while not self._stopped.is_set():
            try:
                self.step()
            except RedisError as error:
                logger.warning("The queue does not answer: %s", error)
                self._stopped.wait(RETRY_S)
            # Whoever asked gives up in time; the next ones shall be served.
            except Exception:
                logger.exception("A batch broke off")
        self._ended.set()
        try:
            self._queue.leave()
        except RedisError as error:
            logger.warning("The queue does not answer: %s", error)

    def _beat(self) -> None:
        while self._thread.is_alive() and not self._ended.wait(BEAT_S):
            try:
                if handed := self._queue.live():
                    logger.warning("%s requests of the dead are tried again", handed)
            except RedisError:
                continue  # the other thread tells

    def step(self) -> None:
        """One batch, if anything comes; a request without an answer is tried again."""
        self._queue.wait(IDLE_S)
        requests = self._taken()
        if not requests:
            return
        # Pictures have their turn even if texts never stop coming.
        kind = requests[0].kind
        self._kinds = "pt" if kind == "t" else "tp"
        started = time.perf_counter()
        for (model, weights), same in groupby(sorted(requests, key=_model), _model):
            alike = list(same)
            with use_request_id(",".join({request.name for request in alike})):
                self._answer(encoder_here(model, weights), alike)
        self._queue.done()
        if kind == "p":
            each = (time.perf_counter() - started) / len(requests)
            fitting = max(int(PICTURES_S / each), 1)
            self._most["p"] = min(fitting, settings.ENCODER_BATCH)

    def _taken(self) -> list[Request]:
        requests, expired = self._queue.take(self._kinds, self._most)
        if requests and (room := self._most[requests[0].kind] - len(requests)):
            time.sleep(WINDOW_S)
            kind = requests[0].kind
            more, too_late = self._queue.take(kind, {**self._most, kind: room})
            requests, expired = requests + more, expired + too_late
        metrics.EXPIRED.inc(expired)
        if requests:
            kind = "text" if requests[0].kind == "t" else "picture"
            metrics.BATCHES.labels(kind).observe(len(requests))
        return requests

    def _answer(self, encoder: OpenClipEncoder, requests: list[Request]) -> None:
        if requests[0].kind == "p":
            told = _pictures(encoder, requests)
        else:
            texts = [
                request.content.decode(errors="surrogatepass") for request in requests
            ]
            told = _each(encoder.encode_texts, texts)
        self._queue.answer(list(zip(requests, told, strict=True)))


def _model(request: Request) -> tuple[str, str]:
    return request.model, request.weights


def _pictures(encoder: OpenClipEncoder, requests: list[Request]) -> list[Told]:
    """A picture that cannot be read fails alone."""
    jobs = [decoders.submit(encoder.prepare, request.content) for request in requests]
    told: list[Told | None] = []
    prepared = []
    for job in jobs:
        try:
            prepared.append(job.result())
            told.append(None)
        except SearchError as error:
            told.append(error)
        # Of all that a picture can do, running out of memory is one.
        except Exception:
            logger.exception("A picture could not be prepared")
            told.append(SearchUnavailable(FAILED))
    encoded = iter(_each(encoder.encode_prepared, prepared))
    return [next(encoded) if one is None else one for one in told]


def _each(encode: Callable[[Sequence], np.ndarray], things: list) -> list[Told]:
    """What comes of each; those that a batch fails with are tried one by one."""
    if not things:
        return []
    try:
        vectors = encode(things)
    except SearchError as error:
        return [error] * len(things)
    # A model fails in whatever way its library has, out of memory for one.
    except Exception:
        logger.exception("A batch of %s failed", len(things))
        if len(things) > 1:
            return [told for thing in things for told in _each(encode, [thing])]
        return [SearchUnavailable(FAILED)]
    return [vector.tobytes() for vector in vectors]
