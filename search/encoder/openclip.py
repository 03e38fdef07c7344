"""CLIP in this process, by open_clip; torch is imported at first use only."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from search.errors import SearchUnavailable
from search.images.decode import decode

from .loading import load
from .shelf import Loaded, Shelf
from .short_texts import encode_text, text_ends

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

RETRY_PAUSE_S = 30  # after weights could not be loaded, from afar perhaps
TOGETHER = 64  # in a forward pass
# On a CPU the short texts of a batch do not wait for the long ones: tokens.
SHORT = (16, 32)

logger = logging.getLogger(__name__)
shelf: Shelf["OpenClipEncoder"] = Shelf()
# A picture of 40 megapixels takes 120 MB and more while it is unpacked, and a thread
# keeps some of that: so few threads do it (measured).
decoders = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "decoder")


class OpenClipEncoder:
    """Loads its model at first use, under a lock, and keeps it while there is room.

    `model` is an open_clip architecture, with `weights` a tag that open_clip knows or a
    file; or local-dir:FOLDER, a folder with its own open_clip_config.json and weights,
    relative to the project.
    """

    def __init__(self, model: str, weights: str = ""):
        self.model = model
        self.weights = weights
        self._lock = threading.Lock()
        self._failure = ""
        self._retry_at = 0.0

    @cached_property
    def dimension(self) -> int:
        return self.encode_texts([""]).shape[1]

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (len(texts), dimension), rows of unit length."""
        loaded = self._loaded
        tokens = loaded.tokenizer(list(texts))
        encode = partial(encode_text, loaded.model)
        ends = text_ends(loaded.model, tokens).tolist()
        vectors: dict[int, np.ndarray] = {}
        for rows in _of_like_length(ends, loaded.device.type):
            encoded = _computed(encode, tokens[rows].to(loaded.device))
            vectors.update(zip(rows, encoded, strict=True))
        return np.stack([vectors[row] for row in range(len(texts))])

    def encode_pictures(self, files: Sequence[bytes]) -> np.ndarray:
        """float32 (len(files), dimension), rows of unit length."""
        return self.encode_prepared(decoders.map(self.prepare, files))

    def encode_images(self, images: Sequence["Image.Image"]) -> np.ndarray:
        """float32 (len(images), dimension), rows of unit length."""
        return self.encode_prepared(decoders.map(self._loaded.preprocess, images))

    def prepare(self, file: bytes) -> "Tensor":
        """A picture as the model looks at it; raises NotAPicture or PictureTooLarge."""
        return self._loaded.preprocess(decode(file))

    def encode_prepared(self, pictures: Iterable["Tensor"]) -> np.ndarray:
        """float32 (number of pictures, dimension), rows of unit length.

        One pass computes while threads go on to prepare the next.
        """
        import torch

        loaded = self._loaded
        encode, to = loaded.model.encode_image, (loaded.device, loaded.precision)
        parts = (torch.stack(part).to(*to) for part in _parts(pictures))
        return np.concatenate([_computed(encode, part) for part in parts])

    @property
    def _loaded(self) -> Loaded:
        """A failure is not repeated at once."""
        with self._lock:
            if (there := shelf.get(self)) is not None:
                return there
            if time.monotonic() < self._retry_at:
                raise SearchUnavailable(self._failure)
            try:
                loaded = load(self.model, self.weights)
            except SearchUnavailable as error:
                self._failure = error.message
                self._retry_at = time.monotonic() + RETRY_PAUSE_S
                raise
            logger.info("Loaded the model %s %s", self.model, self.weights)
            for gone in shelf.put(self, loaded):
                logger.info("It took the place of %s %s", gone.model, gone.weights)
            return loaded


def _computed(encode: Callable[["Tensor"], Any], batch: "Tensor") -> np.ndarray:
    """Unit vectors, made so in float32, whatever the model computes in."""
    import torch

    with torch.inference_mode():
        vectors = torch.nn.functional.normalize(encode(batch).float(), dim=-1)
    return vectors.cpu().numpy()


def _of_like_length(ends: list[int], kind: str) -> Iterator[list[int]]:
    """The rows of passes of at most TOGETHER texts; a GPU takes them as they come."""
    steps = SHORT if kind == "cpu" else ()
    groups: dict[int, list[int]] = {}
    for row, end in enumerate(ends):
        groups.setdefault(sum(end >= step for step in steps), []).append(row)
    for rows in groups.values():
        yield from _parts(rows)


def _parts(things: Iterable[Any]) -> Iterator[list[Any]]:
    """Lists of TOGETHER things, the last one shorter."""
    part: list[Any] = []
    for thing in things:
        part.append(thing)
        if len(part) == TOGETHER:
            yield part
            part = []
    if part:
        yield part
