"""An encode worker: take requests from the queue, encode them in batches, answer.

Requests that arrive within a few milliseconds, or while a batch is computed, become one
forward pass.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from django.conf import settings
from redis import RedisError

from search.errors import SearchError, SearchUnavailable
from search.observability import metrics
from search.observability.request_id import use_request_id

from . import local_encoder
from .openclip import OpenClipEncoder
from .queue import (
    IMAGE,
    LENGTH,
    LIVENESS,
    TEXT,
    Liveness,
    QueueServer,
    Request,
    unpack_image,
)

WINDOW_S = 0.005  # wait for more requests, within the 10 ms that a query may lose
IDLE_S = 0.5  # between checks of the stop flag
RETRY_S = 0.5  # when Redis does not answer
# Texts must not wait long behind images: a batch has as many images as take this long.
IMAGE_BATCH_S = 0.3
FIRST_IMAGE_BATCH = 4  # images, until it is known how long one takes

FAILED = "The model could not encode the words or the image."

Result = bytes | SearchError
logger = logging.getLogger(__name__)


class EncodeWorker:
    """One thread encodes; another sends heartbeats while that one is alive."""

    def __init__(
        self,
        url: str,
        models: Callable[[], Iterable[tuple[str, str]]],
        liveness: Liveness = LIVENESS,
    ):
        """Connect to `url`; `models` returns the models to preload: name, weights."""
        name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._queue = QueueServer(url, name, liveness)
        self._liveness = liveness
        self._models = models
        self._stopped, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="encode", daemon=True)
        self._limits = {TEXT: settings.ENCODER_BATCH, IMAGE: FIRST_IMAGE_BATCH}
        self._kinds = TEXT + IMAGE  # in order of preference

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Finish the current batch, and leave the queue to other workers."""
        self._stopped.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        for model, weights in self._models():
            try:
                local_encoder(model, weights).encode_texts([""])
            except SearchError as error:
                logger.warning("%s", error.message)
        threading.Thread(
            target=self._heartbeats, name="encode-heartbeat", daemon=True
        ).start()
        while not self._stopped.is_set():
            try:
                self.step()
            except RedisError as error:
                logger.warning("The queue does not answer: %s", error)
                self._stopped.wait(RETRY_S)
            # The clients time out; the requests after these must still be served.
            except Exception:
                logger.exception("A batch failed")
        self._ended.set()
        try:
            self._queue.unregister()
        except RedisError as error:
            logger.warning("The queue does not answer: %s", error)

    def _heartbeats(self) -> None:
        interval_s = self._liveness.interval_s
        while self._thread.is_alive() and not self._ended.wait(interval_s):
            try:
                if requeued := self._queue.heartbeat():
                    logger.warning("Requeued %s requests of dead workers", requeued)
            except RedisError:
                continue  # the other thread logs it

    def step(self) -> None:
        """Encode one batch, if requests arrive.

        Those without an answer stay held, and are tried again when the worker dies.
        """
        self._queue.wait(IDLE_S)
        requests = self._take_batch()
        if not requests:
            return
        # Alternate, so that images are encoded even while texts never stop coming.
        kind = requests[0].kind
        self._kinds = IMAGE + TEXT if kind == TEXT else TEXT + IMAGE
        started = time.perf_counter()
        by_model = groupby(sorted(requests, key=_model_of), _model_of)
        for (model, weights), group in by_model:
            batch = list(group)
            with use_request_id(",".join({request.name for request in batch})):
                self._answer(local_encoder(model, weights), batch)
        self._queue.release()
        if kind == IMAGE:
            image_s = (time.perf_counter() - started) / len(requests)
            fitting = max(int(IMAGE_BATCH_S / image_s), 1)
            self._limits[IMAGE] = min(fitting, settings.ENCODER_BATCH)

    def _take_batch(self) -> list[Request]:
        """Take requests of one kind; wait WINDOW_S for more if the batch has room."""
        requests, expired = self._queue.take(self._kinds, self._limits)
        if requests and (room := self._limits[requests[0].kind] - len(requests)):
            time.sleep(WINDOW_S)
            kind = requests[0].kind
            more, more_expired = self._queue.take(kind, {**self._limits, kind: room})
            requests, expired = requests + more, expired + more_expired
        metrics.EXPIRED.inc(expired)
        if requests:
            kind = "text" if requests[0].kind == TEXT else "picture"
            metrics.BATCHES.labels(kind).observe(len(requests))
        return requests

    def _answer(self, encoder: OpenClipEncoder, requests: list[Request]) -> None:
        if requests[0].kind == IMAGE:
            images = [unpack_image(request.content) for request in requests]
            results = _encode_batch(partial(_image_answers, encoder), images)
        else:
            texts = [
                request.content.decode(errors="surrogatepass") for request in requests
            ]
            results = _encode_batch(partial(_text_answers, encoder), texts)
        self._queue.answer(list(zip(requests, results, strict=True)))


def _model_of(request: Request) -> tuple[str, str]:
    return request.model, request.weights


def _image_answers(encoder: OpenClipEncoder, images: Sequence[Any]) -> list[bytes]:
    return [vector.tobytes() for vector in encoder.encode_images(images)]


def _text_answers(encoder: OpenClipEncoder, texts: Sequence[str]) -> list[bytes]:
    vectors, lengths = encoder.read_texts(texts)
    return [
        vector.tobytes() + LENGTH.pack(length)
        for vector, length in zip(vectors, lengths, strict=True)
    ]


def _encode_batch(encode: Callable[[list], list[bytes]], inputs: list) -> list[Result]:
    """Encode the inputs in one pass, or one by one if that fails."""
    if not inputs:
        return []
    try:
        return [*encode(inputs)]
    except SearchError as error:
        return [error] * len(inputs)
    # Models raise whatever their library does, such as out of memory.
    except Exception:
        logger.exception("A batch of %s failed", len(inputs))
        if len(inputs) > 1:
            return [result for one in inputs for result in _encode_batch(encode, [one])]
        return [SearchUnavailable(FAILED)]
