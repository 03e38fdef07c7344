"""Words or a picture in, an Embedding out: a unit-length float32 vector."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from django.conf import settings
from django.utils.module_loading import import_string

from .cached import CachedEncoder

if TYPE_CHECKING:
    from .openclip import OpenClipEncoder

HERE = "search.encoder.openclip.OpenClipEncoder"

_encoders: dict[tuple[str, str, str], Any] = {}
_lock = threading.Lock()


class Encoder(Protocol):
    """One CLIP model; safe to use from many threads.

    Both methods return float32 of shape (count, dimension), rows of unit length, and
    raise SearchUnavailable when the model cannot be had. Pictures are files as they
    come from outside; NotAPicture and PictureTooLarge say what is wrong with one.
    """

    @property
    def dimension(self) -> int: ...

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray: ...

    def encode_pictures(self, files: Sequence[bytes]) -> np.ndarray: ...


def encoder_for(model: str, weights: str) -> Encoder:
    """The encoder that answers queries, as SEARCH_ENCODER says; texts are remembered.

    It is made at first use and kept; weights load when they are needed.
    """
    return CachedEncoder(uncached_encoder_for(model, weights), model, weights)


def uncached_encoder_for(model: str, weights: str) -> Encoder:
    """The encoder that answers queries, without the memory: it computes each time."""
    return _made(settings.SEARCH_ENCODER, model, weights)


def encoder_here(model: str, weights: str) -> "OpenClipEncoder":
    """One that computes in this process, for work in bulk and in encode workers."""
    return _made(HERE, model, weights)


def _made(kind: str, model: str, weights: str) -> Any:
    """Of the class of this name, which only the callers know to be an encoder."""
    key = (kind, model, weights)
    with _lock:
        if key not in _encoders:
            _encoders[key] = import_string(kind)(model, weights)
        return _encoders[key]
