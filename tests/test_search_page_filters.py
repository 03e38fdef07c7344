"""Filters, hidden items, the cutoff and safe mode on the pages."""

import re
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from support import searching
from support.html_page import Page
from support.search_pages import chips, found, search, send_picture
from support.tiny_shards import DIMENSION, import_all, vectors, write_shard

from postcards.shards import jpeg
from search.clickhouse import schema, writer
from search.clustering.curves import Curve
from search.images.formats import MAX_BYTES
from search.models import SYSTEM, Dataset
from search.query.filters import MAX_EXCLUDED, Filters
from search.query.model import MAX_IMAGES, SearchQuery, Term
from search.retrieval.feedback import MAX_MARKS
from search.web.histogram import BARS, WIDTH
from search.web.selection_views import MAX_SELECTED

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("postcards_dataset")]


def test_filters_are_chosen_beside_the_box_and_stay(client):
    chosen = {
        "min_width": "100",
        "min_height": "200",
        "caption": "moon",
        "dedupe": "no",
        "nsfw": "any",
    }
    page = search(client, q="a boat", field="both", mode="exact", **chosen)
    filters = Filters(
        min_width=100, min_height=200, caption="moon", dedupe=False, nsfw="any"
    )
    options = {"filters": filters, "field": "both", "mode": "exact"}
    assert page.ids == found(Term(text="a boat"), **options)
    for name, value in chosen.items():
        assert value in page.all("input", "value", name=name)
    for name in ("dedupe", "nsfw"):
        assert page.all("input", "checked", name=name) == [None]
    assert page.all("input", "checked", name="field") == [None]
    assert page.all("input", "checked", value="both") == [None]
    assert list(chips(page)) == [
        "a boat",
        "includes NSFW",
        "width ≥ 100",
        "height ≥ 200",
        "caption with “moon”",
        "near-duplicates shown",
    ]
    without = parse_qs(urlsplit(chips(page)["height ≥ 200"]).query)
    assert without.keys() == {"q", "field", "mode", *chosen} - {"min_height"}
    sent = send_picture(client, jpeg(9), field="both", **chosen)
    assert parse_qs(urlsplit(sent["Location"]).query).keys() == {
        *("embedding", "field", "dataset"),
        *chosen,
    }


@pytest.mark.parametrize("recall", ["", "0.99", "0.9"])
def test_thoroughness_is_chosen_where_it_is_calibrated(
    client, postcards_dataset, recall
):
    page = search(client, q="a boat", recall=recall)
    assert "Thoroughness" not in page.text
    assert page.all("input", "value", name="recall", form="search") == [
        recall or "0.95"
    ]
    curve = Curve((0.1, 1), {10: (0.9, 1), 100: (0.8, 1)})
    postcards_dataset.calibration = {"image": {"pictures": curve.to_json()}}
    postcards_dataset.save()
    page = search(client, q="a boat", recall=recall)
    assert not page.all("input", "value", name="recall", form="search")
    assert page.all("option", "selected", value=recall or "0.95") == [None]
    offered = [value for value in page.all("option", "value") if value[:2] == "0."]
    assert offered == sorted({"0.95", "0.99", recall} - {""})
    assert "Usual: finds 95 of 100" in page.text


def test_a_filter_in_the_words_goes_before_one_beside_them(client):
    page = search(client, q='a boat "moon" width>5', caption="sea", min_width=9_999)
    filters = Filters(caption="moon", min_width=6)
    assert page.ids == found(Term(text="a boat"), filters=filters)
    assert list(chips(page)) == ["a boat", "caption with “moon”", "width ≥ 6"]


# --- A dataset with near-duplicates and an unsafe item


ROWS = 30


@pytest.fixture
def varied(client, tmp_path):
    """Yield a client; near item 0 of "varied" are duplicates and an unsafe item."""
    dataset = Dataset.objects.create(
        slug="varied",
        title="Varied",
        dimension=DIMENSION,
        source=str(tmp_path),
        without_removal_list=True,
    )
    image = vectors(ROWS, 1)
    image[:6] = image[0]
    image[1:6, 0] += np.float16(0.7)  # 1 … 5: near to 0, and near-duplicates
    image[4, 1] += np.float16(1.5)  # except 4 and 5
    image[5, 2] += np.float16(1.5)
    metadata = {
        "url": [f"http://{'a' if i < 9 else 'b'}.org/{i}.jpg" for i in range(ROWS)],
        "caption": [f"number {i}" for i in range(ROWS)],
        "NSFW": ["NSFW" if i == 4 else "UNLIKELY" for i in range(ROWS)],
        "WIDTH": [100 + i for i in range(ROWS)],
        "HEIGHT": [100] * ROWS,
    }
    write_shard(tmp_path, 0, ROWS, image=image, metadata=metadata)
    (shard,) = import_all(dataset)
    assert shard.rows == ROWS, shard.error
    yield client
    schema.drop(dataset.item_table)


def varied_search(varied, **parameters) -> Page:
    parameters = {"dataset": "varied", "item": 0, "mode": "exact"} | parameters
    return Page(varied.get("/", parameters))


def test_what_is_hidden_is_counted_and_a_link_away(varied):
    page = varied_search(varied)
    assert "1 NSFW hidden · 2 near-duplicates hidden" in page.text
    assert 4 not in page.ids and len({1, 2, 3} & {*page.ids}) == 1
    links = [link for link in page.all("a", "href") if link.startswith("/?")]
    (unsafe,) = [link for link in links if "nsfw=any" in link]
    assert 4 in Page(varied.get(unsafe)).ids
    (twins,) = {link for link in links if "dedupe=no" in link and "mode" in link}
    page = Page(varied.get(twins))
    assert {1, 2, 3} <= {*page.ids}
    assert "folded" not in page.text


def test_links_to_what_is_hidden_overrule_the_words(varied):
    page = varied_search(varied, q="nsfw:safe dedupe:yes")
    for name in ("nsfw=any", "dedupe=no"):
        (link,) = {
            link for link in page.all("a", "href") if name in link and "mode" in link
        }
        assert chips(page).keys() >= {"safe only", "near-duplicates hidden"}
        assert Page(varied.get(link)).ids != page.ids


def test_a_hit_tells_of_its_twins_and_leads_to_them(varied):
    page = varied_search(varied)
    assert "+2 similar" in page.text
    (link,) = page.all("a", "href", **{"class": "folded"})
    (shown,) = {1, 2, 3} & {*page.ids}
    assert link == f"/?item={shown}&dedupe=no&dataset=varied"
    assert {*Page(varied.get(link)).ids[:2]} == {1, 2, 3} - {shown}


def test_a_removed_item_is_counted(varied):
    writer.hide(Dataset.for_slug("varied", SYSTEM).item_table, "id = 5", {})
    page = varied_search(varied)
    assert "1 removed" in page.text and 5 not in page.ids


def test_few_results_are_said_to_be_all_that_pass(varied):
    page = varied_search(varied, q="width>124")
    assert page.ids and len(page.ids) == 5
    assert "5 images match" in page.text
    page = varied_search(varied, q="width>128")
    assert "1 image matches" in page.text
    assert "Top matches from 30 images" in varied_search(varied).text


def test_no_results_have_a_reason_and_a_way_out(varied):
    page = varied_search(varied, q="width>900")
    assert "None of the 30 images in Varied match the filter." in page.text
    assert "Without “width ≥ 901”" in page.text
    page = varied_search(varied, q="width>900 site:a.org", min_height=1)
    assert "match all filters." in page.text
    buttons = [
        link for link in page.all("a", "href", **{"class": "button"}) if "?" in link
    ]
    assert [urlsplit(address).query.count("site") for address in buttons] == [1, 0, 1]
    assert Page(varied.get(buttons[0])).ids
    page = varied_search(varied, q="width=104")
    assert "All results are marked NSFW." in page.text
    show, *_ = page.all("a", "href", **{"class": "button"})
    assert Page(varied.get(show)).ids == [4]


def test_each_filter_says_how_much_it_hides(varied):
    page = varied_search(varied, q="width>=120", site="a.org")
    assert "width ≥ 120 hides about 20" in page.text
    assert "from a.org hides about 21" in page.text
    page = varied_search(varied, cutoff=0.2)
    below = sum(similarity < 0.2 for similarity in similarities(varied))
    assert f"similarity ≥ 0.2 hides {below} of the" in page.text


def test_the_scripts_hold_to_the_limits_of_the_server(varied):
    elements = {a["id"]: a for _, a in varied_search(varied).elements if "id" in a}
    assert elements["refine"]["data-max-marks"] == str(MAX_MARKS)
    assert elements["refine"]["data-max-seen"] == str(MAX_EXCLUDED)
    assert elements["selection"]["data-max"] == str(MAX_SELECTED)
    assert elements["picture-file"]["data-max"] == str(MAX_IMAGES)
    assert elements["picture-file"]["data-max-bytes"] == str(MAX_BYTES)


def relevance(varied, **parameters) -> Page:
    """The parts that a page of results loads for the panel of filters."""
    sections = varied_search(varied, **parameters).elements
    (address,) = [a["data-relevance"] for _, a in sections if "data-relevance" in a]
    return Page(varied.get(address))


def test_bars_of_the_cutoff_know_their_edge(varied):
    bars = [a for _, a in relevance(varied).elements if "data-place" in a]
    assert 1 < len(bars) <= BARS
    assert all(int(bar["data-place"]) * WIDTH == int(bar["x"]) for bar in bars)


def similarities(varied) -> list[float]:
    filters = Filters(dedupe=False)
    query = SearchQuery("varied", (Term(item=0),), filters=filters, mode="exact")
    return [hit.similarity for hit in searching.find(query).hits]


def test_the_cutoff_stands_over_how_similar_the_candidates_are(varied):
    known = similarities(varied)
    page = relevance(varied)
    (slider,) = [a for tag, a in page.elements if a.get("id") == "cutoff-slider"]
    edges = [float(edge) for edge in slider["data-edges"].split()]
    reaching = [int(count) for count in slider["data-reaching"].split()]
    total = int(slider["data-total"])
    assert total == len(known) == reaching[0] and len(edges) == 40
    assert reaching == [sum(each >= edge for each in known) for edge in edges]
    page = varied_search(varied, cutoff=edges[20], dedupe="no")
    assert len(page.ids) == reaching[20] < total
    page = relevance(varied, cutoff=edges[20], dedupe="no")
    assert f"{reaching[20]} of the top {total} reach" in page.text
    (slider,) = [a for tag, a in page.elements if a.get("id") == "cutoff-slider"]
    assert slider["value"] == "20" and slider["data-total"] == str(total)
    page = varied_search(varied, cutoff=0.999)
    assert page.ids == []
    assert (
        f"No image reaches similarity 0.999: the closest image has {max(known):.3f}"
        in (page.text)
    )


def test_all_filters_of_the_panel_narrow_the_search(varied):
    assert varied_search(varied, max_width=109).ids == found_in_varied(max_width=109)
    assert varied_search(varied, max_height=99).ids == []
    assert varied_search(varied, orientation="portrait").ids == []
    landscape = varied_search(varied, orientation="landscape")
    assert landscape.ids == found_in_varied(min_width=106)
    assert varied_search(varied, q="orientation:landscape").ids == landscape.ids
    assert varied_search(varied, orientation="square").ids == found_in_varied(
        max_width=105
    )
    largest = varied_search(varied, sort="size").ids
    assert largest == sorted(largest, reverse=True) and largest[0] == ROWS - 1


def found_in_varied(**filters) -> list[int]:
    query = SearchQuery(
        "varied", (Term(item=0),), mode="exact", filters=Filters(**filters)
    )
    return [hit.id for hit in searching.find(query).hits]


def test_filters_without_a_column_are_not_offered(varied):
    names = varied_search(varied).all("input", "name", form="search")
    assert {"min_width", "max_height", "site", "caption"} <= {*names}
    assert not {"license", "min_similarity"} & {*names}
    assert "license" in search(varied).all("input", "name", form="search")
    orders = search(varied).all("option", "value")
    assert "size" in orders and "popularity" not in orders


# --- A dataset without safety labels


@pytest.fixture
def unmarked(client, tmp_path):
    """Yield a client; the dataset "unmarked" does not say what is safe."""
    dataset = Dataset.objects.create(
        slug="unmarked",
        title="Unmarked",
        dimension=DIMENSION,
        source=str(tmp_path),
        without_removal_list=True,
    )
    captions = [f"a picture of the boat number {i}" for i in range(ROWS)]
    captions[:3] = ["width>5", "-no", "12345"]
    metadata = {
        "url": [f"http://a.org/{i}.jpg" for i in range(ROWS)],
        "caption": captions,
        "NSFW": [""] * ROWS,
    }
    write_shard(tmp_path, 0, ROWS, image=vectors(ROWS, 1), metadata=metadata)
    import_all(dataset)
    yield client
    schema.drop(dataset.item_table)


def test_safe_mode_veils_what_nobody_has_marked(unmarked):
    notice = "This dataset has no safety labels, so images are blurred."
    for parameters in ({}, {"item": 0}):
        page = search(unmarked, dataset="unmarked", **parameters)
        assert notice in page.text
        assert page.all("ul", "class").count("grid veiled") == 1
        (show,) = [link for link in page.all("a", "href") if "nsfw=any" in link]
        page = Page(unmarked.get(show))
        assert notice not in page.text and "grid veiled" not in page.all("ul", "class")
        assert page.ids
    assert notice not in search(unmarked, dataset="postcards").text


def test_any_dataset_has_examples_that_can_be_searched_for(unmarked):
    answer = unmarked.get("/", {"dataset": "unmarked"})
    examples = re.findall(r'<li><a href="(/\?q=[^"]+)" dir', answer.content.decode())
    assert len(examples) == 6
    assert all("a+picture+of+the+boat" in example for example in examples)
