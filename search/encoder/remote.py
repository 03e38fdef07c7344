"""CLIP elsewhere: the encode workers of Celery compute, this process loads no model."""

from collections.abc import Sequence
from functools import cache, cached_property

import numpy as np
from django.conf import settings
from redis import RedisError

from search.errors import SearchUnavailable
from search.images.decode import check
from search.observability.request_id import request_id

from .queue import QueueClient, Request, new_call

TOGETHER = 32  # of one call, so that a long one leaves room for others


class CeleryEncoder:
    """Asks by way of the Redis of CELERY_BROKER_URL.

    It waits no longer than ENCODER_WAIT_S, then raises SearchUnavailable. Pictures
    travel as they are, and are decoded by the worker; here only their head is read.
    """

    def __init__(self, model: str, weights: str = ""):
        self.model = model
        self.weights = weights

    @cached_property
    def dimension(self) -> int:
        return self.encode_texts([""]).shape[1]

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (len(texts), dimension), rows of unit length."""
        return self._asked("t", [text.encode(errors="surrogatepass") for text in texts])

    def encode_pictures(self, files: Sequence[bytes]) -> np.ndarray:
        """float32 (len(files), dimension), rows of unit length."""
        for file in files:
            check(file)
        return self._asked("p", files)

    def _asked(self, kind: str, contents: Sequence[bytes]) -> np.ndarray:
        answers: list[bytes] = []
        for start in range(0, len(contents), TOGETHER):
            call, name = new_call(), request_id()
            requests = [
                Request(call, number, kind, self.model, self.weights, content, name)
                for number, content in enumerate(contents[start : start + TOGETHER])
            ]
            try:
                answers += asking(settings.CELERY_BROKER_URL).ask(
                    requests, settings.ENCODER_QUEUE, settings.ENCODER_WAIT_S
                )
            except RedisError as error:
                raise SearchUnavailable(
                    "Words and pictures cannot be searched for at the moment: the "
                    "queue of the encode workers does not answer."
                ) from error
        return np.stack([np.frombuffer(answer, np.float32) for answer in answers])


@cache
def asking(url: str) -> QueueClient:
    """One for each broker, with the connections of all threads."""
    return QueueClient(url)
