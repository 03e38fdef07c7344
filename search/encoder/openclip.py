"""CLIP in this process with open_clip; torch is imported at first use only."""

import json
import logging
import os
import threading
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from django.conf import settings

from search.errors import SearchUnavailable, UnknownModel

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class LoadedModel:
    """An open_clip model on its device."""

    model: Any
    preprocess: Any
    tokenizer: Any
    device: Any
    precision: Any  # torch.dtype of the image tensors it takes
    bytes: int  # of its weights


class ModelCache(Generic[Key]):
    """The loaded models, within ENCODER_MEMORY_MB; thread-safe.

    A model that is evicted while threads use it lives until they have finished.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: OrderedDict[Key, LoadedModel] = OrderedDict()

    def get(self, key: Key) -> LoadedModel | None:
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
            return self._loaded.get(key)

    def put(self, key: Key, loaded: LoadedModel) -> list[Key]:
        """Add a model of any size; return the keys of the evicted ones."""
        max_bytes = settings.ENCODER_MEMORY_MB * 2**20
        evicted = []
        with self._lock:
            self._loaded[key] = loaded
            while len(self._loaded) > 1 and self._size() > max_bytes:
                evicted.append(self._loaded.popitem(last=False)[0])
        return evicted

    def _size(self) -> int:
        return sum(loaded.bytes for loaded in self._loaded.values())


LOCAL = "local-dir:"
HUB = "hf-hub:"
CONFIGURATION = "open_clip_config.json"  # of a local model
OWN_MERGES = "bpe.txt.gz"  # optional byte-pair merges of a local model
PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}

_libraries: list[Any] = []


def load(model: str, weights: str) -> LoadedModel:
    """Load a model to ENCODER_DEVICE; raises UnknownModel or SearchUnavailable.

    The weights are in ENCODER_PRECISION: autocast would keep them in float32 and
    convert them in each pass, which costs a single text more than it gains.
    """
    dimension_of(model, weights)
    make_torchvision_importable()
    import open_clip
    import torch

    name = _resolved(model)
    device = _device()
    precision = _precision(device)
    try:
        loaded, _, preprocess = open_clip.create_model_and_transforms(
            name, pretrained=weights or None, precision=precision, device=device
        )
        tokenizer = open_clip.get_tokenizer(name, **_own_merges(name))
    # Bad weights fail in as many ways as there are formats.
    except Exception as error:
        raise SearchUnavailable(
            f"The model {model} {weights} cannot be loaded here."
        ) from error
    return LoadedModel(
        loaded.eval(),
        preprocess,
        tokenizer,
        torch.device(device),
        open_clip.get_input_dtype(precision) or torch.float32,
        sum(each.nbytes for each in [*loaded.parameters(), *loaded.buffers()]),
    )


def dimension_of(model: str, weights: str) -> int:
    """Return the length of a model's vectors without loading it; 0 if not known.

    Raises UnknownModel if there is no such model, or no weights. Weights that have a
    tag of open_clip may still have to be downloaded.
    """
    name = _resolved(model)
    if not _has_weights(name, weights):
        raise UnknownModel(f"The model {model} has no weights here.")
    if name.startswith(LOCAL):
        return local_dimension(Path(name.removeprefix(LOCAL)))
    make_torchvision_importable()
    import open_clip

    if model.startswith(HUB):
        return 0
    configuration = open_clip.get_model_config(model)
    if configuration is None:
        raise UnknownModel(f"There is no model named “{model[:60]}”.")
    if not (open_clip.is_pretrained_cfg(model, weights) or os.path.isfile(weights)):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)[:8]) or "none"
        raise UnknownModel(
            f"The model {model} has no weights “{weights[:60]}”; there are {tags}."
        )
    return int(configuration["embed_dim"])


def downloaded() -> set[tuple[str, str]]:
    """Return the models, by name and weights, that are in open_clip's local cache."""
    make_torchvision_importable()
    import open_clip
    from huggingface_hub.constants import HF_HUB_CACHE

    repositories = {
        "/".join(path.parent.name.split("--")[1:])
        for path in Path(HF_HUB_CACHE).glob("models--*/snapshots")
        if any(path.glob("*/*"))
    }
    return {
        (model, tag)
        for model, tag in open_clip.list_pretrained()
        if _repository(open_clip.get_pretrained_cfg(model, tag)) in repositories
    }


def _repository(configuration: dict[str, Any]) -> str:
    """Return the repository of weights: "timm/x" for "timm/x/"."""
    return configuration.get("hf_hub", "").rpartition("/")[0]


def local_dimension(folder: Path) -> int:
    """Return the length of the vectors of a model in a folder. Raises UnknownModel."""
    try:
        configuration = json.loads((folder / CONFIGURATION).read_text())
        return int(configuration["model_cfg"]["embed_dim"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        sentence = f"The folder {folder} has no {CONFIGURATION} that can be read."
        raise UnknownModel(sentence) from error


def _device() -> str:
    """Return ENCODER_DEVICE; for auto the first GPU, or the CPU without one."""
    import torch

    if settings.ENCODER_DEVICE != "auto":
        return settings.ENCODER_DEVICE
    return "cuda" if torch.cuda.is_available() else "cpu"


def _precision(device: str) -> str:
    precision = settings.ENCODER_PRECISION
    if precision == "auto":
        precision = "float16" if device.startswith("cuda") else "float32"
    return PRECISIONS[precision]


def _resolved(model: str) -> str:
    if not model.startswith(LOCAL):
        return model
    return f"{LOCAL}{settings.BASE_DIR / model.removeprefix(LOCAL)}"


def _has_weights(name: str, weights: str) -> bool:
    """Return False where open_clip would silently create random weights."""
    if name.startswith(LOCAL):
        return any(Path(name.removeprefix(LOCAL)).glob("*.safetensors"))
    return bool(weights)


def _own_merges(name: str) -> dict[str, str]:
    merges = Path(name.removeprefix(LOCAL)) / OWN_MERGES
    if name.startswith(LOCAL) and merges.exists():
        return {"bpe_path": str(merges)}
    return {}


def make_torchvision_importable() -> None:
    """Let torchvision be imported with a torch of another build.

    With a torch for the CPU, a torchvision built for CUDA lacks its operators, and its
    import fails where it registers their shapes. Declaring them is enough.
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
        _libraries.append(library)  # declarations end with their library


if TYPE_CHECKING:
    from torch import Tensor


def encode_text(model: Any, tokens: "Tensor") -> "Tensor":
    """Return model.encode_text(tokens), not normalized.

    In a causal text tower, tokens after the end have no effect, so only those up to the
    last end in the batch are computed. Other towers compute all tokens.
    """
    tower = _causal_tower(model)
    if tower is None:
        return model.encode_text(tokens)
    ends = text_ends(model, tokens)
    length = int(ends.max()) + 1
    kind = tower.transformer.get_cast_dtype()
    vectors = tower.token_embedding(tokens[:, :length]).to(kind)
    vectors = vectors + tower.positional_embedding[:length].to(kind)
    mask = tower.attn_mask[:length, :length]
    vectors = tower.ln_final(tower.transformer(vectors, attn_mask=mask))
    vectors = vectors[range(len(vectors)), ends]
    projection = tower.text_projection
    if projection is None:
        return vectors
    return projection(vectors) if callable(projection) else vectors @ projection


def text_ends(model: Any, tokens: "Tensor") -> "Tensor":
    """Return the index of the last relevant token of each row of (count, length)."""
    tower = _causal_tower(model)
    if tower is None:
        return tokens.new_full((len(tokens),), tokens.shape[1] - 1)
    if _pooling(tower) == "argmax":
        return tokens.argmax(dim=-1)  # the token of the end has the highest number
    return (tokens == _end_token(tower)).int().argmax(dim=-1)


def read_length(tokenizer: Any, text: str, tokens: "Tensor") -> int:
    """Return the length of the least beginning of a text that has all its `tokens`.

    It is that of the text if only white space follows.
    """

    def is_whole(length: int) -> bool:
        return bool((tokenizer([text[:length]])[0] == tokens).all())

    length = bisect_left(range(len(text)), True, key=is_whole)
    return length if text[length:].strip() else len(text)


def _causal_tower(model: Any) -> Any:
    """Return the text tower if its input may be truncated; None for other kinds."""
    import open_clip
    from open_clip.transformer import TextTransformer

    tower = model.text if type(model) is open_clip.CustomTextCLIP else model
    # Exactly these: derived classes may compute something else.
    if type(tower) not in (open_clip.CLIP, TextTransformer):
        return None
    if tower.attn_mask is None or getattr(tower, "cls_emb", None) is not None:
        return None
    return tower if _pooling(tower) in ("argmax", "eos") else None


def _pooling(tower: Any) -> str:
    return getattr(tower, "text_pool_type", None) or tower.pool_type


def _end_token(tower: Any) -> int:
    return tower.text_eos_id if hasattr(tower, "text_eos_id") else tower.eos_id


if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

RETRY_PAUSE_S = 30  # after weights could not be loaded, which may be downloaded
BATCH_SIZE = 64  # of a forward pass
# Token counts at which a CPU splits a batch, so that short texts are not padded to the
# length of long ones.
LENGTH_STEPS = (16, 32)

logger = logging.getLogger(__name__)
model_cache: ModelCache["OpenClipEncoder"] = ModelCache()
preparers = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "encoder")


class OpenClipEncoder:
    """Encoder that loads its model at first use and again after an eviction.

    `model` is an open_clip architecture, with `weights` one of open_clip's tags or a
    file; or local-dir:FOLDER, a folder with an open_clip_config.json and weights,
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

    @property
    def is_loaded(self) -> bool:
        """Return whether the model is in memory, and nothing has to be loaded."""
        return model_cache.get(self) is not None

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (len(texts), dimension), rows of unit length."""
        return self._encode_tokens(self._loaded.tokenizer(list(texts)))

    def read_texts(self, texts: Sequence[str]) -> tuple[np.ndarray, list[int]]:
        """Encode texts; return how many characters of each the model reads, too."""
        tokenizer = self._loaded.tokenizer
        tokens = tokenizer(list(texts))
        unused = tokenizer([""])[0, -1]
        lengths = [
            len(text) if row[-1] == unused else read_length(tokenizer, text, row)
            for text, row in zip(texts, tokens, strict=True)
        ]
        return self._encode_tokens(tokens), lengths

    def _encode_tokens(self, tokens: "Tensor") -> np.ndarray:
        loaded = self._loaded
        encode = partial(encode_text, loaded.model)
        ends = text_ends(loaded.model, tokens).tolist()
        vectors: dict[int, np.ndarray] = {}
        for rows in _batches_by_length(ends, loaded.device.type):
            encoded = _encode(encode, tokens[rows].to(loaded.device))
            vectors.update(zip(rows, encoded, strict=True))
        return np.stack([vectors[row] for row in range(len(tokens))])

    def encode_images(self, images: Sequence["Image.Image"]) -> np.ndarray:
        """Return float32 (len(images), dimension), rows of unit length.

        A pass runs while other threads prepare the images of the next.
        """
        import torch

        loaded = self._loaded
        prepared = preparers.map(loaded.preprocess, images)
        encode, to = loaded.model.encode_image, (loaded.device, loaded.precision)
        batches = (torch.stack(batch).to(*to) for batch in _batches(prepared))
        return np.concatenate([_encode(encode, batch) for batch in batches])

    @property
    def _loaded(self) -> LoadedModel:
        """Load the model unless it is cached; after a failure, retry only later."""
        with self._lock:
            if (cached := model_cache.get(self)) is not None:
                return cached
            if time.monotonic() < self._retry_at:
                raise SearchUnavailable(self._failure)
            try:
                loaded = load(self.model, self.weights)
            except UnknownModel:
                raise
            except SearchUnavailable as error:
                self._failure = error.message
                self._retry_at = time.monotonic() + RETRY_PAUSE_S
                raise
            logger.info("Loaded the model %s %s", self.model, self.weights)
            for evicted in model_cache.put(self, loaded):
                logger.info("Evicted the model %s %s", evicted.model, evicted.weights)
            return loaded


def _encode(encode: Callable[["Tensor"], Any], batch: "Tensor") -> np.ndarray:
    """Return unit vectors, normalized in float32 whatever the model's precision."""
    import torch

    with torch.inference_mode():
        vectors = torch.nn.functional.normalize(encode(batch).float(), dim=-1)
    return vectors.cpu().numpy()


def _batches_by_length(ends: list[int], device_type: str) -> Iterator[list[int]]:
    """Yield the rows of each batch; on a CPU, of texts of similar lengths."""
    steps = LENGTH_STEPS if device_type == "cpu" else ()
    groups: dict[int, list[int]] = {}
    for row, end in enumerate(ends):
        groups.setdefault(sum(end >= step for step in steps), []).append(row)
    for rows in groups.values():
        yield from _batches(rows)


def _batches(inputs: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield lists of BATCH_SIZE inputs, the last one shorter."""
    batch: list[Any] = []
    for one in inputs:
        batch.append(one)
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = []
    if batch:
        yield batch
