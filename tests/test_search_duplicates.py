"""Near-duplicates: told apart by codes and vectors, folded into the nearest hit."""

import numpy as np
import pytest
from support import searching
from support.crowd import Crowd, unit
from support.truth import SAME_PICTURE, answer, check_exact

from search.clickhouse.filters import VISIBLE
from search.clickhouse.queries import Candidates
from search.query.filters import Filters
from search.query.model import SearchQuery, Term
from search.retrieval import deduplication
from search.retrieval.ranking import Hidden, Ranking

# Of the vector sin(0), sin(1) … sin(31), as tables hold it since they were made.
KNOWN_CODE = (
    "388ca187270236db5d2a803ea663fb0c67a168da2974c3301c08aebb5acd3a59"
    "8a8a1079a17e9b518f213d0bc9612463f612db2e8487d5f6002a592d449ffca5"
)


def pairs(cosine: float, count: int, dimension: int = 512) -> np.ndarray:
    """Pairs of unit vectors at a cosine, shape (2, count, dimension)."""
    random = np.random.default_rng(round(1000 * cosine))
    first = unit(random.standard_normal((count, dimension)))
    aside = random.standard_normal((count, dimension))
    aside -= (aside * first).sum(axis=1, keepdims=True) * first
    second = cosine * first + np.sqrt(1 - cosine**2) * unit(aside)
    return np.stack([first, second])


def differing_bits(cosine: float, count: int = 2_000) -> np.ndarray:
    first, second = (
        deduplication.lsh_codes(vectors) for vectors in pairs(cosine, count)
    )
    return np.bitwise_count(first ^ second).sum(axis=1, dtype=int)


def test_the_code_of_a_vector_never_changes():
    code = deduplication.lsh_codes(np.sin(np.arange(32))[None])
    assert code.shape == (1, 64)
    assert code.tobytes().hex() == KNOWN_CODE


@pytest.mark.parametrize("cosine", [0.3, 0.8, 0.94, 0.99])
def test_codes_differ_by_the_angle(cosine):
    share = differing_bits(cosine) / deduplication.BITS
    expected = np.arccos(cosine) / np.pi
    assert share.mean() == pytest.approx(expected, rel=0.02)
    by_chance = np.sqrt(expected * (1 - expected) / deduplication.BITS)
    assert share.std() == pytest.approx(by_chance, rel=0.15)


def test_one_great_coordinate_does_not_make_pictures_alike():
    first, second = 0.4 * pairs(0.2, 2_000)
    first[:, 0] = second[:, 0] = 0.9
    one, two = (
        deduplication.lsh_codes(unit(first)),
        deduplication.lsh_codes(unit(second)),
    )
    share = np.bitwise_count(one ^ two).sum(axis=1, dtype=int) / deduplication.BITS
    cosine = (unit(first) * unit(second)).sum(axis=1)
    assert cosine.mean() < SAME_PICTURE
    assert share.mean() == pytest.approx(np.arccos(cosine).mean() / np.pi, rel=0.05)


def test_codes_alone_settle_only_what_is_sure():
    assert (
        differing_bits(SAME_PICTURE - 0.001) < deduplication.CERTAIN_BITS
    ).mean() < 1e-3
    assert (differing_bits(SAME_PICTURE) > deduplication.POSSIBLE_BITS).mean() < 1e-3
    assert (differing_bits(0.999) < deduplication.CERTAIN_BITS).mean() > 0.999
    assert (differing_bits(0.7) > deduplication.POSSIBLE_BITS).mean() > 0.999


class Asked(dict):
    """Vectors by id, and the ids that were asked for."""

    def __init__(self, vectors: np.ndarray):
        super().__init__(enumerate(vectors))
        self.ids: list[int] = []

    def __call__(self, ids: list[int]) -> dict[int, np.ndarray]:
        self.ids += ids
        return {item: self[item] for item in ids if item in self}


def twins_of(vectors: np.ndarray, hashes: np.ndarray, known: int, asked: Asked):
    ids = np.arange(len(vectors), dtype=np.uint64)
    code = deduplication.lsh_codes(vectors)
    compared = deduplication.compare(ids, hashes, code, known)
    return compared.duplicates(asked(compared.needed))


def advance(ranking: Ranking, count: int, vectors: np.ndarray) -> None:
    while step := ranking.next_step(count):
        ranking.advance(step, Asked(vectors)(step.needed))


def test_unsure_pairs_are_told_by_their_vectors_and_no_others_are_asked_for():
    cosines = np.linspace(0.6, 1, 60)
    vectors = np.concatenate([pairs(cosine, 1)[:, 0] for cosine in cosines])
    asked = Asked(3 * vectors)  # their length does not matter
    found = twins_of(vectors, np.arange(len(vectors)), 0, asked)
    true = np.triu(vectors @ vectors.T >= SAME_PICTURE, k=1)
    assert (found == true).all()
    assert true.sum() > 5
    code = deduplication.lsh_codes(vectors)
    differing = np.bitwise_count(code[::2] ^ code[1::2]).sum(axis=1, dtype=int)
    sure = (differing < deduplication.CERTAIN_BITS) | (
        differing > deduplication.POSSIBLE_BITS
    )
    unsure = 2 * np.flatnonzero(~sure)
    assert sorted(asked.ids) == sorted([*unsure, *(unsure + 1)])


def test_an_equal_url_makes_twins_of_any_pictures():
    vectors = unit(np.random.default_rng(1).standard_normal((4, 512)))
    asked = Asked(vectors)
    found = twins_of(vectors, np.array([7, 8, 7, 9]), 1, asked)
    assert np.argwhere(found).tolist() == [[0, 1]]  # the third is the second new one
    assert not asked.ids


def test_an_item_whose_vector_is_gone_is_a_twin_of_none():
    vectors = np.concatenate(pairs(0.95, 1))
    asked = Asked(vectors)
    del asked[1]
    assert not twins_of(vectors, np.arange(2), 0, asked).any()
    assert asked.ids == [0, 1]


def ranking_of(vectors: np.ndarray, **filters) -> Ranking:
    ranking = Ranking("x", "image", Filters(**filters), {}, frozenset())
    count = len(vectors)
    found = Candidates(
        ids=np.arange(count, dtype=np.uint64),
        distances=np.linspace(0, 0.5, count, dtype=np.float32),
        hidden=np.full(count, VISIBLE, np.uint8),
        url_hashes=np.arange(count, dtype=np.uint64),
        codes=deduplication.lsh_codes(vectors),
    )
    ranking.add(found, 1 - found.distances, 0)
    return ranking


def test_what_is_folded_hides_nothing_else():
    """The second is like the first and the third, but these are not like each other."""
    angles = np.array([0, 0.3, 0.6])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ np.eye(2, 64)
    ranking = ranking_of(vectors)
    advance(ranking, 3, vectors)
    assert ranking.results == [0, 2]
    assert ranking.duplicate_of == {1: 0}
    assert ranking.hidden_until(1) == Hidden()
    assert ranking.hidden_until(2) == Hidden(duplicates=1)


def test_what_was_folded_into_a_removed_item_comes_back():
    vectors = np.repeat(unit(np.ones((1, 64))), 3, axis=0)
    ranking = ranking_of(vectors)
    advance(ranking, 3, vectors)
    assert ranking.results == [0]
    ranking.remove([0], 0)
    advance(ranking, 3, vectors)
    assert (ranking.results, ranking.duplicate_of) == ([1], {2: 1})


def test_nothing_is_folded_when_that_is_not_wanted():
    vectors = np.ones((5, 64))
    ranking = ranking_of(vectors, dedupe=False)
    advance(ranking, 5, vectors)
    assert ranking.results == [0, 1, 2, 3, 4]


@pytest.mark.django_db
def test_hits_count_the_pictures_like_them(crowd: Crowd):
    filters = Filters(nsfw="any")
    _, first, count = np.unique(
        crowd.image, axis=0, return_index=True, return_counts=True
    )
    similar = 0
    for row in first[count > 1][:12]:
        vector = crowd.image[row]
        term = Term(embedding=tuple(vector.tolist()))
        query = SearchQuery("crowd", (term,), mode="exact", filters=filters)
        page = searching.find(query)
        true = answer(crowd, {"image": vector}, filters, query.limit)
        check_exact(crowd, page.hits, page.hidden, true)
        similar += page.hits[0].similar
    assert similar > 6  # some twins have been removed
