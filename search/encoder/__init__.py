"""Encoders: texts or images in, embeddings (unit float32 vectors) out."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from django.conf import settings
from django.utils.module_loading import import_string

from .cached import CachedEncoder

if TYPE_CHECKING:
    from PIL import Image

    from .openclip import OpenClipEncoder

LOCAL = "search.encoder.openclip.OpenClipEncoder"

_encoders: dict[tuple[str, str, str], Any] = {}
_lock = threading.Lock()


class Encoder(Protocol):
    """One CLIP model; thread-safe.

    Both methods return float32 (count, dimension), rows of unit length, and raise
    SearchUnavailable when the model cannot be used. Images are small and in RGB, as
    search.images.decoders makes them of files.
    """

    @property
    def dimension(self) -> int: ...

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray: ...

    def read_texts(self, texts: Sequence[str]) -> tuple[np.ndarray, list[int]]:
        """Encode texts; return how many characters of each the model reads, too.

        Models read a number of tokens, and nothing of a text beyond.
        """
        ...

    def encode_images(self, images: Sequence["Image.Image"]) -> np.ndarray: ...


def encoder_for(model: str, weights: str) -> Encoder:
    """Return the encoder of SEARCH_ENCODER with a cache for texts, for queries.

    The encoder behind it is created once per model; weights load at first use.
    """
    return CachedEncoder(uncached_encoder_for(model, weights), model, weights)


def uncached_encoder_for(model: str, weights: str) -> Encoder:
    """Return the encoder of SEARCH_ENCODER without the cache."""
    return _instance(settings.SEARCH_ENCODER, model, weights)


def local_encoder(model: str, weights: str) -> "OpenClipEncoder":
    """Return the encoder in this process, for bulk work and encode workers."""
    return _instance(LOCAL, model, weights)


def _instance(class_name: str, model: str, weights: str) -> Any:
    """Return the one encoder of a class and a model."""
    key = (class_name, model, weights)
    with _lock:
        if key not in _encoders:
            _encoders[key] = import_string(class_name)(model, weights)
        return _encoders[key]
