"""CLIP in this process, by open_clip; torch is imported at first use only."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from django.conf import settings

from search.errors import SearchUnavailable
from search.images.decode import decode, decoder_pool

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class LoadedModel:
    """A model of open_clip's, ready to be used on its device."""

    model: Any
    preprocess: Any
    tokenizer: Any
    device: Any
    precision: Any  # torch's type of the pictures it takes
    bytes: int  # of its weights


class ModelCache(Generic[Key]):
    """Safe to use from many threads.

    What is taken away while a thread works with it lives until that has ended.
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


LOCAL = "local-dir:"
OWN_MERGES = "bpe.txt.gz"  # byte-pair merges that a local model may bring along
PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}

_kept_libraries: list[Any] = []


def load(model: str, weights: str) -> LoadedModel:
    """Raises SearchUnavailable when it cannot be had.

    The weights are kept in the chosen precision. Autocast would have them in float32
    and convert them at each pass, which costs a lone text more than is gained.
    """
    keep_torchvision_importable()
    import open_clip
    import torch

    name = _resolved(model)
    if not _has_weights(name, weights):
        raise SearchUnavailable(f"The model {model} has no weights here.")
    on = _device()
    precision = _precision(on)
    try:
        made, _, preprocess = open_clip.create_model_and_transforms(
            name, pretrained=weights or None, precision=precision, device=on
        )
        tokenizer = open_clip.get_tokenizer(name, **_own_merges(name))
    # Weights from outside fail in as many ways as there are formats.
    except Exception as error:
        raise SearchUnavailable(
            f"The model {model} {weights} cannot be loaded here."
        ) from error
    size = sum(each.nbytes for each in [*made.parameters(), *made.buffers()])
    takes = open_clip.get_input_dtype(precision) or torch.float32
    return LoadedModel(
        made.eval(), preprocess, tokenizer, torch.device(on), takes, size
    )


def _device() -> str:
    """ENCODER_DEVICE, and in place of auto the first GPU if there is one."""
    import torch

    if settings.ENCODER_DEVICE != "auto":
        return settings.ENCODER_DEVICE
    return "cuda" if torch.cuda.is_available() else "cpu"


def _precision(on: str) -> str:
    chosen = settings.ENCODER_PRECISION
    if chosen == "auto":
        chosen = "float16" if on.startswith("cuda") else "float32"
    return PRECISIONS[chosen]


def _resolved(model: str) -> str:
    if not model.startswith(LOCAL):
        return model
    return f"{LOCAL}{settings.BASE_DIR / model.removeprefix(LOCAL)}"


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


if TYPE_CHECKING:
    from torch import Tensor


def encode_text(model: Any, tokens: "Tensor") -> "Tensor":
    """As model.encode_text(tokens), not normalised.

    Towers that see the whole text, or pool it in another way, compute all of it.
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
    """Where the last token that counts stands in each row of tokens (count, length)."""
    tower = _causal_tower(model)
    if tower is None:
        return tokens.new_full((len(tokens),), tokens.shape[1] - 1)
    if _pooling(tower) == "argmax":
        return tokens.argmax(dim=-1)  # the token of the end has the highest number
    return (tokens == _end_token(tower)).int().argmax(dim=-1)


def _causal_tower(model: Any) -> Any:
    """The text tower that may be shortened; None when the model has another one."""
    import open_clip
    from open_clip.transformer import TextTransformer

    tower = model.text if type(model) is open_clip.CustomTextCLIP else model
    # Exactly these: what is derived from them has other ways.
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

RETRY_PAUSE_S = 30  # after weights could not be loaded, from afar perhaps
TOGETHER = 64  # in a forward pass
# On a CPU the short texts of a batch do not wait for the long ones: tokens.
SHORT = (16, 32)

logger = logging.getLogger(__name__)
model_cache: ModelCache["OpenClipEncoder"] = ModelCache()
decoders = decoder_pool("encoder")


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
    def _loaded(self) -> LoadedModel:
        """A failure is not repeated at once."""
        with self._lock:
            if (there := model_cache.get(self)) is not None:
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
            for gone in model_cache.put(self, loaded):
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
