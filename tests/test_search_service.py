"""Searches of the postcards by words, pictures, items and vectors, against the truth.

How filters, pages, folding and the index fare is tested on larger datasets.
"""

import numpy as np
import pytest
from support import searching

from search.clickhouse import queries
from search.clickhouse.schema import SHARD_BITS
from search.errors import InvalidQuery, NotFound, SearchUnavailable
from search.models import SYSTEM
from search.query.filters import Filters
from search.query.model import SearchQuery, Term, decode_embedding, encode_embedding
from search.retrieval import service

pytestmark = pytest.mark.django_db
WORDS = [
    "a red house by a lake at night",
    "boats at night",
    "rainbow over the desert",
    "a black cat",
    "snow is falling on the city",
    "hot air balloon at dawn",
    "two dogs",
    "thunderstorm over the sea",
]


@pytest.fixture(scope="module")
def stored(postcards_folder, postcards_dataset) -> dict[str, np.ndarray]:
    """The vectors of all items as they lie in the shards, and their ids."""
    ids, image, text = [], [], []
    for shard in (0, 1):
        image.append(np.load(postcards_folder / f"img_emb_{shard}.npy"))
        text.append(np.load(postcards_folder / f"text_emb_{shard}.npy"))
        ids.append((shard << SHARD_BITS) + np.arange(len(image[-1])))
    return {
        "ids": np.concatenate(ids),
        "image": np.concatenate(image).astype(np.float32),
        "text": np.concatenate(text).astype(np.float32),
    }


def find(*terms: Term, **options) -> service.Page:
    """With near-duplicates, so that each item has a place of its own."""
    options.setdefault("filters", Filters(dedupe=False))
    return searching.find(SearchQuery("postcards", terms, **options))


def ids_of(page: service.Page) -> list[int]:
    return [hit.id for hit in page.hits]


@pytest.mark.parametrize("field", ["image", "text"])
def test_exact_search_returns_the_true_nearest_in_order(stored, field):
    for words in WORDS:
        page = find(Term(text=words), field=field, mode="exact", limit=20)
        truth = stored[field] @ page.embedding
        best = np.sort(truth)[::-1][:20]
        found = [hit.similarity for hit in page.hits]
        assert page.exact
        # bfloat16 keeps 8 bits of each number, which moves a sum by less than this.
        assert np.allclose(found, best, atol=2e-3)
        assert found == sorted(found, reverse=True)
        for hit in page.hits:
            own = truth[stored["ids"] == hit.id][0]
            assert hit.similarity == pytest.approx(own, abs=2e-3)


def test_the_index_finds_what_the_exact_search_finds(stored):
    found = 0
    for words in WORDS:
        fast = ids_of(find(Term(text=words), limit=10))
        exact = ids_of(find(Term(text=words), limit=10, mode="exact"))
        found += len(set(fast) & set(exact))
    assert found >= 0.97 * 10 * len(WORDS)


def test_all_parts_of_the_table_have_their_index(postcards_dataset):
    state = queries.index_state(postcards_dataset.item_table)
    assert state["rows"] == 2000
    assert state["parts"] == 1
    assert state["parts_without_index"] == 0
    # The embeddings of images and captions, in the main table and in clusters.
    assert state["bytes"] > 2000 * 4 * 512 * 2


def test_both_fields_give_each_item_its_better_similarity(stored):
    page = find(Term(text="boats at night"), field="both", mode="exact", limit=50)
    truth = np.maximum(
        stored["image"] @ page.embedding, stored["text"] @ page.embedding
    )
    best = np.sort(truth)[::-1][:50]
    assert np.allclose([hit.similarity for hit in page.hits], best, atol=2e-3)


def test_terms_are_summed_by_weight(stored):
    house = find(Term(text="a house"), limit=1).embedding
    night = find(Term(text="night"), limit=1).embedding
    both = find(Term(text="a house"), Term(text="night", weight=-0.5), limit=1)
    wanted = house - 0.5 * night
    wanted /= np.linalg.norm(wanted)
    assert np.allclose(both.embedding, wanted, atol=1e-6)


def test_a_picture_is_found_by_its_own_bytes(postcards_dataset):
    from postcards.shards import jpeg

    page = find(Term(image=jpeg(123)), limit=3)
    assert page.hits[0].id == 123
    assert page.hits[0].similarity > 0.97


def test_an_item_finds_its_like_from_its_stored_vector_but_not_itself(stored):
    page = find(Term(item=7), limit=10, mode="exact")
    truth = stored["image"] @ stored["image"][7]
    order = stored["ids"][np.argsort(-truth)]
    assert 7 not in ids_of(page)
    assert page.hits[0].id == next(i for i in order if i != 7)


def test_an_embedding_is_taken_as_it_is_given(stored):
    vector = tuple((3.5 * stored["image"][42]).tolist())
    assert find(Term(embedding=vector), limit=1).hits[0].id == 42
    assert np.allclose(decode_embedding(encode_embedding(vector)), vector)


def test_pages_go_through_all_items_once_and_in_order(postcards_dataset):
    page = find(Term(text="a boat"), limit=100, mode="exact")
    hits = list(page.hits)
    while page.next:
        page = find(limit=100, cursor=page.next)
        hits += page.hits
    similarities = [hit.similarity for hit in hits]
    assert len({hit.id for hit in hits}) == len(hits) == 2000
    assert similarities == sorted(similarities, reverse=True)


def test_the_index_pages_past_the_first_thousand_without_repeats(postcards_dataset):
    page = find(Term(text="a boat"), limit=100)
    ids = ids_of(page)
    while page.next:
        page = find(limit=100, cursor=page.next)
        ids += ids_of(page)
    assert len(ids) == len(set(ids))
    assert len(ids) >= 0.99 * 2000


def test_a_page_can_be_asked_for_twice(postcards_dataset):
    first = find(Term(text="a boat"), limit=10)
    once, again = find(limit=10, cursor=first.next), find(limit=10, cursor=first.next)
    assert ids_of(once) == ids_of(again)
    assert not set(ids_of(once)) & set(ids_of(first))


def test_the_neighbours_of_an_item_are_its_nearest(stored):
    hits = service.neighbours("postcards", 7, 5, SYSTEM)
    truth = stored["image"] @ stored["image"][7]
    order = [int(i) for i in stored["ids"][np.argsort(-truth)] if i != 7]
    assert [hit.id for hit in hits] == order[:5]


def test_random_hits_are_items(postcards_dataset):
    hits = service.random_hits("postcards", 20, SYSTEM)
    assert len({hit.id for hit in hits}) == 20
    assert service.item("postcards", hits[0].id, SYSTEM).caption == hits[0].caption


def test_an_item_comes_with_its_scene(postcards_dataset):
    from postcards.scene import Scene, scene_of

    item = service.item("postcards", (1 << SHARD_BITS) + 5, SYSTEM)
    assert item.url == "/postcards/1005.jpg"
    assert Scene.from_json(item.metadata["scene"]) == scene_of(1005)
    assert item.metadata["key"] == "000001005"
    assert (item.width, item.height, item.nsfw) == (640, 480, "UNLIKELY")


@pytest.mark.parametrize(
    ("terms", "options", "sentence"),
    [
        ([], {}, "nothing to search for"),
        ([{"text": "  "}], {}, "no words"),
        ([{"text": "a" * 10_000}], {}, "10,000 characters"),
        ([{}], {}, "exactly one"),
        ([{"text": "a", "item": 1}], {}, "exactly one"),
        ([{"embedding": (1.0, float("nan"))}], {}, "not finite"),
        ([{"embedding": (1.0, 2.0)}], {}, "has 2 numbers"),
        ([{"embedding": (0.0,) * 512}], {}, "no direction"),
        ([{"embedding": (1e300,) * 512}], {}, "no direction"),
        ([{"text": "a", "weight": float("inf")}], {}, "weight"),
        ([{"text": "a"}, {"text": "a", "weight": -1.0}], {}, "cancel each other"),
        ([{"text": "a"}] * 17, {}, "up to 16"),
        ([{"text": "a"}], {"field": "caption"}, "image, text or both"),
        ([{"text": "a"}], {"mode": "fast"}, "ann or exact"),
        ([{"text": "a"}], {"limit": 0}, "1 to 100"),
        ([{"text": "a"}], {"limit": 101}, "1 to 100"),
    ],
)
def test_a_bad_query_is_refused_with_a_sentence(
    postcards_dataset, terms, options, sentence
):
    with pytest.raises(InvalidQuery, match=sentence):
        find(*(Term(**term) for term in terms), **options)


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        ({"nsfw": "maybe"}, "safe or any"),
        ({"min_width": -1}, "pixels"),
        ({"max_height": 2**32}, "pixels"),
        ({"min_similarity": 1.5}, "between"),
        ({"cutoff": float("nan")}, "between"),
        ({"caption": "?!"}, "no word"),
        ({"license": "a" * 1_001}, "longer"),
        ({"site": "https://flickr.com/"}, "a host"),
        ({"exclude": tuple(range(5_001))}, "At most 5,000"),
        ({"exclude": (-1,)}, "an invalid item ID"),
        ({"exclude": (2**70,)}, "an invalid item ID"),
    ],
)
def test_a_bad_filter_is_refused_with_a_sentence(filters, sentence):
    with pytest.raises(InvalidQuery, match=sentence):
        Filters(**filters)


def test_what_does_not_exist_is_not_found(postcards_dataset):
    with pytest.raises(NotFound, match="no dataset named"):
        searching.find(SearchQuery("laion", (Term(text="a"),)))
    for item_id in (2000, -1, 2**53, 2**70):
        with pytest.raises(NotFound, match="no item"):
            service.item("postcards", item_id, SYSTEM)
        with pytest.raises(NotFound, match="no item"):
            find(Term(item=item_id))


def test_a_model_without_weights_makes_searches_unavailable(postcards_dataset):
    from search.models import Dataset

    Dataset.objects.filter(slug="postcards").update(model="ViT-B-32", weights="")
    with pytest.raises(SearchUnavailable, match="no weights"):
        find(Term(text="a boat"))
    assert find(Term(item=3), limit=1).hits  # a stored vector needs no model
