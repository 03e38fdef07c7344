"""CLIP in this process, by open_clip; torch is imported at first use only."""

import logging
import threading
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings

from search.errors import SearchUnavailable

if TYPE_CHECKING:
    from PIL import Image

LOCAL = "local-dir:"
RETRY_PAUSE_S = 30  # after weights could not be loaded, from afar perhaps
OWN_MERGES = "bpe.txt.gz"  # byte-pair merges that a local model may bring along

logger = logging.getLogger(__name__)
_kept_libraries: list[Any] = []


class OpenClipEncoder:
    """Loads its model at first use, under a lock, and keeps it.

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
        import torch

        model, _, tokenizer = self._loaded
        with torch.inference_mode():
            vectors = model.encode_text(tokenizer(list(texts)), normalize=True)
        return vectors.float().numpy()

    def encode_images(self, images: Sequence["Image.Image"]) -> np.ndarray:
        """float32 (len(images), dimension), rows of unit length."""
        import torch

        model, preprocess, _ = self._loaded
        batch = torch.stack([preprocess(image) for image in images])
        with torch.inference_mode():
            vectors = model.encode_image(batch, normalize=True)
        return vectors.float().numpy()

    @property
    def _loaded(self) -> tuple[Any, Any, Any]:
        """Model, preprocessing and tokenizer; a failure is not repeated at once."""
        with self._lock:
            if time.monotonic() < self._retry_at:
                raise SearchUnavailable(self._failure)
            try:
                return self._load_once
            except SearchUnavailable as error:
                self._failure = error.message
                self._retry_at = time.monotonic() + RETRY_PAUSE_S
                raise

    @cached_property
    def _load_once(self) -> tuple[Any, Any, Any]:
        keep_torchvision_importable()
        import open_clip

        name = self._resolved_name()
        if not _has_weights(name, self.weights):
            raise SearchUnavailable(f"The model {self.model} has no weights here.")
        try:
            model, _, preprocess = open_clip.create_model_and_transforms(
                name, pretrained=self.weights or None
            )
            tokenizer = open_clip.get_tokenizer(name, **_own_merges(name))
        # Weights from outside fail in as many ways as there are formats.
        except Exception as error:
            raise SearchUnavailable(
                f"The model {self.model} {self.weights} cannot be loaded here."
            ) from error
        logger.info("Loaded the model %s %s", self.model, self.weights)
        return model.eval(), preprocess, tokenizer

    def _resolved_name(self) -> str:
        if not self.model.startswith(LOCAL):
            return self.model
        return f"{LOCAL}{settings.BASE_DIR / self.model.removeprefix(LOCAL)}"


def _has_weights(name: str, weights: str) -> bool:
    """Without any, open_clip would make a model of random weights and say nothing."""
    if name.startswith(LOCAL):
        return any(Path(name.removeprefix(LOCAL)).glob("*.safetensors"))
    return bool(weights)


def _own_merges(name: str) -> dict[str, str]:
    merges = Path(name.removeprefix(LOCAL)) / OWN_MERGES
    if name.startswith(LOCAL) and merges.exists():
        return {"bpe_path": str(merges)}
    return {}


def keep_torchvision_importable() -> None:
    """Lets torchvision be imported beside a torch of another build.

    A torchvision built for CUDA lacks its operators beside a torch for the CPU, and its
    import fails where it registers their shapes. The declarations are all it needs.
    """
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(
                f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
        _kept_libraries.append(library)  # the declarations live as long as it does
