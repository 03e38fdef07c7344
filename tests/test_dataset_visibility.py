"""Rules for datasets that not everybody may see, at every address of the site.

What one may not see answers like what does not exist.

The addresses are those of the URL patterns, the operations of the API those of its own
description: a new one is tested, or this test says what it lacks.
"""

import json
import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.management import CommandError, call_command
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from support.api_bodies import BODIES, ITEMS
from support.routes import Route, collection, concept, export, routes

from search.models import SYSTEM, Dataset
from search.retrieval import service
from usercollections.account.data_export import export_account
from usercollections.account.tokens import make_token
from usercollections.models import Collection, CollectionItem, Export
from usercollections.models.ownership import new_token

pytestmark = pytest.mark.django_db
Visibility = Dataset.Visibility
SLUG = "postcards"
ITEM = 7
# What forms and addresses of pages name, so that a request gets as far as it can.
FILLED = {
    "dataset": SLUG,
    "q": "a boat",
    "ids": "7,8",
    "items": json.dumps(ITEMS),
    "address": f"dataset={SLUG}&q=a+boat",
    "search": f"dataset={SLUG}&q=a+boat",
    "good": "7",
    "kind": "opened",
    "name": "boats",
    "form": "json",
    "weight": "1",
    "term": "q-0",
}
SEARCH = {"dataset": SLUG, "terms": [{"text": "a boat"}], "limit": 2}
# Bodies of operations that name a dataset, and need nothing of the user's own.
NAMING: dict[tuple[str, str], dict[str, Any]] = {
    ("api-search", "post"): SEARCH,
    ("api-refine", "post"): SEARCH | {"good": [ITEM]},
    ("api-popularity", "post"): {"dataset": SLUG, "items": [ITEM]},
    ("api-collections", "post"): BODIES["api-collections", "post"],
    ("api-searches", "post"): BODIES["api-searches", "post"],
    ("api-concepts", "post"): BODIES["api-concepts", "post"],
    ("api-exports", "post"): {"kind": "dataset", "form": "json", "dataset": SLUG},
    ("knn-service", "post"): {
        "text": "a boat",
        "modality": "image",
        "num_images": 2,
        "indice_name": SLUG,
    },
    ("metadata", "post"): {"ids": [ITEM], "indice_name": SLUG},
}
# Values of parameters in addresses of the API.
PARAMETERS = {
    "dataset": SLUG,
    "q": "a boat",
    "items": "7",
    "limit": "2",
    "visibility": "public",
}
# Requests that those who may see the dataset make with success.
REACHED = {
    "get ",
    "get d/<slug:slug>/",
    "get d/<slug:slug>/<int:item_id>",
    "get t/<slug:slug>/<int:item_id>/<int:size>.webp",
    "get popularity",
    "get search/relevance",
    "get search/exact",
    "post selection.json",
    "post selection.csv",
    "post refine/",
    "get api/datasets/<slug:slug>/",
    "get api/datasets/<slug:slug>/items/<int:item_id>/",
    *("get api/^search/?$", "post api/^search/?$", "post api/refine/"),
    *("get api/popularity/", "post api/popularity/", "post api/exports/"),
    *("post api/collections/", "post api/searches/", "post api/concepts/"),
    *("post ^[/]*knn-service/*$", "post ^[/]*metadata/*$"),
}
# Pages that take long and name no dataset, and those of accounts.
LEFT_OUT = ("accounts/", "account/", "api/docs/reference", "api/schema/", "metrics")
# Of the example alone, drawn from a number: it is no image of a dataset.
DRAWN = "postcards/<int:postcard_id>"
# What differs between two answers to the same request.
VARYING = re.compile(
    r"\b[A-Za-z0-9]{64}\b|nonce=\S+|[\d.,]+\s?ms\b|\"\w+_ms\":[^,}]+"
    r"|\d{4}-\d\d-\d\dT[^\"]+|[0-9a-f]{8}-[0-9a-f-]{27}"
)


def seen(user: User | AnonymousUser) -> bool:
    return Dataset.objects.visible_to(user).filter(slug=SLUG).exists()


def changed(visibility: str) -> Dataset:
    Dataset.objects.filter(slug=SLUG).update(visibility=visibility)
    return Dataset.objects.get(slug=SLUG)


@pytest.fixture
def people(postcards_dataset) -> dict[str, User | AnonymousUser]:
    """One of each kind; the dataset is for the person and for the member."""
    group = Group.objects.create(name="readers")
    dataset = changed(Visibility.CHOSEN)
    dataset.allowed_groups.add(group)
    names = ("other", "person", "member", "staff")
    found: dict[str, Any] = {
        name: User.objects.create_user(name, f"{name}@example.org") for name in names
    }
    dataset.allowed_users.add(found["person"])
    found["member"].groups.add(group)
    User.objects.filter(username="staff").update(is_staff=True)
    found["staff"].refresh_from_db()
    return {"anonymous": AnonymousUser(), **found}


@pytest.mark.parametrize(
    ("visibility", "seeing"),
    [
        (Visibility.PUBLIC, {"anonymous", "other", "person", "member", "staff"}),
        (Visibility.SIGNED_IN, {"other", "person", "member", "staff"}),
        (Visibility.CHOSEN, {"person", "member", "staff"}),
    ],
)
def test_who_sees_a_dataset(people, visibility, seeing):
    dataset = changed(visibility)
    assert {name for name, user in people.items() if seen(user)} == seeing
    for name, user in people.items():
        hidden = set(Dataset.objects.hidden_from(user).values_list("slug", flat=True))
        assert (SLUG in hidden) == (name not in seeing)
        assert (dataset in service.datasets(user)) == (name in seeing)


# --- Every address


class Asking:
    """Sends every request that could name the dataset, as one user."""

    def __init__(self, user: User | AnonymousUser):
        self.page, self.program = (Client(raise_request_exception=False) for _ in "ab")
        if user.is_authenticated:
            self.page.force_login(user)
            token = make_token(user, "test", None)
            self.program.defaults["HTTP_AUTHORIZATION"] = f"Token {token}"

    def ask(self, route: Route, method: str, address: str, given: Any) -> HttpResponse:
        if route.is_api and method != "get":
            send = getattr(self.program, method)
            return send(address, given, "application/json")
        client = self.program if route.is_api else self.page
        return getattr(client, method)(address, given)


def requests() -> Iterator[tuple[Route, str, str, Any]]:
    """Yield all requests to addresses that belong to nobody."""
    operations = described()
    for route in routes():
        if route.is_owned or route.pattern.startswith((*LEFT_OUT, DRAWN)):
            continue
        address = route.address().partition("?")[0]
        for method in route.methods if route.is_api else ("get", "post"):
            given: Any = FILLED
            if route.is_api:
                given = NAMING.get((route.name or "", method), {})
                if method == "get":
                    wanted = parameters(operations, route, method)
                    given = {n: v for n, v in PARAMETERS.items() if n in wanted}
            yield route, method, address, given


def described() -> dict[str, Any]:
    return SchemaGenerator().get_schema(request=None, public=True)


def path_of(route: Route) -> str:
    """Return the path of a route in the description."""
    plain = route.pattern.replace("^search/?$", "search/")
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", plain)


def parameters(description: dict[str, Any], route: Route, method: str) -> set[str]:
    operation = description["paths"].get(path_of(route), {}).get(method, {})
    given = operation.get("parameters", [])
    return {each["name"] for each in given if each["in"] == "query"}


def read(answer: Any) -> tuple[int, str]:
    """Return the status and the body, without what varies by chance."""
    streamed = answer.streaming
    body = b"".join(answer.streaming_content) if streamed else answer.content
    headers = {name: answer.headers.get(name) for name in ("Location", "Cache-Control")}
    return answer.status_code, VARYING.sub(
        "", f"{headers}\n{body.decode(errors='replace')}"
    )


def answers(asking: Asking) -> dict[str, tuple[int, str]]:
    """The answers to all requests; what these change is rolled back."""
    with transaction.atomic():
        found = {
            f"{method} {route.pattern}": read(asking.ask(route, method, address, given))
            for route, method, address, given in requests()
        }
        transaction.set_rollback(True)
    return found


@pytest.fixture(autouse=True)
def quick(settings, monkeypatch):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    monkeypatch.setattr(service, "RANDOM_OVERSAMPLING", 1)


def _difference(at: str, hidden: dict, missing: dict) -> str:
    """Return where two answers differ."""
    if hidden[at] == missing[at]:
        return ""
    texts = (text.splitlines() for _, text in (hidden[at], missing[at]))
    lines = zip(*texts, strict=False)
    return f"{at}: {next((pair for pair in lines if pair[0] != pair[1]), 'length')}"


@pytest.mark.parametrize("name", ["anonymous", "other"])
def test_a_hidden_dataset_answers_like_none(people, name):
    hidden = answers(Asking(people[name]))
    Dataset.objects.filter(slug=SLUG).update(slug="elsewhere")
    missing = answers(Asking(people[name]))
    assert list(filter(None, (_difference(at, hidden, missing) for at in hidden))) == []
    statuses = {at: status for at, (status, _) in hidden.items()}
    assert [at for at in statuses if statuses[at] >= 500] == []
    for at in ("get d/<slug:slug>/", "get t/<slug:slug>/<int:item_id>/<int:size>.webp"):
        assert statuses[at] == 404, at


def test_those_who_may_see_it_are_answered(people):
    """Else the rule above would hold for requests that are simply refused."""
    wrong = []
    for name in ("person", "member", "staff"):
        asking = Asking(people[name])
        for route, method, address, given in requests():
            if f"{method} {route.pattern}" in REACHED:
                status, _ = read(asking.ask(route, method, address, given))
                if status >= 400:
                    wrong.append(f"{name}: {method} {route.pattern}: {status}")
    assert wrong == []


def test_every_operation_that_takes_a_dataset_is_asked():
    """Add its body to NAMING, or its parameter to PARAMETERS."""
    description, lacking = described(), []
    shapes = description["components"]["schemas"]
    for route in [route for route in routes() if route.is_api and not route.is_owned]:
        operations = description["paths"].get(path_of(route), {})
        for method, operation in operations.items():
            body = operation.get("requestBody", {}).get("content", {})
            names = set(_names([each["schema"] for each in body.values()], shapes))
            if names & {"dataset", "search"} and (route.name, method) not in NAMING:
                lacking.append((route.name, method))
            wanted = parameters(description, route, method)
            if wanted & {"dataset", "datasets", "search"} - PARAMETERS.keys():
                lacking.append((route.name, method))
    assert lacking == []


def _names(shape: Any, shapes: dict[str, Any], known: frozenset = frozenset()) -> Any:
    """Yield the names of all properties in a description of a body."""
    if isinstance(shape, list):
        for each in shape:
            yield from _names(each, shapes, known)
    elif isinstance(shape, dict):
        name = str(shape.get("$ref", "")).rpartition("/")[2]
        if name and name not in known:
            yield from _names(shapes[name], shapes, known | {name})
        yield from shape.get("properties", {})
        for each in shape.values():
            yield from _names(each, shapes, known)


# --- What belongs to users


# Of things of users.
LISTS = {
    *("collections/", "collections/public/", "concepts/", "exports/", "searches/"),
    *("api/collections/", "api/exports/", "api/searches/"),
}
SECRET = "a caption that only some may read"


def secrets_of(owner: User) -> None:
    """Things of a user with something of the dataset in them."""
    mine = collection(owner)
    items = CollectionItem.objects.filter(collection=mine)
    items.update(caption=SECRET, url="https://example.org/secret.jpg")
    Collection.objects.filter(pk=mine.pk).update(
        visibility=Collection.Visibility.PUBLIC, size=1, cover=items.get().pk
    )
    made = concept(owner)
    made.visibility = made.Visibility.PUBLIC
    made.share_token = new_token()
    made.save()
    made.versions.update(made_of={"dataset": SLUG})
    done = export(owner)
    manifest = {"files": [{"name": "a", "rows": 1, "bytes": 1, "sha256": SECRET}]}
    manifest["datasets"] = [{"slug": SLUG, "title": SECRET, "removals": {"digest": ""}}]
    Export.objects.filter(pk=done).update(manifest=manifest)


def test_nothing_of_a_hidden_dataset_is_in_what_users_keep(people):
    """Neither in one's own, once the right to see it is gone, nor in that of others."""
    Dataset.objects.filter(slug=SLUG).update(title=SECRET, description=SECRET)
    for name in ("other", "person"):
        secrets_of(people[name])
    leaks: list[str] = []
    for viewer in ("other", "anonymous"):
        asking = Asking(people[viewer])
        for owner in ("other", "person"):
            for route in routes():
                if not (route.is_owned or route.pattern in LISTS):
                    continue
                if "get" not in (route.methods if route.is_api else ("get",)):
                    continue
                address = route.address(people[owner])
                status, body = read(asking.ask(route, "get", address, {}))
                if SECRET in body or "secret.jpg" in body or status >= 500:
                    leaks.append(f"{viewer} at {route.pattern} of {owner}: {status}")
    assert leaks == []
    assert {route.pattern for route in routes()} >= LISTS


def test_those_who_may_see_it_see_it_in_collections_of_others(people):
    secrets_of(people["other"])
    shared = Collection.objects.get(owner=people["other"])
    for name, user in people.items():
        asking = Asking(user)
        page = asking.page.get(shared.get_absolute_url()).content.decode()
        listed = asking.program.get(f"/api/collections/{shared.pk}/items/").json()
        size = asking.program.get(f"/api/collections/{shared.pk}/").json()["size"]
        everything = asking.page.get("/collections/public/").content.decode()
        is_seen = name in ("person", "member", "staff")
        assert (SECRET in page) == is_seen, name
        assert (len(listed["results"]), size) == (is_seen, is_seen), name
        assert (str(shared.pk) in everything) == is_seen, name


def test_a_copy_has_only_what_its_maker_sees(people):
    secrets_of(people["person"])
    shared = Collection.objects.get(owner=people["person"])
    for name, count in (("other", 0), ("member", 1)):
        asking = Asking(people[name])
        asking.page.post(f"{shared.get_absolute_url()}copy")
        made = Collection.objects.get(owner=people[name])
        assert (made.size, made.items.count()) == (count, count), name


def test_the_copy_of_an_account_has_only_what_its_owner_sees(people):
    for name in ("other", "person"):
        secrets_of(people[name])
        content = zipfile.ZipFile(BytesIO(b"".join(export_account(people[name]))))
        texts = [content.read(file) for file in content.namelist()]
        captions = [text for text in texts if SECRET.encode() in text]
        # The manifest of an export is among the rest of the row.
        assert len(captions) == (1 if name == "other" else 2), name


def test_caches_of_others_get_no_thumbnail(people):
    address = f"/t/{SLUG}/{ITEM}/160.webp"
    asking = Asking(people["person"])
    answer = asking.page.get(address)
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "private, no-cache"
    tag = answer["ETag"]
    assert asking.page.get(address, headers={"If-None-Match": tag}).status_code == 304
    Dataset.objects.get(slug=SLUG).allowed_users.clear()
    again = asking.page.get(address, headers={"If-None-Match": tag})
    assert (again.status_code, "Cookie" in again["Vary"]) == (404, True)
    changed(Visibility.PUBLIC)
    answer = Client().get(address)
    assert answer["Cache-Control"].startswith("public, max-age=3600")
    assert "Cookie" not in answer.get("Vary", "")


def test_a_next_page_is_refused_once_the_dataset_is_hidden(people):
    asking = Asking(people["person"])
    first = asking.program.post("/api/search/", SEARCH, "application/json").json()
    body = {"dataset": SLUG, "cursor": first["next"]}
    assert asking.program.get("/api/search/", body).status_code == 200
    Dataset.objects.get(slug=SLUG).allowed_users.clear()
    assert asking.program.get("/api/search/", body).status_code == 404


def test_commands_see_all_datasets(people):
    assert seen(SYSTEM)
    assert service.item(SLUG, ITEM, SYSTEM).id == ITEM


# --- Who may see it is set in the admin, by a command, or over the API


def access_of(dataset: Dataset) -> dict[str, Any]:
    dataset.refresh_from_db()
    return {
        "visibility": dataset.visibility,
        "allowed_users": [user.username for user in dataset.allowed_users.all()],
        "allowed_groups": [group.name for group in dataset.allowed_groups.all()],
    }


def test_a_command_changes_what_it_is_given(people):
    dataset = changed(Visibility.PUBLIC)
    edit = ("dataset", "edit", SLUG)
    call_command(*edit, "--safety", "safe", "--allowed-users", "other", "--cover", "7")
    wanted = {"visibility": "public", "allowed_users": ["other"]}
    assert access_of(dataset) == wanted | {"allowed_groups": ["readers"]}
    assert (dataset.safety, dataset.cover, dataset.title) == ("safe", 7, "Postcards")
    call_command(*edit, "--visibility", "chosen", "--allowed-groups")
    wanted = {"visibility": "chosen", "allowed_users": ["other"]}
    assert access_of(dataset) == wanted | {"allowed_groups": []}
    for options, sentence in (
        (["--allowed-users", "nobody"], "There is no user “nobody”"),
        (["--dimension", "3"], "fixed once there are shards"),
        (["--title", ""], "title"),
    ):
        with pytest.raises(CommandError, match=sentence):
            call_command(*edit, *options)
    assert access_of(dataset) == wanted | {"allowed_groups": []}


def test_the_api_shows_and_changes_it_for_staff_alone(people):
    User.objects.filter(username="staff").update(is_superuser=True)
    staff = Asking(people["staff"]).program
    address = f"/api/datasets/{SLUG}/"
    settings = staff.get(address).json()["settings"]
    wanted = {"visibility": "chosen", "allowed_users": ["person"]}
    assert settings.items() >= (wanted | {"allowed_groups": ["readers"]}).items()
    told = Asking(people["person"]).program.get(address).json()
    assert "settings" not in told
    change = {"allowed_users": ["other"], "allowed_groups": [], "license": "CC0"}
    answer = staff.patch(address, change, "application/json")
    assert answer.status_code == 200, answer.content
    assert answer.json()["license"] == "CC0"
    assert seen(people["other"]) and not seen(people["person"])
    for wrong in ({"allowed_users": ["nobody"]}, {"visibility": "mine"}, {"cover": -1}):
        assert staff.patch(address, wrong, "application/json").status_code == 400


def test_its_page_says_what_it_is_and_to_staff_who_may_see_it(people):
    Dataset.objects.filter(slug=SLUG).update(
        description="Drawn <b>by</b> a program.", license="CC0", cover=7
    )
    page = Asking(people["person"]).page.get(f"/d/{SLUG}/").content.decode()
    assert "Drawn &lt;b&gt;by&lt;/b&gt; a program." in page
    assert "CC0" in page and f"/t/{SLUG}/7/640.webp" in page
    assert "Who may see it" not in page
    page = Asking(people["staff"]).page.get(f"/d/{SLUG}/").content.decode()
    assert "person, the group readers" in page
