"""The pages of exports, without a browser: as they work without JavaScript."""

import re
from codecs import BOM_UTF8
from datetime import timedelta
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from support import searching
from support.collection_helpers import collection, first_ids
from support.html_page import HTMX
from support.routes import round_

from search.errors import SearchUnavailable
from search.models import SYSTEM, Dataset
from search.query.model import SearchQuery, Term, encode_embedding
from usercollections.export import services, storage, tasks, views
from usercollections.models import Concept, Export, Round

pytestmark = pytest.mark.django_db
State = Export.State


@pytest.fixture(autouse=True)
def quiet(settings, tmp_path, monkeypatch, postcards_dataset):
    settings.EXPORT_DIR = tmp_path / "exports"
    monkeypatch.setattr(tasks.write_export, "delay", lambda key: None)


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def hers(client, ada) -> Client:
    client.force_login(ada)
    return client


@pytest.fixture
def boat(ada) -> Concept:
    vector = searching.embed(SearchQuery("postcards", (Term(text="a boat"),)))
    dataset = Dataset.for_slug("postcards", SYSTEM)
    return Concept.objects.create(
        owner=ada,
        name="Boats <b>",
        model=dataset.model,
        weights=dataset.weights,
        vector=vector.astype("<f4").tobytes(),
    )


def text_of(answer) -> str:
    return answer.content.decode()


def started(client, **given) -> Export:
    """Fills in and sends the form that an address leads to."""
    sent = client.post("/exports/new", {"form": "csv", **given})
    assert (sent.status_code, sent.get("Location")) == (302, "/exports/"), text_of(sent)
    return Export.objects.latest("created_at")


def export(owner: User, state: str, **more) -> Export:
    told = {"kind": "dataset", "form": "csv", "with_embeddings": False}
    told |= {"what": {"dataset": "postcards"}}
    expires_at = timezone.now() + timedelta(days=7)
    given = {"name": "boats", "asked": told, "expires_at": expires_at, **more}
    return Export.objects.create(owner=owner, state=state, **given)


# --- The ways to the form


@pytest.mark.parametrize("page", ["/exports/", "/exports/new?dataset=postcards"])
def test_visitors_are_asked_to_sign_in(client, page):
    answer = client.get(page)
    assert answer["Location"] == f"/accounts/login/?next={quote(page)}"


def test_links_lead_to_it_from_all_that_can_be_exported(hers, ada, boat):
    boats = collection(ada, *first_ids("postcards", 2))
    ways = {
        "/?dataset=postcards&q=a+boat&min_width=9": "search=q%3Da%2Bboat%26min_width"
        "%3D9%26dataset%3Dpostcards",
        f"/collections/{boats.pk}/": f"collection={boats.pk}",
        f"/concepts/{boat.pk}/": f"concept={boat.pk}",
        "/d/postcards/": "dataset=postcards",
    }
    for page, way in ways.items():
        shown = text_of(hers.get(page))
        assert f'href="/exports/new?{way}"' in shown, page
        form = hers.get(f"/exports/new?{way}")
        assert form.status_code == 200
        assert '<form method="post" action="/exports/new"' in text_of(form)
        assert 'href="/exports/"' in text_of(form)


def test_an_address_that_names_nothing_leads_to_the_list(hers):
    assert hers.get("/exports/new")["Location"] == "/exports/"
    assert hers.post("/exports/new", {"form": "csv"})["Location"] == "/exports/"


@pytest.mark.parametrize(
    ("way", "status"),
    [
        ("collection=7", 404),
        ("collection=00000000-0000-4000-8000-000000000000", 404),
        ("concept=%00", 404),
        ("dataset=nowhere", 404),
        ("dataset=%00%FF'", 404),
        ("search=dataset%3Dpostcards", 400),
        ("search=q%3Da%26cutoff%3D7", 400),
        ("search=q%3Da%26dataset%3Dnowhere", 404),
        ("search=" + "x" * 40_000, 400),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_there_has_a_page_that_says_so(hers, way, status):
    answer = hers.get(f"/exports/new?{way}")
    assert answer.status_code == status
    assert '<div class="notice"' in text_of(answer)


# --- The form


def test_a_search_is_exported_as_it_stands_in_the_address(hers):
    address = "q=a+boat&nsfw=any&dataset=postcards"
    shown = text_of(hers.get(f"/exports/new?search={quote(address)}"))
    assert "a boat" in shown and "includes NSFW" in shown and "in Postcards" in shown
    done = started(hers, search=address, form="parquet", limit="50", embeddings="yes")
    assert (done.state, done.rows) == (State.DONE, 50)
    assert done.asked["what"]["filters"]["nsfw"] == "any"
    path = storage.folder_of(done.pk) / "1" / storage.listed(done)[0]["name"]
    table = pq.read_table(path)
    assert "embedding" in table.column_names
    query = SearchQuery("postcards", (Term(text="a boat"),))
    found = searching.find(query)
    assert table["id"].to_pylist()[:40] == [hit.id for hit in found.hits]


def test_a_search_by_a_picture_and_a_number_of_an_item(hers):
    vector = searching.embed(SearchQuery("postcards", (Term(text="snow"),)))
    address = f"item=7&embedding={encode_embedding(vector)}&dataset=postcards"
    done = started(hers, search=address, limit="3")
    assert done.rows == 3


def test_what_a_refined_search_leaves_out_is_told_before(hers, ada):
    seen = first_ids("postcards", 3)
    key = round_(ada)
    Round.objects.filter(pk=key).update(seen=seen)
    address = f"concept={key}&dataset=postcards"
    assert "3 images used as examples or seen in earlier rounds" in text_of(
        hers.get(f"/exports/new?search={quote(address)}")
    )
    done = started(hers, search=address, limit="2000")
    (file,) = storage.listed(done)
    lines = (storage.folder_of(done.pk) / "1" / file["name"]).read_text().splitlines()
    assert not {line.split(",")[0] for line in lines} & set(map(str, seen))


def test_a_collection_is_exported(hers, ada):
    boats = collection(ada, *first_ids("postcards", 4))
    assert "4 images" in text_of(hers.get(f"/exports/new?collection={boats.pk}"))
    done = started(hers, collection=str(boats.pk), form="json")
    assert (done.state, done.rows, done.name) == (State.DONE, 4, "boats")


def test_a_dataset_is_exported_with_filters_beside_it(hers):
    done = started(hers, dataset="postcards", caption="boat", form="csv")
    assert done.asked["what"]["filters"]["caption"] == "boat"
    assert 0 < done.rows < 2_000


def test_embeddings_are_for_parquet_and_mean_nothing_elsewhere(hers):
    done = started(hers, search="q=a&dataset=postcards", limit="2", embeddings="yes")
    assert done.asked["with_embeddings"] is False


def test_a_concept_shows_how_similar_the_nearest_are(hers, boat):
    shown = text_of(hers.get(f"/exports/new?concept={boat.pk}"))
    assert "Boats &lt;b&gt;" in shown and "Boats <b>" not in shown
    told = re.findall(r'data-at-least="([\d.]+)" data-count="(\d+)"', shown)
    assert [count for _, count in told] == ["10", "100", "1000"]
    least = dict((int(count), float(value)) for value, count in told)
    assert least[10] > least[100] > least[1000]
    done = started(
        hers,
        concept=str(boat.pk),
        dataset="postcards",
        field="image",
        at_least=str(least[100]),
    )
    # The nearest by the index and by the scan; some more have the same four digits.
    assert 100 <= done.rows <= 110
    assert done.looked_at == 2_000


def test_a_rank_is_a_link_that_fills_in_its_similarity(hers, boat):
    page = f"/exports/new?concept={boat.pk}&dataset=postcards"
    shown = text_of(hers.get(page))
    link = re.search(r'<a href="([^"]+at_least=[^"]+)" data-at-least', shown)[1]
    filled = text_of(hers.get(link.replace("&amp;", "&")))
    value = re.search(r"at_least=([\d.]+)", link)[1]
    assert f'name="at_least" value="{value}"' in filled


def test_the_form_is_there_while_the_engine_is_away(hers, boat, monkeypatch):
    def away(*_):
        raise SearchUnavailable("The search engine did not answer.")

    monkeypatch.setattr(views, "preview", away)
    answer = hers.get(f"/exports/new?concept={boat.pk}")
    assert answer.status_code == 200
    assert 'name="at_least"' in text_of(answer)
    assert "data-at-least" not in text_of(answer)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"form": "xls"}, "Choose an export format."),
        (
            {"at_least": "7"},
            "The minimum similarity must be a number between −1 and 1.",
        ),
        (
            {"at_least": "nan"},
            "The minimum similarity must be a number between −1 and 1.",
        ),
        ({"at_least": ""}, "Enter a minimum similarity."),
        ({"min_width": "x"}, "The minimum width must be a number of pixels."),
        ({"caption": "\0"}, "Null characters are not allowed."),
    ],
    ids=["form", "far", "nan", "none", "width", "nul"],
)
def test_a_form_that_is_refused_keeps_what_was_filled_in(hers, boat, given, sentence):
    filled = {"concept": str(boat.pk), "dataset": "postcards", "site": "example.org"}
    filled |= {"form": "json", "at_least": "0.2", "field": "image", **given}
    answer = hers.post("/exports/new", filled)
    shown = text_of(answer)
    assert answer.status_code == 400
    assert f'<p class="wrong" role="alert">{sentence}</p>' in shown
    assert not Export.objects.exists()
    if given.get("form") is None:
        assert 'value="json" checked' in shown


def test_a_search_has_up_to_ten_thousand(hers):
    answer = hers.post(
        "/exports/new",
        {"search": "q=a&dataset=postcards", "form": "csv", "limit": "10001"},
    )
    assert answer.status_code == 400
    assert "Export between 1 and 10,000 results." in text_of(answer)


def test_making_them_is_limited(hers, settings):
    settings.LIMITS = {**settings.LIMITS, "export": "1/hour"}
    started(hers, search="q=a&dataset=postcards", limit="2")
    answer = hers.post("/exports/new", {"dataset": "postcards", "form": "csv"})
    assert answer.status_code == 429
    assert hers.get("/exports/").status_code == 200


# --- The list


def test_the_list_is_empty_at_first(hers):
    assert "Nothing exported yet" in text_of(hers.get("/exports/"))


def test_each_state_shows_what_can_be_done(hers, ada):
    done = {"manifest": {"files": [{"name": "a.csv", "rows": 1, "bytes": 9}]}}
    shown = {
        state: (
            export(ada, state, rows=1, **(done if state == State.DONE else {})),
            ways,
        )
        for state, ways in {
            State.QUEUED: {"cancel"},
            State.RUNNING: {"cancel"},
            State.DONE: {"files/a.csv", "files/manifest.json", "delete"},
            State.FAILED: {"again", "delete"},
            State.CANCELLED: {"again", "delete"},
            State.EXPIRED: {"again", "delete"},
        }.items()
    }
    page = text_of(hers.get("/exports/"))
    for state, (row, ways) in shown.items():
        found = set(re.findall(rf'"/exports/{row.pk}/([a-z/.]+)"', page))
        assert found == ways, state
        asks = f'hx-get="/exports/{row.pk}/"' in page
        assert asks == (state in services.AT_WORK)


def test_progress_is_told_as_far_as_it_is_known(hers, ada):
    far = export(ada, State.RUNNING, looked_at=1_400_000, to_look_at=4_000_000)
    page = text_of(hers.get("/exports/"))
    assert '<progress value="35" max="100"' in page
    assert "35 % · 1,400,000 of 4,000,000 scanned" in page
    Export.objects.filter(pk=far.pk).update(to_look_at=None)
    page = text_of(hers.get("/exports/"))
    assert "<progress aria-label" in page and "1,400,000 scanned" in page


def test_what_is_at_work_is_asked_for_by_itself(hers, ada):
    row = export(ada, State.RUNNING, looked_at=1, to_look_at=4)
    answer = hers.get(f"/exports/{row.pk}/", headers=HTMX)
    assert text_of(answer).startswith("<li") or "<li id=" in text_of(answer)[:200]
    assert "hx-trigger" in text_of(answer) and "HX-Trigger" not in answer
    Export.objects.filter(pk=row.pk).update(state=State.FAILED, error="No disk.")
    answer = hers.get(f"/exports/{row.pk}/", headers=HTMX)
    assert "hx-trigger" not in text_of(answer) and "No disk." in text_of(answer)
    assert "failed" in answer["HX-Trigger"]
    plain = hers.get(f"/exports/{row.pk}/")
    assert plain["Location"] == f"/exports/#export-{row.pk}"


def test_names_are_never_markup(hers, ada):
    export(ada, State.FAILED, name='<script>"&', error="<i>why</i>")
    page = text_of(hers.get("/exports/"))
    assert "&lt;script&gt;&quot;&amp;" in page and "<i>why" not in page


def test_one_is_cancelled_made_again_and_deleted(hers, monkeypatch):
    monkeypatch.setattr(services, "SMALL", -1)
    row = started(hers, search="q=a&dataset=postcards", limit="2")
    assert row.state == State.QUEUED
    where = f"/exports/{row.pk}"
    assert "Cancelled “a”" in text_of(hers.post(f"{where}/cancel", follow=True))
    monkeypatch.setattr(services, "SMALL", 2_000)
    assert "“a” is ready." in text_of(hers.post(f"{where}/again", follow=True))
    row.refresh_from_db()
    assert row.state == State.DONE
    assert "Deleted “a”" in text_of(hers.post(f"{where}/delete", follow=True))
    assert not Export.objects.exists()


def test_what_comes_too_late_is_told_on_the_list(hers, ada):
    done = export(ada, State.DONE)
    page = text_of(hers.post(f"/exports/{done.pk}/cancel", follow=True))
    assert "This export has already ended." in page and "<h1>Exports" in page
    dropped = {**done.asked, "what": {"dataset": "gone"}}
    failed = export(ada, State.FAILED, asked=dropped)
    page = text_of(hers.post(f"/exports/{failed.pk}/again", follow=True))
    assert "There is no dataset named “gone”." in page and "<h1>Exports" in page


def test_the_list_says_by_what_and_whether_filtered(hers, ada, boat):
    given = {"concept": str(boat.pk), "dataset": "postcards", "at_least": "0.99"}
    started(hers, **given, field="text", min_width="9")
    page = text_of(hers.get("/exports/"))
    wanted = "Items of Postcards with captions at least 0.99 similar to a concept"
    assert f"{wanted}, filtered" in page
    assert "no matching items" in page
    started(hers, dataset="postcards")
    assert "A dataset ·" in text_of(hers.get("/exports/"))


def test_a_file_is_downloaded(hers):
    row = started(hers, search="q=a&dataset=postcards", limit="2")
    page = text_of(hers.get("/exports/"))
    link = re.search(r'href="([^"]+\.csv)" download', page)[1]
    answer = hers.get(link)
    assert b"".join(answer.streaming_content).count(b"\n") >= 3
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "attachment" in answer["Content-Disposition"]
    part = hers.get(link, headers={"Range": "bytes=0-1"})
    assert part.status_code == 206 and b"".join(part.streaming_content) == BOM_UTF8[:2]
    assert hers.get(f"/exports/{row.pk}/files/nothing").status_code == 404


def test_a_user_takes_all_exports_along_in_their_data(hers):
    started(hers, search="q=a&dataset=postcards", limit="2")
    answer = hers.get("/account/export")
    assert b"".join(answer.streaming_content).startswith(b"PK")
