"""Clusters of vectors: training, assigning, routing and curves of recall."""

import json

import numpy as np
import pytest

from search.clustering import centroids as centroids_module
from search.clustering.centroids import Centroids
from search.clustering.curves import (
    MISSED_BY_READING,
    SHARES,
    Curve,
    Queries,
    measure,
    nearest_rows,
)
from search.clustering.training import clusters_for, train
from search.clustering.vectors import round_to_bfloat16, unit

DIMENSION = 16


def drawn(count, seed=0, groups=40):
    """Unit vectors in groups around a common mean, as CLIP's are."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((groups, DIMENSION)) + 1
    noise = random.standard_normal((count, DIMENSION))
    return unit(centres[random.integers(groups, size=count)] + 0.4 * noise)


def nearest_cluster(centroids, vectors):
    """The nearest centroid by its definition, without scores."""
    if centroids.metric == "L2":
        apart = vectors[:, None] - centroids.vectors
        return np.argmin(np.square(apart).sum(axis=2), axis=1)
    return np.argmax(vectors @ centroids.vectors.T, axis=1)


@pytest.fixture(scope="module", params=["cosine", "L2"])
def metric(request):
    return request.param


@pytest.fixture(scope="module")
def rows(metric):
    lengths = np.random.default_rng(5).uniform(0.5, 2, (6_000, 1))
    return drawn(6_000) * (1 if metric == "cosine" else lengths.astype(np.float32))


@pytest.fixture(scope="module")
def one_level(rows, metric):
    return train(rows, 60, metric)


@pytest.fixture(scope="module")
def two_levels(rows, metric):
    return train(rows, 1_200, metric)


def test_rows_are_assigned_to_the_nearest_centroid(one_level, rows):
    assigned = one_level.assign(rows)
    assert assigned.dtype == np.uint32
    assert (assigned == nearest_cluster(one_level, rows)).mean() > 0.9999
    assert np.bincount(assigned, minlength=60).min() > 0


def test_two_levels_hardly_change_what_is_assigned(two_levels, rows):
    assert len(np.unique(two_levels.parents)) > 20
    some = rows[:500]
    nearest = nearest_cluster(two_levels, some)
    assert (two_levels.assign(some) == nearest).mean() > 0.96


def test_blocks_do_not_change_what_is_assigned(two_levels, rows, monkeypatch):
    whole = two_levels.assign(rows)
    monkeypatch.setattr(centroids_module, "BLOCK_ROWS", 700)
    assert np.array_equal(two_levels.assign(rows), whole)


def test_clusters_are_nearer_than_those_of_chance(one_level, rows, metric):
    def loss(vectors):
        bias = -np.square(vectors).sum(axis=1) / 2 if metric == "L2" else 0
        return -(rows @ vectors.T + bias).max(axis=1).mean()

    chance = rows[np.random.default_rng(1).choice(len(rows), 60, replace=False)]
    assert loss(one_level.vectors) < loss(chance) - 0.01


def test_training_is_reproducible_and_reads_mapped_float16(rows, metric, tmp_path):
    np.save(tmp_path / "sample.npy", rows.astype(np.float16))
    mapped = np.load(tmp_path / "sample.npy", mmap_mode="r")
    first, second = (train(mapped, 50, metric, seed=3, version=7) for _ in range(2))
    assert np.array_equal(first.vectors, second.vectors)
    assert first.vectors.dtype == first.bias.dtype == np.float32
    assert first.version == 7
    other = train(mapped, 50, metric, seed=4)
    assert not np.array_equal(first.vectors, other.vectors)


@pytest.mark.parametrize("count", [1, 5, 1_200])
def test_few_different_rows_give_few_clusters(metric, count):
    different = drawn(3)
    found = train(np.repeat(different, 500, axis=0), count, metric)
    assert len(found) == min(count, 3)
    if count > 1:
        assert len(set(found.assign(different))) == 3


def test_a_sample_smaller_than_the_clusters_wanted(metric):
    assert len(train(drawn(7), 50, metric)) <= 7
    assert len(train(drawn(1), 50, metric)) == 1


def test_one_cluster_takes_all_rows(metric):
    found = train(drawn(100), 1, metric)
    assert found.assign(drawn(10)).tolist() == [0] * 10
    assert found.route(drawn(1)[0], 0.01, np.array([100])).tolist() == [0]


@pytest.mark.parametrize(
    ("count", "sample", "clusters"),
    [
        (19_999, 19_999, 1),
        (20_000, 20_000, 200),
        (1_000_000, 1_000_000, 10_000),
        (1_000_000, 16_000, 1_000),
        (16_000_000, 4_000_000, 80_000),
        (400_000_000, 10**9, 632_455),
        (5_850_000_000, 10**9, 2**20),
    ],
)
def test_number_of_clusters(count, sample, clusters):
    assert clusters_for(count, sample) == clusters


def test_clusters_are_read_best_first_until_they_hold_the_share(one_level, rows):
    query = drawn(1, seed=8)[0]
    sizes = np.bincount(one_level.assign(rows), minlength=60)
    order = np.argsort(-(one_level.vectors @ query + one_level.bias))
    for share in (0.0001, 0.02, 0.3, 0.999):
        read = one_level.route(query, share, sizes)
        assert read.tolist() == order[: len(read)].tolist()
        held = sizes[read].cumsum()
        assert held[-1] >= share * len(rows)
        assert len(read) == 1 or held[-2] < share * len(rows)
    assert sorted(one_level.route(query, 1, sizes)) == list(range(60))


def test_enough_of_the_rows_that_pass_are_read(one_level, two_levels, rows):
    query = drawn(1, seed=8)[0]
    for centroids in (one_level, two_levels):
        sizes = np.bincount(centroids.assign(rows), minlength=len(centroids))
        scores = centroids.vectors @ query + centroids.bias
        is_far = scores < np.median(scores)
        unfiltered = centroids.route(query, 0.1, sizes)
        passing = np.where(is_far, sizes, sizes > 0)
        read = centroids.route(query, 0.1, sizes, passing)
        held = passing[read].cumsum()
        assert held[-2] < 0.1 * passing.sum() <= held[-1]
        near = unfiltered[sizes[unfiltered] > 0]
        assert read[: len(near)].tolist() == near.tolist()
        passing = np.where(is_far, sizes // 2, 0)
        read = centroids.route(query, 0.1, sizes, passing)
        held = sizes[read].cumsum()
        assert passing[read].all() and held[-2] < 0.1 * sizes.sum() <= held[-1]
        alike = centroids.route(query, 0.1, sizes, sizes / 8)
        assert alike.tolist() == near.tolist()


def test_clusters_without_rows_are_passed_over(one_level):
    sizes = np.zeros(60, int)
    sizes[33] = 10
    query = drawn(1, seed=8)[0]
    assert one_level.route(query, 0.5, sizes)[-1] == 33


def test_routing_by_principal_directions_reads_nearly_the_best(metric):
    random = np.random.default_rng(6)
    decay = np.arange(1, 257) ** -0.5  # of the spectrum, as CLIP's
    vectors = unit(random.standard_normal((3_000, 256)) * decay)
    bias = -random.random(3_000, np.float32) / 10 * (metric == "L2")
    centroids = Centroids(vectors, bias, np.zeros(3_000, np.uint32), metric)
    sizes = random.integers(0, 20, 3_000)
    for query in unit(random.standard_normal((20, 256)) * decay):
        order = np.argsort(-(vectors @ query + bias))
        for share in (0.01, 0.1, 0.6):
            read = centroids.route(query, share, sizes)
            rows = sizes[read].cumsum()
            assert rows[-2] < share * sizes.sum() <= rows[-1]
            best = order[: len(read)]
            assert len(np.intersect1d(read, best)) > 0.97 * len(best)


def test_enough_rows_are_read_where_the_best_clusters_have_none(two_levels):
    query = drawn(1, seed=8)[0]
    sizes = np.zeros(len(two_levels), int)
    worst = np.argsort(two_levels.vectors @ query + two_levels.bias)[:100]
    sizes[worst] = 1
    assert sizes[two_levels.route(query, 0.5, sizes)].sum() == 50


def test_parents_stand_together():
    vectors = drawn(3)
    with pytest.raises(ValueError, match="order of their parents"):
        Centroids(vectors, np.zeros(3), np.array([1, 0, 1]), "cosine")


def test_nearest_rows_are_exact_over_blocks(rows, metric):
    queries = drawn(5, seed=11)
    blocks = [
        (rows[start : start + 900], np.arange(start, min(start + 900, 6_000)))
        for start in range(0, 6_000, 900)
    ]
    found = nearest_rows(queries, blocks, 50, metric)
    apart = np.square(queries[:, None] - rows).sum(axis=2)
    assert np.array_equal(found, np.argsort(apart, axis=1)[:, :50])


def test_nearest_of_fewer_rows_than_wanted(metric):
    found = nearest_rows(drawn(2), [(drawn(3), np.arange(3))], 5, metric)
    assert (found[:, 3:] == -1).all() and (found[:, :3] >= 0).all()


def test_the_curve_is_the_recall_of_what_is_read(one_level, rows, metric):
    clusters = one_level.assign(rows)
    sizes = np.bincount(clusters, minlength=60)
    inside, outside = rows[:30], drawn(30, seed=12)
    blocks = [
        (rows[start : start + 2_500], clusters[start : start + 2_500])
        for start in range(0, 6_000, 2_500)
    ]
    curves = measure(
        one_level,
        blocks,
        {"words": Queries(outside), "images": Queries(inside, inside=True)},
    )
    for queries, curve, first in (
        (outside, curves["words"], 0),
        (inside, curves["images"], 1),
    ):
        for number in (10, 1_000):
            everything = [(rows, np.arange(len(rows)))]
            true = nearest_rows(queries, everything, number + first, metric)[:, first:]
            for share in (SHARES[4], SHARES[12], SHARES[18], 1.0):
                recalls = [
                    np.isin(clusters[row], one_level.route(query, share, sizes)).mean()
                    for query, row in zip(queries, true, strict=True)
                ]
                measured = curve.recalls[number][SHARES.index(share)]
                assert measured == pytest.approx(np.mean(recalls))


def test_the_curve_of_a_few_rows(metric):
    centroids = train(drawn(5), 1, metric)
    blocks = [(drawn(5), np.zeros(5, np.uint32))]
    curve = measure(centroids, blocks, {"all": Queries(drawn(2), True)})["all"]
    assert set(curve.recalls[1_000]) == {1.0}


@pytest.fixture
def curve():
    return Curve(
        (0.001, 0.01, 0.1, 1.0),
        {
            10: (0.5, 0.8, 1.0, 1.0),
            100: (0.4, 0.8, 0.9, 1.0),
            1_000: (0.2, 0.3, 0.6, 0.9),
        },
    )


@pytest.mark.parametrize(
    ("recall", "neighbours", "share"),
    [
        (0.8, 10, 0.01),
        (0.9, 10, 10**-1.5),
        (0.9, 1, 10**-1.5),
        (0.9, 100, 0.1),
        (0.9, 10**1.5, 10**-1.25),
        (0.3, 10, 0.001),
        (0.9, 1_000, 1.0),
        (0.95, 1_000, 1.0),
        (0.6, 1_000, 0.1),
        (0.6, 10_000, 1.0),
    ],
)
def test_share_for_a_recall(curve, recall, neighbours, share):
    """A search that may miss some aims to miss less, since rounding loses some too."""
    wanted = 1 - (1 - recall) / MISSED_BY_READING
    assert curve.share_for(wanted, neighbours) == pytest.approx(share)


def test_the_share_grows_with_recall_and_neighbours(curve):
    shares = np.array(
        [
            [curve.share_for(recall, number) for number in np.geomspace(1, 1e5, 20)]
            for recall in np.linspace(0.1, 1, 20)
        ]
    )
    assert (np.diff(shares, axis=0) >= -1e-12).all()
    assert (np.diff(shares, axis=1) >= -1e-12).all()


def test_a_curve_survives_json(curve):
    assert Curve.from_json(json.loads(json.dumps(curve.to_json()))) == curve


def test_rounding_to_the_nearest_bfloat16():
    random = np.random.default_rng(0)
    bits = random.integers(0, 2**32, 100_000, dtype=np.uint32)
    halves = bits[:1_000] & 0xFFFF0000 | 0x8000
    numbers = np.concatenate([bits, halves]).view(np.float32)
    numbers = np.append(numbers[np.abs(numbers) < 3e38], np.float32([0, 1]))
    below = numbers.view(np.uint32) & 0xFFFF0000
    above = below + 0x10000
    nearer = [
        np.abs(each.view(np.float32).astype(float) - numbers) for each in (below, above)
    ]
    up = (nearer[1] < nearer[0]) | ((nearer[1] == nearer[0]) & (below >> 16 & 1 == 1))
    expected = np.where(up, above, below)
    assert np.array_equal(round_to_bfloat16(numbers).view(np.uint32), expected)


def test_rounding_less_a_mean():
    vectors = drawn(1_200).astype(np.float16)
    mean = vectors.mean(axis=0, dtype=np.float32)
    rounded = round_to_bfloat16(vectors, mean)
    assert rounded.dtype == np.float32
    centred = vectors.astype(np.float32) - mean
    assert np.array_equal(rounded, round_to_bfloat16(centred))
