"""The page of an item, its panel, and selections as files, as the server sends them."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import date
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from support import searching
from support.tiny_shards import DIMENSION, import_all, vectors, write_shard

from search.clickhouse import schema
from search.models import SYSTEM, Dataset
from search.query.filters import Filters
from search.query.model import SearchQuery, Term
from search.retrieval import service
from search.web import item_facts

pytestmark = pytest.mark.django_db


@pytest.fixture
def site(client, postcards_dataset):
    return client


@pytest.fixture
def marked(client, tmp_path):
    """A dataset in which one item is not safe, and captions mean harm."""
    yield from small_dataset(client, tmp_path, NSFW=["UNLIKELY", "NSFW", "UNSURE"])


@pytest.fixture
def unmarked(client, tmp_path):
    """A dataset that says nothing of what is safe."""
    yield from small_dataset(client, tmp_path)


def small_dataset(client, folder, **columns):
    dataset = Dataset.objects.create(
        slug="small",
        title="Small",
        dimension=DIMENSION,
        source=str(folder),
        without_removal_list=True,
    )
    metadata = {
        "url": [f"https://pictures.example/{i}.jpg" for i in range(3)],
        "caption": ["=1+1", "@evil", '<b>bold</b>, "quoted"\nand more'],
        "width": [300, 0, 200],
        "height": [400, 0, 100],
        **columns,
    }
    write_shard(
        folder, 0, 3, image=vectors(3, 1), text=vectors(3, 2), metadata=metadata
    )
    (shard,) = import_all(dataset)
    assert shard.rows == 3, shard.error
    yield client
    schema.drop(dataset.item_table)


def shown(site, path: str, status: int = 200) -> str:
    answer = site.get(path)
    assert answer.status_code == status
    return answer.content.decode()


def whys(html: str) -> list[tuple[str, str]]:
    terms = re.findall(r'class="term" dir="auto">([^<]+)<', html)
    return list(zip(terms, re.findall(r'class="value">([^<]+)<', html), strict=True))


# --- The page and the panel


def test_the_panel_has_what_the_page_has_and_no_page_around_it(site):
    page, panel = shown(site, "/d/postcards/7"), shown(site, "/d/postcards/7?panel=1")
    item = service.item("postcards", 7, SYSTEM)
    for html in (page, panel):
        assert item.caption in html and item.metadata["md5"] in html
        assert "/t/postcards/7/1280.webp" in html
        assert "/?item=7&amp;field=text&amp;dataset=postcards" in html
        assert 'data-copy="http://testserver/d/postcards/7"' in html
    assert "<html" in page and "Similar images" in page
    assert "<html" not in panel and "Similar images" not in panel


def test_facts_stand_in_groups_and_the_copies_name_the_item(marked):
    dataset = Dataset.for_slug("small", SYSTEM)
    item = replace(
        service.item("small", 2, SYSTEM),
        caption="a [red] *boat*\n<b>",
        metadata={
            "md5": "00ff",
            "exif": '{"Model": "X100", "Empty": ""}',
            "tags": '["a", "b"]',
            "status": "",
        },
    )
    address, image = "http://here/d/small/2", "http://here/t/small/2/1280.webp"
    groups = {
        group.title: {fact.label: fact.value for fact in group.facts}
        for group in item_facts.fact_groups(item, dataset, address)
    }
    assert list(groups) == ["Image", "Source", "File", "Camera (EXIF)", "Other columns"]
    assert groups["Image"]["Size"] == "200 × 100"
    assert groups["Source"]["Site"] == "pictures.example"
    assert groups["File"] == {"MD5": "00ff"}
    assert groups["Camera (EXIF)"] == {"Model": "X100"}
    assert groups["Other columns"] == {"tags": '[\n  "a",\n  "b"\n]'}
    today = date(2026, 12, 1)
    copied = {
        each.label: each.text
        for each in item_facts.copies(item, dataset, address, image, today)
    }
    assert copied["Markdown"] == (rf"[![a \[red\] \*boat\* \<b\>]({image})]({address})")
    assert copied["Citation"] == (
        "“a [red] *boat* <b>”. In: Small, item 2. http://here/d/small/2 "
        "(accessed 2026-12-01). Original: https://pictures.example/2.jpg."
    )


def test_the_strip_has_the_nearest_items_without_the_item(site):
    html = shown(site, "/d/postcards/7/similar")
    near = service.neighbours("postcards", 7, 12, SYSTEM)
    assert re.findall(r'data-item="(\d+)"', html) == [str(hit.id) for hit in near]
    shown(site, "/d/postcards/2000/similar", status=404)


def test_an_image_is_downloaded_as_its_file(site, marked, settings):
    answer = site.get("/d/postcards/7/original")
    assert answer["Content-Type"] == "image/jpeg"
    disposition = 'attachment; filename="postcards-7.jpg"'
    assert answer["Content-Disposition"] == disposition
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer.content == site.get("/postcards/7.jpg").content
    settings.FETCH_THUMBNAILS = False
    assert "not fetched here" in shown(marked, "/d/small/0/original", status=404)


def test_a_search_in_the_address_tells_why_and_leads_back(site):
    asked = "q=boats+-snow&item=-0.5:9&cutoff=0.1&cursor=forged"
    for path in (f"/d/postcards/7?{asked}", f"/d/postcards/7?{asked}&panel=1"):
        html = shown(site, path)
        terms, values = zip(*whys(html), strict=True)
        assert set(terms) == {"boats", "− snow", "−0.5 × like item 9"}
        (total,) = re.findall(r'<article [^>]*data-similarity="([^"]+)"', html)
        numbers = [float(value.replace("−", "-")) for value in values]
        assert sum(numbers) == pytest.approx(float(total), abs=0.016)
    back = re.search(
        r'<a href="([^"]+)">← All results', shown(site, path.partition("&p")[0])
    )
    assert parse_qs(urlsplit(unescape(back[1])).query) == {
        "q": ["boats -snow"],
        "item": ["-0.5:9"],
        "cutoff": ["0.1"],
        "dataset": ["postcards"],
    }


@pytest.mark.parametrize(
    "asked", ["", "panel=1", "q=heigth>5", "item=zz", "embedding=xx", "q=item:99999"]
)
def test_without_a_search_that_can_be_read_the_item_is_shown_all_the_same(site, asked):
    html = shown(site, f"/d/postcards/7?{asked}")
    assert service.item("postcards", 7, SYSTEM).caption in html
    assert whys(html) == []


def test_a_panel_of_what_is_not_there_says_so_in_a_sentence(site):
    html = shown(site, "/d/postcards/2000?panel=1", status=404)
    assert "There is no item 2000" in html and "<html" not in html
    assert "no dataset" in shown(site, "/d/nope/1?panel=1", status=404)


def test_the_address_of_a_picture_is_never_loaded_by_the_page(marked):
    html = shown(marked, "/d/small/0")
    assert 'src="https://pictures.example' not in html
    link = re.search(r'<a [^>]*href="https://pictures.example/0.jpg"[^>]*>', html)[0]
    assert 'rel="noopener noreferrer nofollow"' in link
    assert "<dd>pictures.example</dd>" in html


def test_what_is_not_safe_is_veiled_on_its_page_and_in_grids(marked):
    assert "data-unsafe" not in large(shown(marked, "/d/small/0"))
    assert "data-unsafe" in large(shown(marked, "/d/small/1"))
    assert "data-unsafe" in large(shown(marked, "/d/small/2?nsfw=any&panel=1"))
    html = shown(marked, "/?dataset=small&item=0&nsfw=any")
    assert html.count("data-unsafe") == 2


def test_where_nothing_is_known_to_be_safe_everything_is_veiled(unmarked):
    assert "data-unsafe" in large(shown(unmarked, "/d/small/0"))
    assert "data-unsafe" not in large(shown(unmarked, "/d/small/0?nsfw=any"))


def large(html: str) -> str:
    return re.search(r'<div class="picture large[^>]*>', html)[0]


def test_boxes_have_the_shape_of_their_pictures_before_these_come(marked):
    html = shown(marked, "/?dataset=small&item=1&nsfw=any")
    ratios = dict(re.findall(r'data-item="(\d)"[^>]*data-ratio="(\d+)"', html))
    assert ratios == {"0": "750", "2": "2000"}


# --- Selections as files


def select(client, items: object, kind: str = "json"):
    text = items if isinstance(items, str) else json.dumps(items)
    return client.post(f"/selection.{kind}", {"items": text})


def test_a_selection_becomes_json_in_its_order(site):
    query = SearchQuery("postcards", (Term(text="a boat"),), filters=Filters())
    hits = searching.find(query).hits[:3]
    given = [
        {"dataset": "postcards", "id": hit.id, "similarity": hit.similarity}
        for hit in reversed(hits)
    ]
    answer = select(site, given)
    assert answer["Content-Disposition"] == 'attachment; filename="selection.json"'
    rows = answer.json()
    assert [row["id"] for row in rows] == [hit.id for hit in reversed(hits)]
    assert rows[-1] == {
        "dataset": "postcards",
        "id": hits[0].id,
        "url": hits[0].url,
        "caption": hits[0].caption,
        "width": 640,
        "height": 480,
        "license": "CC0",
        "nsfw": "UNLIKELY",
        "similarity": hits[0].similarity,
    }


def test_a_selection_becomes_csv_that_no_spreadsheet_computes(marked):
    given = [{"dataset": "small", "id": i, "similarity": -0.25} for i in range(3)]
    answer = select(marked, given, "csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    first, *rows = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert first["caption"] == "'=1+1" and rows[0]["caption"] == "'@evil"
    assert rows[1]["caption"] == '<b>bold</b>, "quoted"\nand more'
    assert first["similarity"] == "-0.25"


def test_what_has_gone_keeps_its_row_without_facts(site):
    given = [{"dataset": "postcards", "id": 7}, {"dataset": "postcards", "id": 2000}]
    here, gone = select(site, given).json()
    assert here["url"] and here["similarity"] is None
    assert gone == {**dict.fromkeys(here), "dataset": "postcards", "id": 2000}


@pytest.mark.parametrize(
    ("items", "status", "says"),
    [
        ("", 400, "not a list of selected"),
        ("{}", 400, "up to 5,000"),
        ("[1]", 400, "not a list of selected"),
        ('[{"id": 1}]', 400, "not a list of selected"),
        ('[{"id": Infinity, "dataset": "postcards"}]', 400, "not a list"),
        ('[{"id": -1, "dataset": "postcards"}]', 404, "no item -1"),
        ('[{"id": 1, "dataset": "nope"}]', 404, "no dataset"),
        ("[" * 5_000, 400, "not a list of selected"),
        ([{"dataset": "postcards", "id": 1}] * 5_001, 400, "up to 5,000"),
    ],
)
def test_what_is_no_selection_is_refused_in_a_sentence(site, items, status, says):
    answer = select(site, items)
    assert answer.status_code == status
    assert says in answer.json()["detail"]


def test_five_thousand_are_not_too_many(site):
    given = [{"dataset": "postcards", "id": i % 1_000} for i in range(5_000)]
    rows = select(site, given).json()
    assert len(rows) == 5_000 and all(row["url"] for row in rows)
