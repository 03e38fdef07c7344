"""The page of datasets, and the three steps in which staff adds one."""

import html
import io
import re
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from PIL import Image
from support.tiny_shards import drop_tables, import_all, tiny_dataset, write_shard

from search.encoder import catalogue
from search.errors import SearchUnavailable
from search.ingestion.setup import creation, estimates
from search.ingestion.tasks import ingest_shard
from search.models import Dataset, Removal
from search.web import add_dataset_views

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_datasets")]
WHERE, WHAT, MODEL = "/datasets/add/", "/datasets/add/what", "/datasets/add/model"
TEST, IMPORT = "/datasets/add/test", "/datasets/add/import"
EXAMPLE = "local-dir:postcards/model|"


@pytest.fixture
def staff(admin_client):
    return admin_client


@pytest.fixture(autouse=True)
def top(tmp_path: Path, settings) -> Path:
    settings.INGEST_FOLDERS = [str(tmp_path)]
    return tmp_path


@pytest.fixture
def photos(top) -> Path:
    """Three images, and a file that is none."""
    folder = top / "Ärger & <i>boats"
    folder.mkdir()
    for number in range(3):
        file = io.BytesIO()
        Image.new("RGB", (40, 30), (9, 9, 60 * number)).save(file, "JPEG")
        (folder / f"boat {number}.jpg").write_bytes(file.getvalue())
    (folder / "x'><script>.txt").write_text("words")
    return folder


@pytest.fixture(autouse=True)
def queued(monkeypatch) -> list[int]:
    """The keys of the shards that were sent to the workers."""
    keys: list[int] = []
    monkeypatch.setattr(ingest_shard, "delay", keys.append)
    return keys


def alert(answer) -> str:
    """The sentence by which a step was refused."""
    found = re.search(
        r'class="refused" role="alert">(.*?)</p>', answer.content.decode()
    )
    return html.unescape(found[1]) if found else ""


# --- All datasets


def test_the_page_of_datasets_shows_what_a_visitor_may_see(client, staff, top):
    assert "No datasets yet" in client.get("/datasets/").content.decode()
    write_shard(top, 0)
    dataset = tiny_dataset(top, title="<b>Tiny</b>")
    tiny_dataset(top, slug="other", title="Not imported")
    import_all(dataset)
    text = client.get("/datasets/").content.decode()
    assert "&lt;b&gt;Tiny&lt;/b&gt;" in text and "40 images" in text
    assert 'src="/t/tiny/' in text
    assert "Not imported" not in text and "Add dataset" not in text
    Dataset.objects.filter(pk=dataset.pk).update(visibility="signed_in")
    assert "Tiny" not in client.get("/datasets/").content.decode()
    text = staff.get("/datasets/").content.decode()
    assert "Not imported yet" in text and "Add dataset" in text
    assert "Imported" in text and reverse("ingestion", args=["other"]) in text
    drop_tables(dataset)


def test_without_the_engine_the_page_has_no_images(client, top, monkeypatch):
    write_shard(top, 0)
    dataset = tiny_dataset(top)
    import_all(dataset)

    def away(*_):
        raise SearchUnavailable("The search engine does not answer.")

    monkeypatch.setattr("search.web.datasets_views.service.random_hits", away)
    text = client.get("/datasets/").content.decode()
    assert "40 images" in text and "<img" not in text.partition("<main")[2]
    drop_tables(dataset)


def test_every_page_leads_to_the_datasets(client, staff):
    for visitor in (client, staff):
        assert (
            'href="/datasets/"' in visitor.get("/collections/public/").content.decode()
        )


# --- Who may add


@pytest.mark.parametrize("path", [WHERE, WHAT, MODEL])
def test_visitors_sign_in_first(client, path):
    assert client.get(path)["Location"] == f"{reverse('admin:login')}?next={WHERE}"


@pytest.mark.parametrize(
    ("permissions", "status"),
    [([], 404), (["add"], 404), (["change"], 404), (["add", "change"], 200)],
)
def test_only_staff_with_both_permissions_adds(
    client, photos, permissions, status, queued
):
    user = User.objects.create_user("somebody", is_staff=True)
    for name in permissions:
        codename = f"{name}_dataset"
        user.user_permissions.add(Permission.objects.get(codename=codename))
    client.force_login(user)
    assert client.get(WHERE).status_code == status
    given = {"source": str(photos), "model": EXAMPLE, "title": "Boats"}
    assert client.get(MODEL, given).status_code == status
    client.post(IMPORT, given)
    assert Dataset.objects.exists() == (status == 200)


# --- The steps


def test_a_folder_becomes_a_dataset_in_three_steps(staff, photos, queued, processes):
    first = staff.get(WHERE, {"folder": str(photos.parent)}).content.decode()
    assert "Ärger &amp; &lt;i&gt;boats" in first
    second = staff.get(WHAT, {"source": str(photos)})
    text = second.content.decode()
    assert "A folder of images" in text
    assert text.count("data:image/webp") == 3
    assert "It describes no image: there is none of this name." in text
    assert "<script>.txt" not in text
    draft = text.partition('class="draft"')[2]
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', draft))
    given = {name: html.unescape(value) for name, value in hidden.items()}
    assert given == {"source": str(photos)}
    third = staff.get(MODEL, given).content.decode()
    assert 'value="Ärger &amp; &lt;i&gt;boats"' in third
    done = staff.post(IMPORT, given | {"model": EXAMPLE, "safety": "safe"})
    assert done["Location"] == "/ingestion/arger-iboats/"
    dataset = Dataset.objects.get()
    assert (dataset.kind, dataset.source) == ("images", str(photos))
    assert (dataset.title, dataset.safety) == ("Ärger & <i>boats", "safe")
    assert (dataset.model, dataset.weights) == ("local-dir:postcards/model", "")
    assert dataset.dimension == 512
    assert queued == [dataset.shards.get().pk]


def test_columns_and_ratings_are_kept_from_step_to_step(staff, top):
    rows = "".join(f"ftp://x/{i}.jpg,a boat,R-18\n" for i in range(3))
    (top / "list.csv").write_text(f"link,words,how\n{rows}")
    given = {"source": str(top / "list.csv")}
    asked = staff.get(MODEL, given)
    assert asked.status_code == 400
    assert alert(asked) == "Which column has the addresses of the images?"
    given |= {"column_url": "link", "column_caption": "words", "column_nsfw": "how"}
    given |= {"rating": "R-18", "meaning": "unsure"}
    text = staff.get(WHAT, given).content.decode()
    assert '<option value="link" selected>' in text
    assert "<option selected>unsure</option>" in text
    text = staff.get(MODEL, given).content.decode()
    draft = text.partition('class="draft"')[2]
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', draft))
    hidden.pop("csrfmiddlewaretoken", None)
    assert hidden == given
    assert staff.post(IMPORT, given | {"model": EXAMPLE}).status_code == 302
    dataset = Dataset.objects.get()
    assert dataset.columns == {"url": "link", "caption": "words", "nsfw": "how"}
    assert dataset.ratings == {"values": {"R-18": "unsure"}}


def test_people_are_chosen_who_may_see_it(staff, photos, processes):
    given = {"source": str(photos), "model": EXAMPLE, "visibility": "chosen"}
    given |= {"description": "Boats <b>", "license": "CC0", "allowed_groups": ""}
    refused = staff.post(IMPORT, given | {"allowed_users": "ada, bo"})
    assert alert(refused) == "There is no user “ada”."
    text = refused.content.decode()
    assert "Boats &lt;b&gt;</textarea>" in text and 'value="ada, bo"' in text
    assert not Dataset.objects.exists()
    users = [User.objects.create(username=name) for name in ("ada", "bo")]
    assert staff.post(IMPORT, given | {"allowed_users": "ada, bo"}).status_code == 302
    dataset = Dataset.objects.get()
    assert (dataset.description, dataset.license) == ("Boats <b>", "CC0")
    assert dataset.visibility == "chosen"
    assert list(dataset.allowed_users.order_by("pk")) == users
    open_to_all = {"title": "Other", "visibility": "", "allowed_users": "nobody"}
    assert staff.post(IMPORT, given | open_to_all).status_code == 302
    assert Dataset.objects.get(title="Other").visibility == "public"


def test_laion_shards_want_a_removal_list_or_none(staff, top, queued):
    write_shard(top, 0)
    given = {"source": str(top), "title": "Shards", "model": "other"}
    given |= {"other_model": "local-dir:none", "other_weights": ""}
    model = catalogue.Model("tiny", "", 8, "Tiny", is_here=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "models", lambda: [model])
        patch.setattr(catalogue, "dimension_of", lambda *_: 8)
        text = staff.get(MODEL, given).content.decode()
        assert "Import without a removal list" in text
        refused = staff.post(IMPORT, given)
        assert "Import a removal list first" in alert(refused)
        assert not Dataset.objects.exists()
        Removal.objects.create(kind="url", value="x", digest=1)
        assert staff.post(IMPORT, given).status_code == 302
    assert Dataset.objects.get().dimension == 8
    assert len(queued) == 1


def test_embeddings_of_another_length_are_not_of_the_model(staff, top):
    write_shard(top, 0)
    given = {"source": str(top), "model": EXAMPLE, "without_removal_list": "on"}
    refused = staff.post(IMPORT, given)
    assert "have 8 numbers" in alert(refused)
    assert not Dataset.objects.exists()


# --- What is refused


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("", "Choose a folder or a file, or write an address."),
        ("{top}/gone", "There is no file or folder “{top}/gone” on this server."),
        ("{top}/empty", "There is nothing to import in “empty”: it is empty."),
        ("/etc", "Datasets may come from {top} only"),
        ("{top}/broken.parquet", "broken.parquet is damaged"),
        ("https://localhost:1/x", "Say which shards the address has"),
    ],
)
def test_a_source_that_is_refused_stays_typed(staff, top, source, sentence):
    (top / "empty").mkdir()
    (top / "broken.parquet").write_bytes(b"no table")
    source, sentence = source.format(top=top), sentence.format(top=top)
    for step in (WHAT, MODEL):
        answer = staff.get(step, {"source": source})
        assert answer.status_code in (400, 404, 422)
        assert sentence in alert(answer)
        assert f'value="{html.escape(source)}"' in answer.content.decode()


def test_an_address_that_cannot_be_fetched_is_refused(staff):
    given = {"source": "http://127.0.0.1:1/x", "shard_range": "0-4"}
    answer = staff.get(WHAT, given | {"text_pattern": ""})
    assert answer.status_code == 422
    assert "http://127.0.0.1:1/x/img_emb/img_emb_0.npy: " in alert(answer)
    assert 'value="0-4"' in answer.content.decode()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"model": "other", "other_model": "ViT-Z-99", "other_weights": "x"}, "ViT-Z"),
        ({"model": "other", "other_model": "ViT-B-32", "other_weights": "x"}, "“x”"),
        ({"model": "local-dir:/nowhere|"}, "has no weights here"),
        ({"model": ""}, "Choose a model"),
        ({"slug": "Not a slug"}, "A slug has small letters"),
        ({"slug": "taken"}, "There is a dataset of this name already."),
        ({"title": "x" * 121}, "at most 120 characters"),
        ({"safety": "unknown"}, "is not a valid choice"),
    ],
)
def test_a_last_step_that_is_refused_keeps_what_was_typed(
    staff, photos, queued, given, sentence, torch
):
    tiny_dataset(photos, slug="taken")
    typed = {"source": str(photos), "title": "My boats", "model": EXAMPLE} | given
    answer = staff.post(IMPORT, typed)
    assert answer.status_code in (400, 503)
    assert sentence in alert(answer)
    text = answer.content.decode()
    for name in ("title", "slug", "other_model"):
        if name in given:
            assert f'value="{given[name]}"' in text
    assert Dataset.objects.count() == 1 and queued == []


def test_without_the_engine_nothing_is_created(staff, photos, monkeypatch):
    def away():
        raise SearchUnavailable("The search engine does not answer.")

    monkeypatch.setattr(creation.client, "ping", away)
    answer = staff.post(IMPORT, {"source": str(photos), "model": EXAMPLE})
    assert answer.status_code == 503
    assert alert(answer) == "The search engine does not answer."
    assert not Dataset.objects.exists()


def test_a_full_disk_is_foretold(staff, photos, monkeypatch):
    monkeypatch.setattr(estimates.shutil, "disk_usage", lambda _: FullDisk)
    text = staff.get(WHAT, {"source": str(photos)}).content.decode()
    assert "Only 100\xa0bytes are free on the disk" in text


class FullDisk:
    free = 100


# --- Models


def test_a_model_is_tested_with_an_image(staff, photos, torch, processes):
    given = {"source": str(photos), "model": EXAMPLE, "title": "Mine"}
    text = staff.post(TEST, given).content.decode()
    assert "It works: 512 numbers, one of your images in " in text
    assert 'value="Mine"' in text
    given |= {"model": "local-dir:/nowhere|"}
    text = staff.post(TEST, given).content.decode()
    assert "The model local-dir:/nowhere has no weights here." in text


def test_a_test_has_a_deadline(staff, photos, monkeypatch):
    def late(*_):
        raise SearchUnavailable("The model was not ready within 60 seconds.")

    monkeypatch.setattr(add_dataset_views, "try_model", late)
    given = {"source": str(photos), "model": EXAMPLE}
    assert "was not ready" in staff.post(TEST, given).content.decode()


def test_models_of_folders_and_datasets_are_offered(staff, photos, settings, top):
    settings.VAR_DIR = top / "var"
    mine = settings.VAR_DIR / "models" / "mine"
    mine.mkdir(parents=True)
    (mine / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 99}}')
    (mine / "open_clip_model.safetensors").touch()
    tiny_dataset(photos, slug="other", title="Other", model="of-another")
    text = staff.get(MODEL, {"source": str(photos)}).content.decode()
    assert f'value="local-dir:{mine}|"' in text
    assert "The model of the dataset Other." in text


def test_known_models_are_those_of_open_clip(torch):
    for model in catalogue.KNOWN:
        assert catalogue.dimension_of(*model.key) == model.dimension


# --- Names


def test_slugs_come_from_titles_and_are_free(top):
    assert creation.free_slug("Holiday photos, 2024!") == "holiday-photos-2024"
    assert creation.free_slug("Ünïcode -- & more__") == "unicode-more"
    assert creation.free_slug("Картины") == "dataset"
    tiny_dataset(top, slug="dataset")
    tiny_dataset(top, slug="x" * 40)
    assert creation.free_slug("Картины") == "dataset-2"
    assert creation.free_slug("x" * 60) == "x" * 38 + "-2"


def test_titles_come_from_paths():
    assert creation.title_of("/data/holiday_photos-2024/") == "Holiday photos 2024"
    assert creation.title_of("/data/photos.tsv*") == "Photos"
    assert creation.title_of("https://host/path/embeddings") == "Embeddings"
