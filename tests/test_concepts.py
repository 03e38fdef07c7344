"""Concepts: saved from rounds, in versions, shared, taken out as files and in."""

import io
import json
import uuid
from datetime import timedelta

import numpy as np
import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from support import searching

from search.errors import NotFound
from search.query.model import SearchQuery, Term

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def dataset(postcards_dataset):
    return postcards_dataset


@pytest.fixture
def ada(client):
    user = get_user_model().objects.create_user("ada")
    client.force_login(user)
    return user


@pytest.fixture
def eve():
    other = Client()
    other.force_login(get_user_model().objects.create_user("eve"))
    return other


def ids(words: str) -> list[int]:
    query = SearchQuery("postcards", (Term(text=words),))
    return [hit.id for hit in searching.find(query).hits]


def post(client, address: str, status: int = 200, **data) -> dict:
    headers = {"X-Requested-With": "XMLHttpRequest"}
    answer = client.post(address, data, headers=headers)
    assert answer.status_code == status, answer.content
    return answer.json()


def round_id(client, words: str = "boats", good: slice = slice(0, 3)) -> str:
    marks = ",".join(map(str, ids(words)[good]))
    search = f"q={words}&dataset=postcards"
    return post(client, "/refine/", search=search, good=marks)["id"]


def saved(client, name: str = "Boats at night", **more):
    from usercollections.models import Concept

    answer = post(client, "/concepts/save", round=round_id(client), name=name, **more)
    return Concept.objects.get(pk=answer["to"].split("/")[2])


def shown(client, address: str) -> list[int]:
    return [hit.id for hit in client.get(address).context["hits"]]


def test_a_round_is_saved_as_a_concept_with_what_it_was_made_of(client, ada):
    from usercollections.models import Round

    concept = saved(client, description="by moonlight")
    made = Round.objects.get()
    assert (concept.owner, concept.description) == (ada, "by moonlight")
    assert concept.embedding.tobytes() == made.embedding.tobytes()
    version = concept.versions.get()
    assert version.number == concept.version == 1
    assert version.made_of == {
        "dataset": "postcards",
        "search": "q=boats&dataset=postcards",
        "words": "boats",
        "rounds": 1,
        "good": made.good,
        "bad": [],
        "strength": 1.0,
    }


def test_it_is_a_term_of_any_search(client, ada):
    concept = saved(client)
    vector = tuple(concept.embedding.tolist())
    alone = searching.find(SearchQuery("postcards", (Term(embedding=vector),)))
    found = [hit.id for hit in alone.hits]
    assert shown(client, f"/?concept={concept.pk}&dataset=postcards") == found
    assert shown(client, f"/?q=concept:{concept.pk}&dataset=postcards") == found
    terms = (Term(embedding=vector), Term(text="snow"))
    mixed = searching.find(SearchQuery("postcards", terms))
    address = f"/?q=snow&concept={concept.pk}&dataset=postcards"
    assert set(shown(client, address)) == {hit.id for hit in mixed.hits}


def test_saving_again_makes_a_version_and_an_older_one_can_be_restored(client, ada):
    concept = saved(client)
    first = bytes(concept.vector)
    other = round_id(client, good=slice(5, 8))
    post(client, "/concepts/save", round=other, concept=concept.pk)
    concept.refresh_from_db()
    assert concept.version == 2 and bytes(concept.vector) != first
    page = client.get(concept.get_absolute_url())
    likeness = [round(each.likeness, 2) for each in page.context["versions"]]
    assert likeness[0] == 1 and 0.5 < likeness[1] < 1
    post(client, f"/concepts/{concept.pk}/restore", version=1)
    concept.refresh_from_db()
    assert concept.version == 3 and bytes(concept.vector) == first
    made_of = concept.versions.get(number=3).made_of
    assert made_of["restored_from"] == 1 and made_of["words"] == "boats"
    assert post(client, f"/concepts/{concept.pk}/restore", 404, version=9)


def test_its_page_shows_the_nearest_of_each_dataset_of_its_model(client, ada):
    concept = saved(client)
    (strip,) = client.get(concept.get_absolute_url()).context["strips"]
    vector = Term(embedding=tuple(concept.embedding.tolist()))
    found = searching.find(SearchQuery("postcards", (vector,), limit=12))
    assert [hit.id for hit in strip.hits] == [hit.id for hit in found.hits]
    assert [hit.id for hit in strip.hits] == shown(client, strip.address)[:12]
    concept.model = "ViT-B-32"
    concept.save()
    page = client.get(concept.get_absolute_url())
    assert page.context["strips"] == [] and page.status_code == 200


def test_rename_delete_and_undo(client, ada):
    concept = saved(client)
    address = concept.get_absolute_url()
    post(client, f"{address}edit", name="Ships", description="")
    assert "Ships" in client.get("/concepts/").content.decode()
    said = post(client, f"{address}edit", 400, name=" ")["detail"]
    assert said == "Give the concept a name."
    undo = post(client, f"{address}delete")["toast"]["undo"]
    assert client.get(address).status_code == 404
    search = f"/?concept={concept.pk}&dataset=postcards"
    assert client.get(search).status_code == 404
    assert not client.get("/concepts/").context["concepts"]
    post(client, undo["url"], **undo["data"])
    assert client.get(address).status_code == client.get(search).status_code == 200


def test_long_deleted_concepts_are_swept(client, ada):
    from usercollections.concept.tasks import sweep
    from usercollections.models import Concept

    old, new = saved(client), saved(client, "new")
    for each, days in ((old, 31), (new, 29)):
        each.deleted_at = timezone.now() - timedelta(days=days)
        each.save()
    sweep()
    assert list(Concept.objects.all()) == [new]


def test_others_reach_it_only_as_far_as_it_is_shared(client, ada, eve):
    concept = saved(client)
    address, search = concept.get_absolute_url(), f"/?concept={concept.pk}"
    reading = (address, f"{address}export.json", f"{address}export.npy")
    changes = ("edit", "delete", "undelete", "restore", "visibility", "renew-link")
    for stranger in (eve, Client()):
        for each in (*reading, search):
            assert stranger.get(each).status_code == 404
        for each in changes:
            assert stranger.post(address + each, {"name": "x"}).status_code == 404
    assert eve.post(f"{address}copy").status_code == 404
    answer = post(client, f"{address}visibility", visibility="unlisted")
    assert answer["to"].endswith("#share")
    concept.refresh_from_db()
    shared = f"/concepts/shared/{concept.share_token}/"
    for stranger in (eve, Client()):
        page = stranger.get(shared)
        assert page.status_code == 200 and page["X-Robots-Tag"] == "noindex"
        assert stranger.get(f"{shared}export.npy").status_code == 200
        assert stranger.get(address).status_code == 404
        # They search with the vector itself, rounded to half the digits.
        found = shown(stranger, page.context["strips"][0].address)
        assert set(found[:10]) == set(shown(client, search)[:10])
    post(client, f"{address}renew-link")
    assert eve.get(shared).status_code == 404
    post(client, f"{address}visibility", visibility="public")
    assert eve.get(address).status_code == eve.get(search).status_code == 200
    assert eve.post(f"{address}edit", {"name": "x"}).status_code == 404
    post(client, f"{address}visibility", visibility="private")
    concept.refresh_from_db()
    assert concept.share_token is None and eve.get(address).status_code == 404


def test_a_copy_is_ones_own(client, ada, eve):
    from usercollections.models import Concept

    concept = saved(client)
    address = concept.get_absolute_url()
    post(client, f"{address}visibility", visibility="unlisted")
    concept.refresh_from_db()
    post(eve, f"/concepts/shared/{concept.share_token}/copy")
    copy = Concept.objects.get(owner__username="eve")
    assert copy.name == concept.name and copy.visibility == "private"
    assert bytes(copy.vector) == bytes(concept.vector)
    post(client, f"{address}delete")
    assert eve.get(copy.get_absolute_url()).status_code == 200


def test_the_marks_behind_it_are_its_owners_alone(client, ada, eve):
    from usercollections.models import Concept

    concept = saved(client)
    address = concept.get_absolute_url()
    post(client, f"{address}visibility", visibility="public")
    mine = client.get(f"{address}export.json").json()["made_of"]
    assert mine["words"] == "boats" and len(mine["good"]) == 3
    assert "“boats”" in client.get(address).content.decode()
    theirs = eve.get(f"{address}export.json").json()["made_of"]
    assert theirs == {"dataset": "postcards", "rounds": 1, "strength": 1.0}
    assert "“boats”" not in eve.get(address).content.decode()
    for user, how in ((eve, theirs), (client, mine)):
        made = post(user, f"{address}copy")["to"].split("/")[2]
        copy = Concept.objects.get(pk=made)
        assert copy.versions.get().made_of == how


def test_it_is_taken_out_and_brought_in_again(client, ada, eve):
    from usercollections.models import Concept

    concept = saved(client, "Boats / at night")
    address = concept.get_absolute_url()
    as_npy = client.get(f"{address}export.npy")
    name = 'attachment; filename="boats-at-night-v1.npy"'
    assert as_npy["Content-Disposition"] == name
    vector = np.load(io.BytesIO(as_npy.content), allow_pickle=False)
    assert np.array_equal(vector, concept.embedding)
    as_json = client.get(f"{address}export.json")
    told = json.loads(as_json.content)
    assert told["name"] == "Boats / at night" and told["dimension"] == 512
    assert told["model"] == concept.model and told["version"] == 1
    assert np.allclose(told["vector"], vector)
    for content, filename in ((as_npy, "boats.npy"), (as_json, "boats.json")):
        file = SimpleUploadedFile(filename, content.content)
        post(eve, "/concepts/import", file=file, dataset="postcards")
    names = {each.name: each for each in Concept.objects.filter(owner__username="eve")}
    assert set(names) == {"boats.npy", "Boats / at night"}
    for each in names.values():
        assert np.allclose(each.embedding, concept.embedding, atol=1e-6)


def npy(array, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


LYING = npy(np.ones(512, "<f4")).replace(b"(512,)", b"(99999999999,)")
OTHER = {"model": "ViT-B-32", "vector": [1.0] * 512}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "Could not read this file"),
        (b"<html>", "Could not read this file"),
        (b"[1, 2]", "Could not read this file"),
        (b"[" * 100_000, "Could not read this file"),
        (b'{"model": "x"}', "Could not read this file"),
        (json.dumps(OTHER).encode(), "of the model ViT-B-32"),
        (npy(np.ones(7, "<f4")), "has 7 numbers"),
        (npy(np.ones((2, 512), "<f4")), "has 1,024 numbers"),
        (npy(np.zeros(512, "<f4")), "no direction"),
        (npy(np.full(512, np.nan)), "no direction"),
        (npy(np.ones(512, "<f4")) + b"junk", "Could not read this file"),
        (npy(np.ones(512, "<f4"))[:-9], "Could not read this file"),
        (npy(np.ones(512, int)), "Could not read this file"),
        (npy(np.array([{}] * 512), allow_pickle=True), "Could not read this file"),
        (LYING, "Could not read this file"),
        (b"\x93NUMPY\x09\x00", "Could not read this file"),
        (b"x" * (2**20 + 1), "larger than 1 MB"),
    ],
)
def test_files_that_are_no_concepts_are_refused(client, ada, data, said):
    file = SimpleUploadedFile("concept.npy", data)
    headers = {"X-Requested-With": "XMLHttpRequest"}
    given = {"file": file, "dataset": "postcards"}
    answer = client.post("/concepts/import", given, headers=headers)
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


def test_a_next_version_is_of_the_same_model(client, ada):
    concept = saved(client)
    concept.model = "ViT-B-32"
    concept.save()
    given = {"round": round_id(client), "concept": concept.pk}
    said = post(client, "/concepts/save", 400, **given)["detail"]
    assert "is of the model ViT-B-32" in said


def test_only_ones_own_are_given_versions(client, ada, eve):
    concept = saved(client)
    given = {"round": round_id(eve), "concept": concept.pk}
    post(eve, "/concepts/save", 404, **given)
    post(eve, "/concepts/save", 404, round=uuid.uuid4(), name="x")
    post(eve, "/concepts/save", 404, round="x", name="x")
    concept.refresh_from_db()
    assert concept.version == 1


def test_the_label_of_a_search_leads_to_the_concept(client, ada):
    from search.query import concepts

    concept = saved(client)
    found = concepts.find(str(concept.pk), ada, "postcards")
    assert found.address == concept.get_absolute_url() and found.exclude == ()
    with pytest.raises(NotFound):
        concepts.find(str(uuid.uuid4()), ada, "postcards")


def test_visitors_are_led_to_sign_in():
    answer = Client().get("/concepts/")
    assert answer.status_code == 302 and "/accounts/login/" in answer["Location"]
    assert Client().post("/concepts/save").status_code == 302
