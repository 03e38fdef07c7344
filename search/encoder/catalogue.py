"""The models to choose from: well-known ones, and those that are on this machine.

Nothing here loads a model; only `models` may import open_clip, where this process
encodes by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from django.conf import settings

from search.errors import UnknownModel

from . import LOCAL as LOCAL_ENCODER
from .openclip import CONFIGURATION, LOCAL, dimension_of, downloaded

FOLDER = "models"  # in VAR_DIR, with folders of models
EXAMPLE = "postcards/model"  # of the project


@dataclass(frozen=True)
class Model:
    """A model: what it is for, and what an image costs, in 10⁹ operations.

    `is_here`: its weights need not be downloaded. The dimension is 0 if not known.
    """

    model: str
    weights: str
    dimension: int
    title: str
    purpose: str = ""
    megabytes: int = 0  # of its weights
    cost: float = 0.0
    is_here: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.model, self.weights


KNOWN = (
    Model(
        *("ViT-B-32-quickgelu", "openai", 512, "OpenAI CLIP ViT-B/32"),
        "Quick, for English. LAION-400M was embedded by it.",
        megabytes=605,
        cost=4.4,
    ),
    Model(
        *("MobileCLIP2-S0", "dfndr2b", 512, "MobileCLIP2-S0"),
        "Small and the quickest, for English.",
        megabytes=300,
        cost=1.8,
    ),
    Model(
        *("xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k", 512, "XLM-R ViT-B/32"),
        "For a hundred languages, as quick as ViT-B/32 with images.",
        megabytes=1_460,
        cost=4.4,
    ),
    Model(
        *("ViT-B-16-SigLIP2", "webli", 768, "SigLIP 2 ViT-B/16"),
        "For many languages, and finer detail; five times slower than ViT-B/32.",
        megabytes=1_500,
        cost=23.0,
    ),
    Model(
        *("ViT-L-14-quickgelu", "openai", 768, "OpenAI CLIP ViT-L/14"),
        "Finds more than ViT-B/32, for English; wants a GPU. LAION-5B was embedded "
        "by it.",
        megabytes=1_710,
        cost=81.0,
    ),
    Model(
        *("ViT-H-14", "laion2b_s32b_b79k", 1024, "OpenCLIP ViT-H/14"),
        "Finds the most, for English; wants a GPU.",
        megabytes=3_940,
        cost=167.0,
    ),
)


def models() -> list[Model]:
    """Return models that can be chosen, those that are here first."""
    here = downloaded() if encodes_here() else set()
    known = [replace(each, is_here=each.key in here) for each in KNOWN]
    names = {each.key for each in known}
    others = [_of_tag(*key) for key in sorted(here - names)]
    found = [*known, *others, *_in_folders()]
    return sorted(found, key=lambda each: not each.is_here)


def encodes_here() -> bool:
    """Return whether this process loads models."""
    return settings.SEARCH_ENCODER == LOCAL_ENCODER


def _of_tag(model: str, weights: str) -> Model:
    dimension = dimension_of(model, weights)
    return Model(model, weights, dimension, f"{model}, {weights}", is_here=True)


def _in_folders() -> Iterator[Model]:
    """Yield the models in folders of VAR_DIR, and the one of the example."""
    for path in sorted(Path(settings.VAR_DIR, FOLDER).glob(f"*/{CONFIGURATION}")):
        folder = path.parent
        purpose = f"From the folder {folder}."
        yield from _in_folder(folder, str(folder), folder.name, purpose)
    yield from _in_folder(
        settings.BASE_DIR / EXAMPLE,
        EXAMPLE,
        "The example's model",
        "To try the steps: it is tiny, and knows nothing but drawn postcards.",
    )


def _in_folder(folder: Path, name: str, title: str, purpose: str) -> Iterator[Model]:
    try:
        dimension = dimension_of(f"{LOCAL}{name}", "")
    except UnknownModel:
        return
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    yield Model(
        *(f"{LOCAL}{name}", "", dimension, title, purpose),
        megabytes=round(size / 1e6),
        cost=max(0.1, size / 1e9 * 7.5),
        is_here=True,
    )
