"""CLIP in encode workers: this process sends requests and loads no model."""

from collections.abc import Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
from django.conf import settings
from redis import ConnectionError as RedisConnectionError
from redis import RedisError
from redis import TimeoutError as RedisTimeout

from search import deadlines
from search.circuits import Circuit
from search.errors import SearchUnavailable
from search.observability.request_id import request_id

from .queue import IMAGE, LENGTH, TEXT, QueueClient, Request, new_call, pack_image

if TYPE_CHECKING:
    from PIL import Image

NO_QUEUE = (
    "Searches by words or images are unavailable: the queue of the encode workers does "
    "not respond."
)
CIRCUIT = Circuit(
    NO_QUEUE, lambda error: isinstance(error, RedisConnectionError | RedisTimeout)
)
MAX_CALL = 32  # requests of one call, so that a long one leaves room for others


class CeleryEncoder:
    """Encoder that sends requests through the Redis of CELERY_BROKER_URL.

    After ENCODER_WAIT_S it raises SearchUnavailable. Images are sent as pixels.
    """

    def __init__(self, model: str, weights: str = ""):
        self.model = model
        self.weights = weights

    @cached_property
    def dimension(self) -> int:
        return self.encode_texts([""]).shape[1]

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (len(texts), dimension), rows of unit length."""
        return self.read_texts(texts)[0]

    def read_texts(self, texts: Sequence[str]) -> tuple[np.ndarray, list[int]]:
        """Encode texts; return how many characters of each the model reads, too."""
        contents = [text.encode(errors="surrogatepass") for text in texts]
        answers = self._encode(TEXT, contents)
        vectors = [answer[: -LENGTH.size] for answer in answers]
        lengths = [LENGTH.unpack(answer[-LENGTH.size :])[0] for answer in answers]
        return _matrix(vectors), lengths

    def encode_images(self, images: Sequence["Image.Image"]) -> np.ndarray:
        """Return float32 (len(images), dimension), rows of unit length."""
        return _matrix(self._encode(IMAGE, [pack_image(image) for image in images]))

    def _encode(self, kind: str, contents: Sequence[bytes]) -> list[bytes]:
        answers: list[bytes] = []
        for start in range(0, len(contents), MAX_CALL):
            call, name = new_call(), request_id()
            requests = [
                Request(call, number, kind, self.model, self.weights, content, name)
                for number, content in enumerate(contents[start : start + MAX_CALL])
            ]
            wait_s = deadlines.seconds_left(settings.ENCODER_WAIT_S)
            try:
                with CIRCUIT.calling():
                    answers += client_for(settings.CELERY_BROKER_URL).encode(
                        requests, settings.ENCODER_QUEUE, wait_s
                    )
            except RedisError as error:
                raise SearchUnavailable(NO_QUEUE) from error
        return answers


def _matrix(vectors: Sequence[bytes]) -> np.ndarray:
    return np.stack([np.frombuffer(vector, np.float32) for vector in vectors])


@cache
def client_for(url: str) -> QueueClient:
    """Return the client of a broker, which all threads share."""
    return QueueClient(url)
