"""A cache for the embeddings of texts, because users repeat queries."""

import hashlib
import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from search import cache

if TYPE_CHECKING:
    from PIL import Image

    from . import Encoder

CACHE_S = 24 * 3_600
ASCII_BLANKS = re.compile("[ \t\n]+")


class CachedEncoder:
    """An encoder that caches texts in Django's cache; another one encodes the rest."""

    def __init__(self, encoder: "Encoder", model: str, weights: str):
        self.encoder = encoder
        self._name = f"{model}\n{weights}"

    @property
    def dimension(self) -> int:
        return self.encoder.dimension

    def encode_images(self, images: Sequence["Image.Image"]) -> np.ndarray:
        return self.encoder.encode_images(images)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (len(texts), dimension), rows of unit length."""
        return self.read_texts(texts)[0]

    def read_texts(self, texts: Sequence[str]) -> tuple[np.ndarray, list[int]]:
        """Encode texts; return how many characters of each the model reads, too."""
        normalized = [normalized_text(text) for text in texts]
        cached = {
            text: cache.get(self._key(text)) for text in dict.fromkeys(normalized)
        }
        missing = [text for text in cached if cached[text] is None]
        if missing:
            encoded = self.encoder.read_texts(missing)
            for text, vector, length in zip(missing, *encoded, strict=True):
                cached[text] = (vector.tobytes(), length)
                cache.set(self._key(text), cached[text], CACHE_S)
        known = [cached[text] for text in normalized]
        vectors = [np.frombuffer(vector, np.float32) for vector, _ in known]
        lengths = [
            _length_before(text, length)
            for text, (_, length) in zip(texts, known, strict=True)
        ]
        matrix = np.stack(vectors) if vectors else np.empty((0, self.dimension), "f4")
        return matrix, lengths

    def _key(self, text: str) -> str:
        named = f"{self._name}\n{text}".encode(errors="surrogatepass")
        return f"words:{hashlib.sha256(named).hexdigest()}"


def _length_before(text: str, length: int) -> int:
    """Return the length of the beginning whose normal form has this length."""
    if length >= len(normalized_text(text)):
        return len(text)
    ends = range(len(text))
    return bisect_left(ends, length, key=lambda end: len(normalized_text(text[:end])))


def normalized_text(text: str) -> str:
    """Collapse blanks where that cannot change the tokens, which is in ASCII only.

    All tokenizers of open_clip collapse blanks, but only after repairing text that
    looks wrongly decoded, where a blank can matter. Only some of them ignore case, so
    case stays.
    """
    return ASCII_BLANKS.sub(" ", text).strip(" ") if text.isascii() else text
