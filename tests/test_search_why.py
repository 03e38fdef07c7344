"""Why an item was found: the shares of terms, against what the search says."""

from dataclasses import replace

import numpy as np
import pytest
from support import searching

from search.errors import InvalidQuery, NotFound
from search.query import concepts
from search.query.model import SearchQuery, Term
from search.retrieval.explanation import MAX_BAR_LENGTH

pytestmark = pytest.mark.django_db

# Graphs keep vectors in bf16, by which hits are ranked.
CLOSE = 5e-3


@pytest.fixture(autouse=True)
def postcards(postcards_dataset):
    return postcards_dataset


def query(*terms: Term, **options) -> SearchQuery:
    return SearchQuery("postcards", terms, **options)


def embedding(item: int) -> tuple[float, ...]:
    return tuple(searching.embed(query(Term(item=item))).tolist())


@pytest.mark.parametrize(
    "terms",
    [
        (Term(text="a boat"),),
        (Term(text="a boat"), Term(text="snow", weight=-1)),
        (Term(text="a boat", weight=0.3), Term(text="night", weight=2.5)),
        (Term(text="at night"), Term(item=7, weight=-0.5), Term(item=9, weight=2)),
        (Term(item=7),),
    ],
)
@pytest.mark.parametrize("field", ["image", "text"])
def test_the_shares_add_up_to_the_similarity_of_the_hit(terms, field):
    asked = query(*terms, field=field, mode="exact", limit=5)
    for hit in searching.find(asked).hits:
        (found,) = searching.explain(asked, hit.id)
        assert found.field == field
        assert found.similarity == pytest.approx(hit.similarity, abs=CLOSE)
        total = sum(share.value for share in found.shares)
        assert total == pytest.approx(found.similarity, abs=1e-9)


def test_of_both_fields_the_one_that_counts_comes_first():
    asked = query(Term(text="a boat"), Term(item=7), field="both", limit=5)
    for hit in searching.find(asked).hits:
        first, second = searching.explain(asked, hit.id)
        assert {first.field, second.field} == {"image", "text"}
        assert first.similarity >= second.similarity
        assert first.similarity == pytest.approx(hit.similarity, abs=CLOSE)


def test_a_term_has_the_share_that_its_words_alone_would_have_by_their_weight():
    boat, snow = Term(text="a boat"), Term(text="snow", weight=-2)
    (found,) = searching.explain(query(boat, snow), 7)
    alone = [searching.explain(query(term), 7)[0].similarity for term in (boat, snow)]
    vectors = [searching.embed(query(replace(term, weight=1))) for term in (boat, snow)]
    length = np.linalg.norm(vectors[0] - 2 * vectors[1])
    # A search for what is unlike snow turns its vector around.
    assert [share.value for share in found.shares] == pytest.approx(
        [alone[0] / length, 2 * alone[1] / length], abs=1e-5
    )


def test_pictures_and_concepts_are_terms_as_well(monkeypatch):
    vector = embedding(7)
    found_as = concepts.ResolvedConcept(vector, "my concept")
    monkeypatch.setattr(concepts, "_lookup", lambda *asked: found_as)
    asked = query(
        Term(embedding=embedding(9), weight=-0.5),
        Term(concept="0" * 32, weight=2),
        Term(item=3),
        Term(text="a boat", weight=-1),
    )
    (found,) = searching.explain(asked, 7)
    assert [share.label for share in found.shares] == [
        "−0.5 × an image",
        "2 × my concept",
        "like item 3",
        "− a boat",
    ]
    assert found.shares[1].value > found.shares[0].value
    ((same,),) = [each.shares for each in searching.explain(query(Term(item=7)), 7)]
    assert same.value == pytest.approx(1, abs=1e-6)


def test_the_bars_are_in_proportion_and_point_to_their_side():
    asked = query(Term(text="a boat"), Term(text="snow", weight=-1))
    for hit in searching.find(asked).hits[:5]:
        (found,) = searching.explain(asked, hit.id)
        longest = max(found.shares, key=lambda share: abs(share.value))
        assert longest.length == MAX_BAR_LENGTH
        for share in found.shares:
            assert share.length == pytest.approx(
                MAX_BAR_LENGTH * abs(share.value / longest.value), abs=0.5
            )
            ends = share.start, share.start + share.length
            assert ends[0 if share.value > 0 else 1] == MAX_BAR_LENGTH
            assert share.signed_value[0] in "+−"


def test_what_cannot_be_told_is_refused_as_the_search_is():
    with pytest.raises(NotFound):
        searching.explain(query(Term(text="a boat")), 2_000)
    with pytest.raises(NotFound):
        searching.explain(query(Term(item=2_000)), 7)
    with pytest.raises(InvalidQuery):
        searching.explain(query(Term(embedding=(1.0, 2.0))), 7)
