"""Datasets drawn by chance, and small enough to be indexed while a test waits.

Their vectors lie in clusters; some rows are near-duplicates of others, or have the URL
of another. Captions, hosts and sizes are of very different frequency, down to one row
alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from search.clickhouse import centroids, clustered, schema, writer
from search.clickhouse.clustered import UNIT_TOLERANCE
from search.clickhouse.schema import CLUSTERS, GRAPH, SHARD_BITS
from search.clustering import training
from search.clustering.curves import Curve, Queries, measure
from search.clustering.vectors import round_to_bfloat16
from search.ingestion.columns import item_columns
from search.ingestion.publishing import partition_of
from search.ingestion.sources.protocol import Batch
from search.models import Dataset, Shard

DIMENSION = 32
GROUPS = 300
# The share of captions that each word occurs in; the last two stand in ten and in one.
WORDS = {"half": 0.5, "fifth": 0.2, "tenth": 0.1, "schön": 0.01, "thousandth": 0.001}
RARE_WORDS = {"ten": 10, "lonely": 1}
HOSTS = 200
LICENSES = ("", "CC-BY", "cc-by-sa", "Public Domain")
LICENSE_SHARES = (0.6, 0.3, 0.0995, 0.0005)
NSFW = ("UNLIKELY", "UNSURE", "NSFW")
NSFW_SHARES = (0.94, 0.04, 0.02)
REMOVED = 0.01
TWINS = 0.015  # of all rows, for each of the ways to be like another
SHARDS = {0: 0.4, 1: 0.2, 4: 0.4}  # the last lies in a partition of its own
WIDEST = 30_000  # the width of one row alone


@dataclass(frozen=True, eq=False)
class Crowd:
    """The rows of a dataset; the vectors are rounded as the engine rounds them.

    `means`, by field, are those of a dataset in clusters. One without is a graph.
    """

    ids: np.ndarray
    image: np.ndarray
    text: np.ndarray
    facts: pa.Table  # with the column deleted
    means: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str) -> np.ndarray:
        return self.facts[name].to_numpy()

    @cached_property
    def row_of(self) -> dict[int, int]:
        return {int(item_id): row for row, item_id in enumerate(self.ids)}

    def rows_of(self, hits) -> list[int]:
        return [self.row_of[hit.id] for hit in hits]

    @cached_property
    def shards(self) -> list[int]:
        return np.unique(self.ids >> np.uint64(SHARD_BITS)).tolist()

    def rows_of_shard(self, number: int) -> np.ndarray:
        return np.flatnonzero(self.ids >> np.uint64(SHARD_BITS) == number)


def drawn(
    rows: int,
    seed: int = 0,
    *,
    shards: dict[int, float] | None = None,
    nsfw: tuple[float, ...] = NSFW_SHARES,
    removed: float = REMOVED,
    index: str = GRAPH,
) -> Crowd:
    random = np.random.default_rng(seed)
    image = _clustered(random, rows)
    text = unit(image + 0.8 * _clustered(random, rows))
    urls = _urls(random, rows)
    _add_twins(random, image, urls)
    crowd = Crowd(
        ids=_ids(rows, shards or SHARDS),
        image=bfloat16(image),
        text=bfloat16(text),
        facts=pa.table(
            {
                "url": urls,
                "caption": _captions(random, rows),
                "nsfw": random.choice(NSFW, rows, p=nsfw),
                "license": random.choice(LICENSES, rows, p=LICENSE_SHARES),
                "similarity": _caption_similarities(random, rows),
                "width": _widths(random, rows),
                "height": random.integers(100, 2_000, rows, np.uint32),
                "deleted": (random.random(rows) < removed).astype(np.uint8),
            }
        ),
    )
    return centred(crowd, image, text) if index == CLUSTERS else crowd


def centred(crowd: Crowd, image: np.ndarray, text: np.ndarray) -> Crowd:
    """Return a crowd for clusters, with these vectors rounded as those are."""
    vectors = {"image": image, "text": text}
    means = {name: each.mean(axis=0).astype("<f4") for name, each in vectors.items()}
    rounded = {name: _rounded(each, means[name]) for name, each in vectors.items()}
    return replace(crowd, means=means, **rounded)


def _rounded(vectors: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Round vectors less a mean, but keep their lengths.

    Those of other than unit length would be scaled and rounded again.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    random, tried = np.random.default_rng(len(vectors)), vectors
    while True:
        rounded = round_to_bfloat16(tried, mean) + mean
        off = np.linalg.norm(rounded, axis=1) / lengths - 1
        if not (again := np.abs(off) > 0.9 * UNIT_TOLERANCE).any():
            return rounded
        noise = random.uniform(0.995, 1.005, vectors.shape)
        tried = np.where(again[:, None], vectors * noise, tried)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def bfloat16(vectors: np.ndarray) -> np.ndarray:
    """As float32 with the lower half cut off: so does the engine."""
    whole = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
    return (whole & np.uint32(0xFFFF0000)).view(np.float32)


def _clustered(random: np.random.Generator, rows: int) -> np.ndarray:
    centres = random.standard_normal((GROUPS, DIMENSION))
    own = random.standard_normal((rows, DIMENSION))
    return unit(centres[random.integers(GROUPS, size=rows)] + own)


def _ids(rows: int, shards: dict[int, float]) -> np.ndarray:
    ends = np.round(np.cumsum(list(shards.values())) * rows).astype(int)
    starts = [0, *ends[:-1]]
    return np.concatenate(
        [
            (number << SHARD_BITS) + np.arange(end - start, dtype=np.uint64)
            for number, start, end in zip(shards, starts, ends, strict=True)
        ]
    )


def _urls(random: np.random.Generator, rows: int) -> np.ndarray:
    """Over hosts of which the n-th has 1/n of the first one's rows; some are empty."""
    share = 1 / np.arange(1, HOSTS + 1)
    host = random.choice(HOSTS, rows, p=share / share.sum())
    before = random.choice(["", "www.", "img.", "a.b.", "not"], rows)
    urls = [
        f"https://{prefix}host{number}.example/{row}.jpg"
        for row, (prefix, number) in enumerate(zip(before, host, strict=True))
    ]
    urls = np.array(urls, object)
    loud = random.random(rows) < 0.01
    urls[loud] = [url.replace("host", "HOST") for url in urls[loud]]
    urls[random.random(rows) < 0.005] = ""
    return urls


def _add_twins(
    random: np.random.Generator, image: np.ndarray, urls: np.ndarray
) -> None:
    """Makes some rows the same picture as another, nearly the same, or of one URL."""
    first, second = random.permutation(len(image)).reshape(2, -1)
    copies, changed, linked = np.split(np.arange(round(3 * TWINS * len(first) * 2)), 3)
    image[second[copies]] = image[first[copies]]
    noise = unit(random.standard_normal((len(changed), DIMENSION)))
    share = random.uniform(0, 0.5, (len(changed), 1))
    image[second[changed]] = unit(image[first[changed]] + share * noise)
    noise = unit(random.standard_normal((len(linked), DIMENSION)))
    image[second[linked]] = unit(image[first[linked]] + 0.6 * noise)
    urls[second[linked]] = urls[first[linked]]


def _captions(random: np.random.Generator, rows: int) -> list[str]:
    chosen = {word: random.random(rows) < share for word, share in WORDS.items()}
    for word, count in RARE_WORDS.items():
        chosen[word] = np.isin(np.arange(rows), random.permutation(rows)[:count])
    words = list(chosen)
    table = np.array(list(chosen.values())).T
    loud = random.random(rows) < 0.3
    captions = []
    for row, there in enumerate(table):
        caption = ", ".join(words[place] for place in np.flatnonzero(there))
        # What only looks like one of the words.
        caption = f"{caption}. halfway lonelyish {row}"
        captions.append(caption.upper() if loud[row] else caption)
    return captions


def _caption_similarities(random: np.random.Generator, rows: int) -> np.ndarray:
    similarities = random.uniform(0.1, 0.5, rows).astype(np.float32)
    similarities[random.random(rows) < 0.01] = np.nan
    return similarities


def _widths(random: np.random.Generator, rows: int) -> np.ndarray:
    widths = np.minimum(random.lognormal(6, 0.7, rows), 20_000).astype(np.uint32)
    widths[random.integers(rows)] = WIDEST
    return widths


def stored(
    crowd: Crowd, slug: str, *, build: bool = True, clusters: int = 1, **options
) -> Dataset:
    """The dataset of a crowd, in the engine and in the ledger."""
    dataset = described(crowd, slug, **options)
    put_in_engine(crowd, dataset, build=build, clusters=clusters)
    put_in_ledger(crowd, dataset)
    return dataset


def described(crowd: Crowd, slug: str, **options) -> Dataset:
    means = {f"{name}_mean": each.tobytes().hex() for name, each in crowd.means.items()}
    return Dataset(
        slug=slug,
        title=slug,
        dimension=crowd.image.shape[1],
        **{
            "index": CLUSTERS if crowd.means else GRAPH,
            "index_connections": 16,
            "index_construction": 32,
            **means,
            **options,
        },
    )


def put_in_engine(
    crowd: Crowd, dataset: Dataset, *, build: bool = True, clusters: int = 1
) -> None:
    table = dataset.item_table
    schema.create(table)
    for number in crowd.shards:
        put_shard_in_engine(crowd, dataset, number)
    if crowd.means:
        put_clusters(crowd, dataset, clusters)
    elif build:
        for partition in sorted({partition_of(dataset, n) for n in crowd.shards}):
            writer.build_indexes(table, partition)


def put_shard_in_engine(crowd: Crowd, dataset: Dataset, number: int) -> None:
    rows = crowd.rows_of_shard(number)
    facts = crowd.facts.take(pa.array(rows))
    batch = Batch(
        start=0,
        end=len(rows),
        rows=np.arange(len(rows)),
        image=crowd.image[rows],
        text=crowd.text[rows],
        table=facts.drop_columns(["deleted"]),
    )
    columns = item_columns(batch, number, target=dataset.item_table)
    columns = columns.append_column("deleted", facts["deleted"])
    # Straight into the table that is searched, as a run never does.
    here = replace(dataset.item_table, partition=partition_of(dataset, number))
    writer.insert(here, columns, f"{dataset.slug} {number}")


def put_clusters(
    crowd: Crowd,
    dataset: Dataset,
    count: int,
    *,
    version: int = 1,
    shards: Iterable[int] | None = None,
) -> None:
    """Train `count` clusters for each field, and fill its table with rows of shards."""
    table, found = dataset.item_table, {}
    for name in ("image", "text"):
        vectors, metric = getattr(crowd, name), centroids.METRICS[table.metric]
        rows = unit(vectors) if metric == "cosine" else vectors
        found[name] = training.train(rows, count, metric, version=version)
        centroids.store(table, name, found[name])
        schema.create(table.clustered(name))
    for number in crowd.shards if shards is None else shards:
        here = replace(table, partition=partition_of(dataset, number))
        wanted = dict.fromkeys(found, [number])
        clustered.fill(here, found, wanted, lambda done: None)
    dataset.index_revision += 1
    if dataset.pk:
        dataset.save()


def put_in_ledger(crowd: Crowd, dataset: Dataset) -> None:
    dataset.save()
    for number in crowd.shards:
        rows = len(crowd.rows_of_shard(number))
        Shard.objects.create(
            dataset=dataset,
            number=number,
            state=Shard.State.INGESTED,
            rows=rows,
            rows_visible=rows,
        )


def scattered(crowd: Crowd, count: int, seed: int) -> np.ndarray:
    """Return unit vectors half near to items, half off the places where items are."""
    random = np.random.default_rng(seed)
    noise = unit(random.standard_normal((count, crowd.image.shape[1])))
    near = crowd.image[random.integers(len(crowd), size=count)]
    share = np.where(np.arange(count) % 2, 0.5, 3.0)
    return unit(near + share[:, None] * noise).astype(np.float32)


def calibrated(crowd: Crowd, dataset: Dataset, queries: np.ndarray) -> dict:
    """Return a calibration by what these unit vectors find in each field."""
    curves = {}
    for name in crowd.means:
        (live,) = centroids.live_versions(dataset.item_table, name)
        rows = clustered.read_version(dataset.item_table, name, live.centroids.version)
        curve = measure(live.centroids, rows, {"any": Queries(queries)})["any"]
        curves[name] = {"words": curve.to_json(), "pictures": curve.to_json()}
    return curves


def reading(share: float) -> dict:
    """Return a calibration by which searches read a share of the rows, or more."""
    recalls = {k: (0.5, 0.95, 1.0) for k in (10, 100, 1_000)}
    curve = Curve((share / 10, share, 1.0), recalls).to_json()
    kinds = {"words": curve, "pictures": curve}
    return {"image": kinds, "text": kinds}
