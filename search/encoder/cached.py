"""The embeddings of texts, remembered in Django's cache: people ask the same again."""

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from search import cache

if TYPE_CHECKING:
    from . import Encoder

CACHE_S = 24 * 3_600
ASCII_BLANKS = re.compile("[ \t\n]+")


class CachedEncoder:
    """An encoder that asks another one only for texts that are not in the cache."""

    def __init__(self, encoder: "Encoder", model: str, weights: str):
        self.encoder = encoder
        self._name = f"{model}\n{weights}"

    @property
    def dimension(self) -> int:
        return self.encoder.dimension

    def encode_pictures(self, files: Sequence[bytes]) -> np.ndarray:
        return self.encoder.encode_pictures(files)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (len(texts), dimension), rows of unit length."""
        normal = [normalized_text(text) for text in texts]
        known = {text: cache.get(self._key(text)) for text in dict.fromkeys(normal)}
        new = [text for text in known if known[text] is None]
        if new:
            for text, vector in zip(new, self.encoder.encode_texts(new), strict=True):
                known[text] = vector.tobytes()
                cache.set(self._key(text), known[text], CACHE_S)
        vectors = [np.frombuffer(known[text], np.float32) for text in normal]
        return np.stack(vectors) if vectors else np.empty((0, self.dimension), "f4")

    def _key(self, text: str) -> str:
        told = f"{self._name}\n{text}".encode(errors="surrogatepass")
        return f"text:{hashlib.sha256(told).hexdigest()}"


def normalized_text(text: str) -> str:
    """With single blanks, where that cannot change the tokens.

    All tokenizers of open_clip's fold blanks, but only after repairing what looks
    wrongly decoded, in which a blank can have a meaning: so only in plain ASCII. Upper
    and lower case are one to some of them alone.
    """
    return ASCII_BLANKS.sub(" ", text).strip(" ") if text.isascii() else text
