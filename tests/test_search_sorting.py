"""Hits in another order than that of their similarity: the nearest thousand, sorted."""

from collections.abc import Iterator

import pytest
from support import searching
from support.crowd import Crowd, drawn, stored
from test_search_paging import first_page, hits_of, pages, vector_of

from search.clickhouse import client, schema
from search.errors import InvalidQuery
from search.models import Conversion, ConversionFile, Dataset
from search.query.filters import Filters
from search.retrieval import service

pytestmark = pytest.mark.django_db
FILTERS = Filters(nsfw="any", dedupe=False)


@pytest.fixture
def small(request) -> Iterator[tuple[Crowd, Dataset]]:
    crowd = drawn(3_000, seed=4, removed=0)
    dataset = stored(crowd, "small")
    yield crowd, dataset
    schema.drop(dataset.item_table)


def test_the_largest_of_the_nearest_come_first(small):
    vector = vector_of(small[0])
    nearest = hits_of(pages("small", vector, filters=FILTERS, limit=100)[:10])
    found = pages("small", vector, filters=FILTERS, limit=100, sort="size")
    hits = hits_of(found)
    sizes = [hit.width * hit.height for hit in hits]
    assert sizes == sorted(sizes, reverse=True)
    assert len(hits) == len({hit.id for hit in hits}) == 1_000
    assert len({hit.id for hit in hits} & {hit.id for hit in nearest}) >= 950


def test_the_most_popular_come_first_and_the_others_by_similarity(small):
    crowd, dataset = small
    vector = vector_of(crowd)
    plain = hits_of([first_page("small", vector, filters=FILTERS, limit=50)])
    file = ConversionFile.objects.create(dataset=dataset, name="f", sha256="0" * 64)
    for place, count in ((30, 2), (7, 9), (41, 2)):
        Conversion.objects.create(
            dataset=dataset, file=file, item=plain[place].id, count=count
        )
    page = first_page("small", vector, filters=FILTERS, limit=50, sort="popularity")
    places = [plain.index(hit) for hit in page.hits[:5]]
    assert places == [7, 30, 41, 0, 1]


def test_what_is_removed_meanwhile_leaves_the_order(small):
    vector = vector_of(small[0])
    options = {"filters": FILTERS, "sort": "size"}
    whole = hits_of(pages("small", vector, limit=100, **options))
    first = first_page("small", vector, limit=100, **options)
    gone = whole[150].id
    client.command(
        "ALTER TABLE item_small UPDATE deleted = 1 WHERE id = {id:UInt64}",
        {"id": gone},
        mutations_sync=1,
    )
    second = searching.find(
        service.SearchQuery("small", (), cursor=first.next, limit=100)
    )
    wanted = [hit.id for hit in whole[100:201] if hit.id != gone]
    assert [hit.id for hit in second.hits] == wanted
    assert second.hidden.removed == 1


def test_an_unknown_order_is_refused(small):
    with pytest.raises(InvalidQuery, match="similarity, size or popularity"):
        first_page("small", vector_of(small[0]), sort="age")
