"""The models that a new dataset may have, and a test of one with an image."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from search.encoder import catalogue, uncached_encoder_for
from search.encoder.catalogue import Model
from search.errors import InvalidQuery, SearchUnavailable
from search.ingestion.sources.image_fetch import SourceImage
from search.models import Dataset

from .contents import Contents

TEST_S = 60.0
LATE = (
    "The model was not ready within {:.0f} seconds. It may still be downloading: test "
    "it again in some minutes."
)
NEEDS_DIMENSION = (
    "The embeddings at the source have {} numbers, those of the model {} have {}: they "
    "are of another model."
)


@dataclass(frozen=True)
class Tested:
    """The result of a test: the length of the vectors, and seconds for an image."""

    dimension: int
    seconds: float


def model_choices(contents: Contents | None = None) -> list[Model]:
    """Return the models that can be chosen, the most likely first.

    Of embeddings that come with the source, those whose vectors are as long.
    """
    known = {each.key: each for each in catalogue.models()}
    for dataset in Dataset.objects.order_by("created_at"):
        model = _model_of(dataset)
        known.setdefault(model.key, model)
    wanted = contents.dimension if contents else None
    fitting = [each for each in known.values() if wanted in (None, each.dimension)]
    return sorted(fitting, key=_rank)


def _rank(model: Model) -> tuple[bool, bool]:
    """Sort the example's model, which knows postcards alone, behind all others."""
    return model.model.endswith(catalogue.EXAMPLE), not model.is_here


def _model_of(dataset: Dataset) -> Model:
    name = " ".join(filter(None, (dataset.model, dataset.weights)))
    purpose = f"The model of the dataset {dataset.title}."
    return Model(dataset.model, dataset.weights, dataset.dimension, name, purpose)


def check_model(dataset: Dataset, contents: Contents | None = None) -> int:
    """Return the dimension of a dataset's model.

    Raises UnknownModel, or InvalidQuery if embeddings at the source have another
    length. Without a model in this process, the dimension is that of the dataset.
    """
    dimension = 0
    if catalogue.encodes_here() or dataset.model.startswith(catalogue.LOCAL):
        dimension = catalogue.dimension_of(dataset.model, dataset.weights)
    else:
        same = (each for each in catalogue.KNOWN if each.key == key_of(dataset))
        dimension = next((each.dimension for each in same), 0)
    wanted = contents.dimension if contents else None
    if wanted and dimension and wanted != dimension:
        raise InvalidQuery(NEEDS_DIMENSION.format(wanted, dataset.model, dimension))
    return wanted or dimension or dataset.dimension


def key_of(dataset: Dataset) -> tuple[str, str]:
    return dataset.model, dataset.weights


def try_model(
    dataset: Dataset, image: SourceImage | None, wait_s: float = TEST_S
) -> Tested:
    """Embed an image, or a text where there is none, as searches do.

    Raises SearchUnavailable for a model that cannot be used, or is not ready in time.
    """
    encoder = uncached_encoder_for(*key_of(dataset))

    def embed() -> int:
        vectors = (
            encoder.encode_images([image.image])
            if image
            else encoder.encode_texts(["a photo"])
        )
        return vectors.shape[1]

    def run() -> Tested:
        embed()  # loads the model
        started = time.perf_counter()
        return Tested(embed(), time.perf_counter() - started)

    pool = ThreadPoolExecutor(1, "model-test")
    try:
        return pool.submit(run).result(wait_s)
    except TimeoutError as error:
        raise SearchUnavailable(LATE.format(wait_s)) from error
    finally:
        pool.shutdown(wait=False)
