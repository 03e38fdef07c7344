"""Words or a picture in, an Embedding out: a unit-length float32 vector."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from django.conf import settings
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from PIL import Image

_encoders: dict[tuple[str, str, str], "Encoder"] = {}
_lock = threading.Lock()


class Encoder(Protocol):
    """One CLIP model; safe to use from many threads.

    Both methods return float32 of shape (count, dimension), rows of unit length, and
    raise SearchUnavailable when the model cannot be had.
    """

    @property
    def dimension(self) -> int: ...

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray: ...

    def encode_images(self, images: Sequence["Image.Image"]) -> np.ndarray: ...


def encoder_for(model: str, weights: str) -> Encoder:
    """The encoder of a model, made at first use and kept; weights load when needed."""
    key = (settings.SEARCH_ENCODER, model, weights)
    with _lock:
        if key not in _encoders:
            _encoders[key] = import_string(settings.SEARCH_ENCODER)(model, weights)
        return _encoders[key]
