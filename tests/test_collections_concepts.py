"""Concepts as terms: found for their owner alone, and for their own model."""

import uuid

import numpy as np
import pytest
from django.contrib.auth import get_user_model
from support import searching

from search.errors import InvalidQuery, NotFound
from search.query.model import SearchQuery, Term

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner():
    return get_user_model().objects.create_user("ada")


@pytest.fixture
def concept(owner, postcards_dataset):
    from usercollections.models import Concept

    boats = SearchQuery("postcards", (Term(text="a boat"),))
    return Concept.objects.create(
        owner=owner,
        name="boats",
        model=postcards_dataset.model,
        weights=postcards_dataset.weights,
        vector=searching.embed(boats).astype("<f4").tobytes(),
    )


def query(concept_id: object, weight: float = 1.0) -> SearchQuery:
    return SearchQuery("postcards", (Term(concept=str(concept_id), weight=weight),))


def test_a_concept_is_searched_for_by_its_embedding(concept, owner):
    found = searching.find(query(concept.pk), owner)
    same = searching.find(SearchQuery("postcards", (Term(text="a boat"),)))
    assert [hit.id for hit in found.hits] == [hit.id for hit in same.hits]


def test_the_weight_of_a_concept_is_kept(concept, owner):
    boat = Term(text="a boat")
    mixed = SearchQuery("postcards", (boat, *query(concept.pk, -0.5).terms))
    expected = searching.embed(SearchQuery("postcards", (boat,)))
    expected = expected - 0.5 * concept.embedding
    found = searching.embed(mixed, owner)
    assert np.allclose(found, expected / np.linalg.norm(expected), atol=1e-6)


@pytest.mark.parametrize("name", ["eve", ""])
def test_others_do_not_find_it(concept, name):
    from django.contrib.auth.models import AnonymousUser

    user = get_user_model().objects.create_user(name) if name else AnonymousUser()
    with pytest.raises(NotFound, match="This concept does not exist"):
        searching.find(query(concept.pk), user)


@pytest.mark.parametrize("concept_id", [uuid.uuid4(), "7", "", "\ud800"])
def test_what_is_no_concept_is_not_found(postcards_dataset, owner, concept_id):
    with pytest.raises(NotFound, match="This concept does not exist"):
        searching.find(query(concept_id), owner)


def test_a_concept_of_another_model_is_refused(concept, owner):
    concept.model = "ViT-B-32"
    concept.save()
    with pytest.raises(InvalidQuery, match="of the model ViT-B-32"):
        searching.find(query(concept.pk), owner)
