"""A model of open_clip's from its name and weights onto a device."""

from pathlib import Path
from typing import Any

from django.conf import settings

from search.errors import SearchUnavailable

from .shelf import Loaded

LOCAL = "local-dir:"
OWN_MERGES = "bpe.txt.gz"  # byte-pair merges that a local model may bring along
PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}

_kept_libraries: list[Any] = []


def load(model: str, weights: str) -> Loaded:
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
    return Loaded(made.eval(), preprocess, tokenizer, torch.device(on), takes, size)


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
