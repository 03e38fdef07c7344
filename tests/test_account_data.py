"""A user's data: all of it in the export, none of it left when the account is gone."""

import json
import zipfile
from io import BytesIO
from types import GeneratorType

import numpy as np
import pytest
from django.apps import apps
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.test import Client
from django.utils import timezone

from search.errors import SearchUnavailable
from search.models import Dataset, ImportNotice, Removal
from search.removals.takedowns import digest
from search.retrieval import item_lookup
from usercollections.account import data_export, services
from usercollections.account.services import (
    LastSuperuser,
    delete_account,
    keeps_history,
    set_keeps_history,
)
from usercollections.account.tokens import make_token
from usercollections.models import (
    Collection,
    CollectionItem,
    Concept,
    ConceptVersion,
    Export,
    HistoryEntry,
    Refinement,
    Round,
    SavedSearch,
)

pytestmark = pytest.mark.django_db
PASSWORD = "a long password 1"
VECTOR = np.linspace(-1, 1, 128, dtype="<f4")


def with_everything(name: str) -> User:
    """A user who has a row in each table that belongs to users."""
    user = User.objects.create_user(name, f"{name}@example.org", PASSWORD)
    user.groups.add(Group.objects.get_or_create(name="curators")[0])
    user.user_permissions.add(Permission.objects.first())
    chosen, _ = Dataset.objects.get_or_create(slug="chosen")
    chosen.allowed_users.add(user)
    ImportNotice.objects.create(dataset=chosen, user=user)
    address = user.emailaddress_set.create(email=user.email, primary=True)
    address.emailconfirmation_set.create(key=f"key of {name}")
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(User),
        object_id="1",
        object_repr="somebody",
        action_flag=ADDITION,
    )
    set_keeps_history(user, False)
    make_token(user, "notebook", None)
    boats = Collection.objects.create(owner=user, name="Boats & ships / 日本")
    for number in range(3):
        CollectionItem.objects.create(
            collection=boats,
            dataset="postcards",
            item=number,
            caption=f"boat “{number}” </script>",
            position=number,
        )
    concept = Concept.objects.create(owner=user, name="night", vector=VECTOR.tobytes())
    ConceptVersion.objects.create(concept=concept, number=1, vector=VECTOR.tobytes())
    Export.objects.create(owner=user, name="boats", asked={"kind": "collection"})
    about = {"dataset": "postcards", "address": "q=a+boat"}
    SavedSearch.objects.create(
        owner=user, name="boats", looked_at=timezone.now(), **about
    )
    HistoryEntry.objects.create(
        owner=user, label="boats", digest="0", searched_at=timezone.now(), **about
    )
    refinement = Refinement.objects.create(
        owner=user, label="boats", start=VECTOR.tobytes(), **about
    )
    first = Round.objects.create(
        refinement=refinement, number=1, good=[1, 2], vector=VECTOR.tobytes()
    )
    Round.objects.create(
        refinement=refinement, number=2, parent=first, vector=VECTOR.tobytes()
    )
    return user


def rows_of(user: User) -> dict[str, int]:
    return {
        model.__name__: services.owned_rows(model, path, user).count()
        for model, path in services.tables().items()
    }


@pytest.fixture
def ada() -> User:
    return with_everything("ada")


@pytest.fixture
def hers(client, ada) -> Client:
    client.force_login(ada)
    return client


def archive(answer) -> zipfile.ZipFile:
    return zipfile.ZipFile(BytesIO(b"".join(answer.streaming_content)))


# --- What belongs to a user


def test_these_tests_know_all_tables_of_a_user(ada):
    """Add a row of the new table to with_everything."""
    assert [name for name, count in rows_of(ada).items() if not count] == []


def test_all_tables_that_know_users_belong_to_them():
    """A user who is named elsewhere would be left there, or could not be deleted."""
    named = {
        field.model
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.concrete_fields
        if isinstance(field, models.ForeignKey) and field.related_model is User
    }
    assert named <= services.tables().keys()


# --- The export


def test_the_export_holds_every_row(hers, ada):
    with_everything("bo")
    answer = hers.get("/account/export")
    assert answer["Content-Type"] == "application/zip"
    assert 'filename="laionweb-' in answer["Content-Disposition"]
    content = archive(answer)
    assert content.testzip() is None
    texts = {name: content.read(name) for name in content.namelist()}
    everything = b"\n".join(texts.values()).decode(errors="replace")
    for model, path in services.tables().items():
        if model.__name__ in data_export.EXCLUDED:
            continue
        for row in services.owned_rows(model, path, ada):
            key = json.dumps(row.pk, cls=DjangoJSONEncoder)
            assert f'"{model._meta.pk.attname}": {key}' in everything, model
    assert "bo@example.org" not in everything


def test_the_export_reads_as_it_should(hers, ada):
    content = archive(hers.get("/account/export"))
    account = json.loads(content.read("account.json"))
    assert (account["username"], account["email"]) == ("ada", "ada@example.org")
    (name,) = [name for name in content.namelist() if name.startswith("collections/")]
    boats = json.loads(content.read(name))
    assert boats["name"] == "Boats & ships / 日本"
    assert [item["item"] for item in boats["collection-items"]] == [0, 1, 2]
    assert boats["collection-items"][1]["caption"] == "boat “1” </script>"
    assert json.loads(content.read("saved-searches.json"))[0]["address"] == "q=a+boat"
    assert json.loads(content.read("history-entries.json"))[0]["label"] == "boats"
    assert json.loads(content.read("preferences.json"))[0]["keeps_history"] is False
    (name,) = [name for name in content.namelist() if name.startswith("refinements/")]
    rounds = json.loads(content.read(name))["rounds"]
    assert [each["good"] for each in rounds] == [[1, 2], []]
    (name,) = [name for name in content.namelist() if name.startswith("concepts/")]
    concept = json.loads(content.read(name))
    for holder in (concept, concept["concept-versions"][0], rounds[0]):
        vector = np.load(BytesIO(content.read(holder["vector"])), allow_pickle=False)
        np.testing.assert_array_equal(vector, VECTOR)


def exported_captions(client: Client) -> list[str]:
    content = archive(client.get("/account/export"))
    (name,) = [name for name in content.namelist() if name.startswith("collections/")]
    items = json.loads(content.read(name))["collection-items"]
    return [item["caption"] + item["url"] for item in items]


def test_the_export_has_nothing_that_must_not_be_shown(hers, ada, monkeypatch):
    kind = Removal.Kind.ITEM
    Removal.objects.create(kind=kind, value="1", digest=digest(kind, "1"))
    CollectionItem.objects.update(url="https://example.org/", dataset="gone")
    first, second, third = exported_captions(hers)
    assert first.startswith("boat “0”") and first.endswith("https://example.org/")
    assert second == "" and third.startswith("boat “2”")

    def away(*_):
        raise SearchUnavailable("The engine is away.")

    monkeypatch.setattr(item_lookup, "states", away)
    assert exported_captions(hers) == ["", "", ""]


def test_the_export_gives_no_secret_away(hers, ada):
    content = archive(hers.get("/account/export"))
    everything = b"\n".join(content.read(name) for name in content.namelist())
    assert ada.password.encode() not in everything
    assert ada.token_set.get().digest.encode() not in everything
    assert b"key of ada" not in everything
    assert json.loads(content.read("tokens.json"))[0]["name"] == "notebook"


def test_the_export_of_much_takes_little_memory(hers, ada):
    """Pieces leave while rows are read: of 8,000 items none are held back."""
    boats = Collection.objects.get(owner=ada)
    CollectionItem.objects.bulk_create(
        CollectionItem(
            collection=boats,
            dataset="postcards",
            item=number,
            caption=f"{hash(str(number))} {hash(str(-number))}",
            position=number,
        )
        for number in range(10, 8_010)
    )
    pieces = data_export.export_account(ada)
    assert isinstance(pieces, GeneratorType)
    sizes = [len(piece) for piece in pieces]
    assert sum(sizes) > 4 * data_export.CHUNK_BYTES
    assert max(sizes) < 2 * data_export.CHUNK_BYTES


def test_the_export_is_limited(hers, settings):
    settings.LIMITS = settings.LIMITS | {"export": "1/hour"}
    archive(hers.get("/account/export"))
    assert hers.get("/account/export").status_code == 429


# --- The end of an account


def test_nothing_is_left_of_a_deleted_account(hers, ada):
    with_everything("bo")
    others = rows_of(User.objects.get(username="bo"))
    other_browser = Client()
    other_browser.force_login(ada)
    page = hers.get("/account/delete").content.decode()
    assert "<strong>3</strong> collection items" in page
    assert 'href="/account/export"' in page

    answer = hers.post("/account/delete", {"password": PASSWORD}, follow=True)
    assert "Your account and its data were deleted." in answer.content.decode()
    assert "_auth_user_id" not in hers.session
    assert not User.objects.filter(username="ada").exists()
    assert rows_of(User.objects.get(username="bo")) == others
    for model, path in services.tables().items():
        left = model._base_manager.exclude(**{f"{path}__username": "bo"})
        assert not left.exists(), model
    assert other_browser.get("/account/").status_code == 302


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("", "Enter your password"),
        ("wrong", "Wrong password."),
        (PASSWORD.upper(), "Wrong password."),
    ],
)
def test_without_the_password_nothing_goes(hers, ada, password, said):
    before = rows_of(ada)
    given = {"password": password} if password else {}
    answer = hers.post("/account/delete", given)
    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert rows_of(ada) == before


def test_guessing_the_password_there_is_limited(hers, settings):
    settings.ACCOUNT_RATE_LIMITS = {"reauthenticate": "3/m/user"}
    seen = [
        hers.post("/account/delete", {"password": f"guess {number}"}).status_code
        for number in range(4)
    ]
    assert seen == [400, 400, 400, 429]


def test_the_last_admin_stays(hers, ada):
    User.objects.filter(pk=ada.pk).update(is_superuser=True, is_staff=True)
    assert "You are the last admin" in hers.get("/account/delete").content.decode()
    answer = hers.post("/account/delete", {"password": PASSWORD})
    assert answer.status_code == 400
    ada.refresh_from_db()
    with pytest.raises(LastSuperuser):
        delete_account(ada)
    User.objects.create_superuser("grace", password=PASSWORD, is_active=False)
    assert hers.post("/account/delete", {"password": PASSWORD}).status_code == 400
    User.objects.create_superuser("bo", password=PASSWORD)
    assert hers.post("/account/delete", {"password": PASSWORD}).status_code == 302


def test_deleting_a_big_account_takes_no_ages(hers, ada, django_assert_max_num_queries):
    boats = Collection.objects.get(owner=ada)
    CollectionItem.objects.bulk_create(
        CollectionItem(collection=boats, dataset="x", item=number, position=number)
        for number in range(10, 5_010)
    )
    with django_assert_max_num_queries(400):
        delete_account(ada)


# --- History


def test_history_is_kept_until_it_is_switched_off(client):
    user = User.objects.create_user("eve")
    client.force_login(user)
    assert keeps_history(user)
    answer = client.post("/account/history", {"keeps": "no"}, follow=True)
    assert "History is off" in answer.content.decode()
    assert not keeps_history(user)
    client.post("/account/history", {"keeps": "yes"})
    assert keeps_history(user)
