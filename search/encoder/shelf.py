"""The models in memory, within a budget: the one used longest ago makes room."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.conf import settings

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Loaded:
    """A model of open_clip's, ready to be used on its device."""

    model: Any
    preprocess: Any
    tokenizer: Any
    device: Any
    precision: Any  # torch's type of the pictures it takes
    bytes: int  # of its weights


class Shelf(Generic[Key]):
    """Safe to use from many threads.

    What is taken away while a thread works with it lives until that has ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: OrderedDict[Key, Loaded] = OrderedDict()

    def get(self, key: Key) -> Loaded | None:
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
            return self._loaded.get(key)

    def put(self, key: Key, loaded: Loaded) -> list[Key]:
        """Returns what had to go; the new one stays, whatever its size."""
        most = settings.ENCODER_MEMORY_MB * 2**20
        gone = []
        with self._lock:
            self._loaded[key] = loaded
            while len(self._loaded) > 1 and self._size() > most:
                gone.append(self._loaded.popitem(last=False)[0])
        return gone

    def _size(self) -> int:
        return sum(loaded.bytes for loaded in self._loaded.values())
