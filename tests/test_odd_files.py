"""No file, however odd, costs more than itself: no crash, no row lost in silence."""

import resource
from functools import partial
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
from support import odd_files

from search.errors import ImageTooLarge, NotAnImage, ShardUnreadable
from search.images.decoders import MAX_PIXELS, query_decoders
from search.ingestion.columns import item_columns
from search.ingestion.sources import images
from search.ingestion.sources.protocol import check_rows
from search.ingestion.sources.registry import source_of
from search.models import Dataset
from search.thumbnails.service import resize_all

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("processes")]
DIMENSION = 8
MAX_GROWTH_MB = 400
SOAK = [pytest.mark.soak, pytest.mark.timeout(3600)]
Kind = Dataset.Kind
SOURCES = {
    "delimited": (Kind.IMAGES, odd_files.delimited_file),
    "image table": (Kind.IMAGES, odd_files.image_table),
    "tar": (Kind.IMAGES, odd_files.tar_file),
    "folder": (Kind.IMAGES, odd_files.image_folder),
    "vectors": (Kind.PARQUET, partial(odd_files.vector_table, dimension=DIMENSION)),
    "laion": (Kind.LAION, partial(odd_files.laion_shard, dimension=DIMENSION)),
}


def seeds(quick: int, many: int) -> pytest.MarkDecorator:
    """Run with a few seeds in make test, with many others in make soak."""
    return pytest.mark.parametrize(
        "seeds", [range(quick), pytest.param(range(quick, many), marks=SOAK)]
    )


def is_sentence(message: str) -> bool:
    return message.endswith((".", "!")) and len(message) < 600 and "\n" not in message


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@seeds(180, 6_000)
def test_an_image_is_decoded_or_refused_with_a_sentence(seeds):
    before = peak_mb()
    for seed in seeds:
        data = odd_files.odd_image(Random(seed))
        try:
            [small] = query_decoders.shrink([data])
            assert 0 < small.image.width * small.image.height <= MAX_PIXELS, seed
            assert all(resize_all(data).values()), seed
        except (NotAnImage, ImageTooLarge) as error:
            assert is_sentence(error.message), seed
    assert peak_mb() - before < MAX_GROWTH_MB


def test_what_is_not_damaged_is_decoded():
    for seed in range(60):
        [small] = query_decoders.shrink([odd_files.image_file(Random(seed))])
        assert not small.truncated, seed


@pytest.fixture
def encoder(monkeypatch) -> None:
    """A model that says the same of everything."""

    def encode(batch) -> np.ndarray:
        return np.eye(1, DIMENSION, dtype=np.float32).repeat(len(batch), 0)

    model = SimpleNamespace(
        dimension=DIMENSION, encode_images=encode, encode_texts=encode
    )
    monkeypatch.setattr(images, "local_encoder", lambda *_: model)
    # No file names an address that can be fetched.
    monkeypatch.setattr("search.ingestion.sources.image_fetch.fetch", refuse_to_fetch)


def refuse_to_fetch(url: str, *_: object) -> None:
    raise NotAnImage("Nothing is fetched here.")


@pytest.mark.parametrize("kind", SOURCES)
@seeds(20, 700)
def test_each_row_is_an_item_or_a_reject(tmp_path, encoder, kind, seeds):
    before, read = peak_mb(), 0
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        dataset_kind, write = SOURCES[kind]
        write(chance := Random(f"{kind} {seed}"), folder)
        odd_files.damage_some(chance, folder)
        try:
            read += rows_of(dataset_kind, folder)
        except ShardUnreadable as error:
            assert is_sentence(error.message), (seed, error.message)
    assert read > len(seeds)
    assert peak_mb() - before < MAX_GROWTH_MB


def rows_of(kind: str, folder: Path) -> int:
    """Read all rows as an import does; return their number."""
    dataset = Dataset.objects.create(
        slug=f"odd-{folder.name}",
        kind=kind,
        source=str(folder),
        dimension=DIMENSION,
        without_removal_list=True,
    )
    source, count = source_of(dataset), 0
    for number in source.shards():
        shard, at = source.open(number, DIMENSION), 0
        for batch in shard.batches(0):
            check_rows(batch, at)
            assert len(item_columns(batch, number)) == len(batch.rows)
            assert all(is_sentence(row.reason) for row in batch.rejected)
            at = batch.end
        assert at == len(shard)
        count += at
    return count
