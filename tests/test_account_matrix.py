"""Rules for every address of the site, generated from its URL patterns."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from support.api_bodies import BODIES, naming
from support.routes import METHODS, Route, round_, routes

from usercollections.account import services
from usercollections.account.tokens import make_token

pytestmark = pytest.mark.django_db
UNSAFE = METHODS[1:]
# It notes when a saved search was looked at, as its page does.
NOTES = {"api-saved-search-results": ["collections_savedsearch"]}
# What forms of the site ask for, so that a request gets as far as it can.
FILLED = {
    "name": "harbours",
    "text": "harbours",
    "note": "nice",
    "q": "a boat",
    "address": "q=a+boat",
    "dataset": "postcards",
    "item": "7",
    "items": '[{"dataset": "postcards", "id": 7}]',
    "keeps": "yes",
    "days": "30",
    "version": "1",
    "number": "1",
    "visibility": "private",
    "email": "new@example.org",
}
# Under which ids could be given beside the address.
NAMES_OF_IDS = (
    *(
        "id",
        "ids",
        "key",
        "keys",
        "collection",
        "collections",
        "from",
        "into",
        "source",
    ),
    *("target", "concept", "concepts", "round", "parent", "refinement", "saved"),
    *("search", "entry", "token", "batch", "undo"),
)


@pytest.fixture(autouse=True)
def unlimited(settings, postcards_dataset):
    settings.ACCOUNT_RATE_LIMITS = False


@pytest.fixture
def owner() -> User:
    user = User.objects.create_user("ada", "ada@example.org", "a long password 1")
    user.emailaddress_set.create(email=user.email, primary=True, verified=True)
    return user


@pytest.fixture
def stranger() -> User:
    return User.objects.create_user("bo", "bo@example.org", "a long password 2")


def client_of(user: User | None, **options) -> Client:
    client = Client(raise_request_exception=False, **options)
    if user is not None:
        client.force_login(user)
    return client


def program_of(user: User, **options) -> Client:
    """With a token instead of a session."""
    token = make_token(user, "notebook", None)
    return client_of(None, headers={"Authorization": f"Token {token}"}, **options)


def filled(route: Route, method: str, **more: Any) -> dict[str, Any]:
    """A form or a body, so that a request gets as far as it can."""
    return BODIES.get((route.name, method), FILLED) | more


def asked(client: Client, method: str, address: str, data: dict | None = None):
    """The answer, read to its end."""
    if method == "get":
        answer = client.get(address)
    elif address.startswith(("/api/", "/knn-service", "/metadata")):
        answer = getattr(client, method)(address, data, "application/json")
    else:
        answer = getattr(client, method)(address, data)
    if answer.streaming:
        b"".join(answer.streaming_content)
    return answer


def state(*but: str) -> dict[str, tuple[int, str]]:
    """Return each table's number of rows, with a digest of them."""
    tables = {
        model._meta.db_table
        for model in apps.get_models(include_auto_created=True)
        if not model._meta.proxy
    }
    queries = [
        f"SELECT '{table}', count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) "
        f'FROM "{table}" t'
        for table in sorted(tables - set(but))
    ]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(queries))
        return {name: tuple(rest) for name, *rest in cursor.fetchall()}


def changed(before: dict, after: dict) -> list[str]:
    """The tables in which there is something else, of those in `after`."""
    return [table for table in after if before[table] != after[table]]


def told(route: Route, method: str, answer) -> str:
    where = f" to {answer['Location']}" if answer.has_header("Location") else ""
    return f"{method} {route.pattern}: {answer.status_code}{where}"


def test_every_parameter_has_something_in_its_place():
    """Say in tests/support/routes.py what stands in the place of a new one."""
    assert [route.pattern for route in routes() if not route.is_known] == []


def kept(user: User) -> dict[str, list]:
    """All rows of a user."""
    found = {
        model.__name__: list(
            services.owned_rows(model, path, user).order_by("pk").values_list()
        )
        for model, path in services.tables().items()
    }
    return {name: rows for name, rows in found.items() if rows}


def test_what_belongs_to_another_is_not_there(owner, stranger):
    wrong = []
    addresses = {r: r.address(owner) for r in routes() if r.is_owned}
    before = kept(owner)
    program = program_of(stranger)
    for client in (client_of(stranger), program, client_of(None)):
        for route, address in addresses.items():
            if client is program and not route.is_api:
                continue
            answers = {
                method: asked(client, method, address, filled(route, method))
                for method in METHODS
            }
            for method, answer in answers.items():
                if not is_refused(answer):
                    wrong.append(told(route, method, answer))
            if {answer.status_code for answer in answers.values()} == {405}:
                wrong.append(f"{route.pattern} answers no method")
    assert wrong == []
    assert kept(owner) == before


def test_ids_of_another_in_a_form_reach_nothing(owner, stranger):
    mine = [route.address(owner) for route in routes() if route.is_owned]
    ids = {part for address in mine for part in address.split("/") if len(part) > 20}
    assert len(ids) > 5
    before = kept(owner)
    client = client_of(stranger)
    for route in routes():
        if not route.is_owned and not route.pattern.startswith("accounts/"):
            for one in ids:
                given = filled(route, "post") | dict.fromkeys(NAMES_OF_IDS, one)
                asked(client, "post", route.address(), given)
    assert kept(owner) == before


def test_ids_of_another_in_a_body_reach_nothing(owner, stranger):
    """As in forms; each of these requests is one that the owner could make."""
    mine = [route.address(owner) for route in routes() if route.is_owned]
    ids = {part for address in mine for part in address.split("/") if len(part) == 36}
    round_id = str(round_(owner))
    before = kept(owner)
    own = next(r for r in routes() if r.name == "api-concept-versions")
    program, wrong = program_of(stranger), []
    requests = [each for one in ids for each in naming(one)]
    requests.append((own.address(stranger), {"round": round_id}))
    requests.append(("/api/concepts/", {"name": "x", "round": round_id}))
    for address, body in requests:
        answer = asked(program, "post", address, body)
        if answer.status_code != 404:
            wrong.append((address, body, answer.status_code, answer.content))
    assert wrong == []
    assert kept(owner) == before
    program = program_of(owner)
    for kind in zip(*map(naming, [*ids, round_id]), strict=True):
        answers = [asked(program, "post", *request) for request in kind]
        assert any(answer.status_code < 400 for answer in answers), kind


def test_bodies_of_the_api_are_ones_that_it_takes(owner):
    """Else the rules above would hold for a body that nobody may send."""
    wrong = []
    for route in routes():
        if not route.is_api or not route.is_owned:
            continue
        for method in {"post", "put", "patch"}.intersection(route.methods):
            if (route.name, method) not in BODIES:
                wrong.append((route.name, method, "has no body in api_bodies.py"))
    for (name, method), body in BODIES.items():
        route = next(route for route in routes() if route.name == name)
        answer = asked(program_of(owner), method, route.address(owner), body)
        refused = answer.status_code >= 400
        if refused and name != "api-export-cancel":  # it is done: too late
            wrong.append((name, method, answer.status_code, answer.content))
    assert wrong == []


def is_refused(answer) -> bool:
    """As if there were nothing; a visitor is asked to sign in where all are."""
    if answer.status_code == 302 and "sessionid" not in answer.client.cookies:
        return wants_sign_in(answer)
    is_visitor = answer.wsgi_request.user.is_anonymous
    if answer.status_code == 401 and is_visitor:
        return answer.json()["code"] == "not_authenticated"
    return answer.status_code in (404, 405)


def wants_sign_in(answer) -> bool:
    return answer["Location"].startswith("/accounts/login/")


def test_what_is_ones_own_is_there(owner):
    """Else the rule above would hold for a route that is simply broken."""
    wrong = []
    for route in [route for route in routes() if route.is_owned]:
        if "shared/" in route.pattern:
            continue
        client = client_of(owner)
        answers = [
            asked(client, method, route.address(owner), filled(route, method))
            for method in ("get", "post")
        ]
        if all(answer.status_code in (404, 405) for answer in answers):
            wrong.append(told(route, "get or post", answers[0]))
    assert wrong == []


def test_requests_of_other_sites_change_nothing(owner):
    """Every unsafe method of every route wants the token of our own pages."""
    wrong = []
    addresses = {route: route.address(owner) for route in routes()}
    client = client_of(owner, enforce_csrf_checks=True)
    before = state()
    for route, address in addresses.items():
        for method in UNSAFE:
            answer = asked(client, method, address, filled(route, method))
            # A form without a token is read first, where 415 refuses all forms.
            refused = (403, 404, 405, 415) if route.is_api else (403,)
            if answer.status_code not in refused and route.knows_sessions:
                wrong.append(told(route, method, answer))
    assert wrong == []
    assert changed(before, state()) == []


def test_reading_changes_nothing(owner):
    User.objects.filter(pk=owner.pk).update(is_staff=True, is_superuser=True)
    owner.refresh_from_db()
    wrong = []
    addresses = {route: route.address(owner) for route in routes()}
    for client in (client_of(owner), client_of(None)):
        before = state()
        for route, address in addresses.items():
            answer = asked(client, "get", address)
            if answer.status_code >= 500:
                wrong.append(told(route, "get", answer))
            if tables := changed(before, state(*NOTES.get(route.name, []))):
                wrong.append(f"{route.pattern} changed {tables}")
            if tables or route.name in NOTES:
                before = state()
    assert wrong == []


def test_nobody_says_whose_a_thing_is(owner, stranger):
    """Nor what one may do here."""
    claims = FILLED | {
        "owner": stranger.pk,
        "owner_id": stranger.pk,
        "user": stranger.pk,
        "user_id": stranger.pk,
        "is_staff": "on",
        "is_superuser": "on",
    }
    failed = []
    for route in routes():
        client = client_of(owner)
        for method in UNSAFE:
            given = filled(route, method, **claims)
            answer = asked(client, method, route.address(owner), given)
            if answer.status_code >= 500:
                failed.append(told(route, method, answer))
    assert failed == []
    owner.refresh_from_db()
    assert not owner.is_staff and not owner.is_superuser
    foreign = {
        model.__name__: services.owned_rows(model, path, stranger).count()
        for model, path in services.tables().items()
        if services.owned_rows(model, path, stranger).exists()
    }
    assert foreign == {}


def test_signing_up_makes_no_admin(client):
    given = {
        "username": "eve",
        "email": "eve@example.org",
        "password1": "a long password 3",
        "is_staff": "on",
        "is_superuser": "on",
    }
    assert client.post("/accounts/signup/", given).status_code == 302
    eve = User.objects.get(username="eve")
    assert not eve.is_staff and not eve.is_superuser
