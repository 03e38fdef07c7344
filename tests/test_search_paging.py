"""Cursors through whole searches: no repeats, no holes, whatever happens meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from django.core import signing
from django.core.cache import cache
from django.test import override_settings
from support import python_process, searching
from support.crowd import Crowd, drawn, put_shard_in_engine, stored, unit
from support.truth import CLOSE, all_similarities, answer, check_hidden, check_order

from search.cache import VERSION
from search.clickhouse import client, schema
from search.errors import InvalidQuery
from search.models import SYSTEM, Dataset
from search.query.filters import Filters
from search.query.model import MAX_RESULTS, SearchQuery, Term
from search.retrieval import service
from search.retrieval.ranking import (
    CACHE_S,
    FIRST_CACHE_S,
    REPLACED_CACHE_S,
    load,
)

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parent.parent
ALL = Filters(nsfw="any", dedupe=False)


@pytest.fixture
def small(request) -> Iterator[tuple[Crowd, Dataset]]:
    """3,000 rows, of which a test may do away with what it likes."""
    crowd = drawn(3_000, seed=2, removed=0)
    dataset = stored(crowd, "small", build=False)
    yield crowd, dataset
    schema.drop(dataset.item_table)


def packed(page: service.Page) -> tuple[int, str]:
    """Return the bytes that are kept for a next page, and their key in the cache."""
    token, _ = signing.loads(page.next, salt="cursor")
    key = f"rankings:{token}"
    return len(cache.get(key, version=VERSION)), key


@pytest.mark.parametrize("limit", [20, 60, 100])
@pytest.mark.parametrize("sort", ["similarity", "size"])
def test_a_search_is_kept_in_few_bytes_and_minutes_until_it_goes_on(
    small, monkeypatch, limit, sort
):
    kept: dict[str, int] = {}
    monkeypatch.setattr(
        "search.cache.cache.touch", lambda key, s, **_: kept.update({key: s})
    )
    store = cache.set
    monkeypatch.setattr(
        "search.cache.cache.set",
        lambda key, value, s, **options: (
            kept.update({key: s}) or store(key, value, s, **options)
        ),
    )
    page = first_page("small", vector_of(small[0]), limit=limit, sort=sort)
    size, first = packed(page)
    assert size <= 20_000
    assert kept[first] == FIRST_CACHE_S <= 300
    second = packed(next_page("small", page, limit))[1]
    assert kept[second] == CACHE_S
    if first != second:  # a deeper search replaced it; it can be repeated for a while
        assert kept[first] == REPLACED_CACHE_S
    assert next_page("small", page, limit).hits


def vector_of(crowd: Crowd, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    near = crowd.image[random.integers(len(crowd))]
    noise = unit(random.standard_normal(len(near)))
    return unit(near + 0.7 * noise).astype(np.float32)


def first_page(slug: str, vector: np.ndarray, **options) -> service.Page:
    term = Term(embedding=tuple(vector.tolist()))
    return searching.find(SearchQuery(slug, (term,), **options))


def next_page(slug: str, page: service.Page, limit: int) -> service.Page:
    return searching.find(SearchQuery(slug, (), cursor=page.next, limit=limit))


def pages(slug: str, vector: np.ndarray, **options) -> list[service.Page]:
    found = [first_page(slug, vector, **options)]
    while found[-1].next:
        found.append(next_page(slug, found[-1], options["limit"]))
    return found


def hits_of(found: list[service.Page]) -> list[service.Hit]:
    return [hit for page in found for hit in page.hits]


def ids_of(page: service.Page) -> list[int]:
    return [hit.id for hit in page.hits]


@pytest.mark.parametrize(
    "filters",
    [
        Filters(caption="fifth"),
        Filters(caption="half", max_width=400, nsfw="any", dedupe=False),
        Filters(cutoff=0.3),
    ],
)
@pytest.mark.parametrize("limit", [100, 47])
def test_exact_pages_are_the_whole_truth(flock, filters, limit):
    vector = vector_of(flock)
    found = pages("flock", vector, filters=filters, mode="exact", limit=limit)
    true = answer(flock, {"image": vector}, filters, MAX_RESULTS)
    check_order(flock, hits_of(found), true)
    check_hidden(hits_of(found), found[-1].hidden, true)
    assert {len(page.hits) for page in found[:-1]} <= {limit}
    assert found[-1].hits


@pytest.mark.parametrize("field", ["image", "text", "both"])
def test_pages_by_index_neither_repeat_nor_leave_out(flock, field):
    vector = vector_of(flock)
    filters = Filters(caption="fifth")
    found = pages("flock", vector, filters=filters, field=field, limit=100)
    rows = flock.rows_of(hits_of(found))
    fields = ("image", "text") if field == "both" else (field,)
    true = answer(flock, dict.fromkeys(fields, vector), filters, MAX_RESULTS)
    assert len(rows) == len(set(rows))
    # Twins that are near to equally far fold either way.
    assert len(set(rows) & set(true.rows)) >= 0.99 * len(true.rows)
    assert len(rows) == pytest.approx(len(true.rows), rel=0.01)
    for page in found:
        shown = [hit.similarity for hit in page.hits]
        assert shown == sorted(shown, reverse=True)


@pytest.mark.parametrize("mode", ["ann", "exact"])
def test_a_search_ends_at_ten_thousand(flock, mode):
    found = pages("flock", vector_of(flock), filters=ALL, mode=mode, limit=99)
    ids = [hit.id for hit in hits_of(found)]
    assert len(ids) == len(set(ids)) == MAX_RESULTS


def test_where_nearly_all_is_unsafe_the_few_others_are_found():
    """More than 10,000 candidates lie before most of them."""
    crowd = drawn(12_000, seed=3, nsfw=(0.004, 0.5, 0.496))
    dataset = stored(crowd, "unsafe", build=False)
    try:
        for mode in ("ann", "exact"):
            vector = vector_of(crowd)
            page = first_page("unsafe", vector, mode=mode, limit=20)
            more = next_page("unsafe", page, 100)
            true = answer(crowd, {"image": vector}, Filters(), 100)
            assert crowd.rows_of(page.hits + more.hits) == true.rows
            assert page.hidden.nsfw > 1_000
            assert len(page.hits) == 20
            assert not more.next
    finally:
        schema.drop(dataset.item_table)


@pytest.mark.parametrize("mode", ["ann", "exact"])
def test_items_that_arrive_between_pages_repeat_and_displace_nothing(small, mode):
    crowd, dataset = small
    vector = vector_of(crowd)
    found = [first_page("small", vector, filters=ALL, mode=mode, limit=100)]
    for _ in range(4):
        found.append(next_page("small", found[-1], 100))
    arrived = drawn(2_000, seed=4, shards={7: 1}, removed=0)
    put_shard_in_engine(arrived, dataset, 7)
    while found[-1].next:
        found.append(next_page("small", found[-1], 100))
    hits = hits_of(found)
    assert len(hits) == len({hit.id for hit in hits})
    own = [hit for hit in hits if hit.id in crowd.row_of]
    true = np.sort(all_similarities(crowd, {"image": vector}))[::-1]
    shown = np.array([hit.similarity for hit in own])
    assert np.allclose(shown, true, rtol=0, atol=CLOSE)
    # The first thousand had been fetched; the new ones stand among those behind.
    assert [hit.id for hit in hits[:1000]] == [hit.id for hit in own[:1000]]
    assert len(hits) == 5_000


def test_an_item_removed_between_pages_is_passed_over(small):
    crowd, dataset = small
    vector, filters = vector_of(crowd), Filters(nsfw="any")
    true = answer(crowd, {"image": vector}, filters, 30).rows
    page = first_page("small", vector, filters=filters, limit=10)
    assert crowd.rows_of(page.hits) == true[:10]
    remove(dataset, crowd.ids[true[10:14]])
    after = next_page("small", page, 10)
    left = crowd.facts["deleted"].to_numpy().copy()
    left[true[10:14]] = 1
    changed = Crowd(
        crowd.ids,
        crowd.image,
        crowd.text,
        crowd.facts.set_column(
            crowd.facts.column_names.index("deleted"), "deleted", [left]
        ),
    )
    true = answer(changed, {"image": vector}, filters, 20).rows
    assert crowd.rows_of(after.hits) == true[10:20]
    assert after.hidden.removed == 4
    assert page.next and ids_of(next_page("small", page, 10)) == ids_of(after)
    with pytest.raises(Exception, match="no item"):
        service.item("small", int(crowd.ids[next(iter(np.flatnonzero(left)))]), SYSTEM)


def remove(dataset: Dataset, ids: np.ndarray) -> None:
    client.command(
        f"ALTER TABLE {dataset.item_table.name} "
        "UPDATE deleted = 1 WHERE id IN {ids:Array(UInt64)}",
        {"ids": ids.tolist()},
        mutations_sync=1,
    )


def test_a_cursor_goes_on_in_another_process(flock, tmp_path):
    """By the shared cache alone: the embedded engine is open in this one."""
    backend = "django.core.cache.backends.filebased.FileBasedCache"
    with override_settings(
        CACHES={"default": {"BACKEND": backend, "LOCATION": str(tmp_path)}}
    ):
        page = first_page("flock", vector_of(flock), limit=10)
        following = ids_of(next_page("flock", page, 10))
    script = (
        "import os, sys, django\n"
        f"os.environ['CACHE_URL'] = 'filecache://{tmp_path}'\n"
        "django.setup()\n"
        "from search.retrieval.ranking import load\n"
        "[ranking], [start], _ = load(sys.argv[1], ['flock'])\n"
        "rows = ranking.results[start : start + 10]\n"
        "print(*ranking.ids[rows])\n"
    )
    done = python_process.run(["-c", script, page.next], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert list(map(int, done.stdout.split())) == following


def test_a_cursor_says_when_it_cannot_go_on(flock):
    page = first_page("flock", vector_of(flock), limit=10)
    with pytest.raises(InvalidQuery, match="another dataset"):
        load(page.next, ["crowd"])
    with pytest.raises(InvalidQuery, match="cursor is not valid"):
        load(page.next[:-2] + "xx", ["flock"])
    cache.clear()
    with pytest.raises(InvalidQuery, match="expired"):
        next_page("flock", page, 10)
