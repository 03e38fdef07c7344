"""The API answers as its own description says, whatever is sent to it.

Requests are made up from the description: good ones and bad ones, by a visitor, a
signed-in user and an admin. What they would change is rolled back, or left out where
it is no database's.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.core import signals
from django.core.cache import caches
from django.db import close_old_connections
from drf_spectacular.validation import validate_schema
from schemathesis.checks import not_a_server_error
from schemathesis.generation.case import Case
from support import api_contract as contract
from support import routes
from support.tiny_shards import tiny_dataset, write_shard

from search.api.views import Unknown
from search.clickhouse import schema as tables
from search.clickhouse import writer
from search.errors import CannotFetch
from search.ingestion import tasks
from search.ingestion.setup import fetching
from search.retrieval import query_encoder
from usercollections.account.tokens import make_token
from usercollections.export import tasks as export_tasks

pytestmark = pytest.mark.django_db
MOST = 16  # requests of an operation at the edges of what it takes, by each of NAMES
NAMES = ("visitor", "user", "admin")
Probes = dict[str, list[Case]]


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return contract.described()


@pytest.fixture(scope="module")
def schema(description):
    return contract.loaded(description)


@pytest.fixture
def harmless(monkeypatch, settings):
    """Skip what rolling a transaction back does not undo."""
    for place, name in (
        (tables, "drop"),
        (writer, "drop_side_table"),
        (writer, "hide"),
        (tasks.ingest_shard, "delay"),
        (tasks.publish, "delay"),
        (tasks.hide_removed, "delay"),
        (export_tasks.write_export, "delay"),
    ):
        monkeypatch.setattr(place, name, lambda *_: None)
    monkeypatch.setattr(query_encoder, "fetch", cannot_fetch)
    monkeypatch.setattr(fetching, "fetch_step", lambda _, url: cannot_fetch(url))
    settings.LIMITS = dict.fromkeys(settings.LIMITS, "")
    # Each request of a web process begins with a connection that is not in use.
    for signal in (signals.request_started, signals.request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (signals.request_started, signals.request_finished):
        signal.connect(close_old_connections)


def cannot_fetch(url: str, *_: object) -> None:
    raise CannotFetch("The picture's host does not answer.")


@pytest.fixture
def asking(postcards_dataset, harmless, tmp_path, admin_user, django_user_model):
    """Somebody who asks; "visitor" does so without a token."""
    write_shard(tmp_path, 0)
    throwaway = tiny_dataset(tmp_path)
    users = {"admin": admin_user}

    def asking(name: str) -> contract.Asking:
        user = users.get(name) or django_user_model.objects.create_user(name)
        headers = {"Authorization": f"Token {make_token(user, 'test', None)}"}
        if name == "visitor":
            headers = {}
        return contract.Asking(user, headers, throwaway.slug)

    return asking


@pytest.fixture(scope="module")
def probes(schema) -> Probes:
    """Requests of each operation, by its label."""
    operations = contract.operations(schema)
    return {each.label: contract.cases(each, len(NAMES) * MOST) for each in operations}


@pytest.fixture(scope="module")
def good(probes) -> dict[str, Case]:
    """One of each operation that should be answered."""
    return {
        label: next(case for case in cases if contract.is_good(case))
        for label, cases in probes.items()
    }


def none_failed(somebody: contract.Asking) -> bool:
    assert not somebody.failures, "\n\n".join(somebody.failures[:20])
    return True


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_as_described(asking, probes, name):
    """Each has their share of the requests; every other one is led far."""
    somebody, share = asking(name), NAMES.index(name)
    for cases in probes.values():
        for place, case in enumerate(cases[share :: len(NAMES)]):
            far = place % 2 == 0
            somebody.ask(case, contract.promises(case, far), far)
    assert none_failed(somebody)
    # The rest are refused for what they are made of, but most do their work.
    allowed = {"visitor": 0.2, "user": 0.65, "admin": 0.9}[name]
    assert len(somebody.reached) > allowed * len(probes), somebody.statuses


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES)
def test_answers_are_as_described_to_many_questions(asking, schema, name):
    somebody = asking(name)
    for operation in contract.operations(schema):
        for place, case in enumerate(contract.cases(operation, 1_000)):
            somebody.ask(case, far=place % 2 == 0)
    assert none_failed(somebody)


def test_the_description_is_valid_openapi_3_1(description, capsys):
    assert description["openapi"].startswith("3.1")
    validate_schema(description)
    # Names that two serializers share would leave one of them untold.
    assert "Warning" not in capsys.readouterr().err


def test_the_description_says_something_of_each_operation(description):
    tags = {"datasets", "search", "refine", "popularity", "collections", "searches"}
    tags |= {"concepts", "exports", "staff", "schema"}
    names = []
    for path, operations in description["paths"].items():
        for method, told in operations.items():
            assert told.get("summary"), (method, path)
            assert set(told["tags"]) <= tags, (method, path)
            names.append(told["operationId"])
    assert len(names) == len(set(names))


def test_each_address_of_the_api_is_described_and_no_other(description):
    described = {
        (routes.PARAMETER.sub("{}", path.replace("{", "<").replace("}", ">")), method)
        for path, operations in description["paths"].items()
        for method in operations
    }
    of_api = [each for each in routes.routes() if each.pattern.startswith("api/")]
    views = [each for each in of_api if hasattr(each.view, "cls")]
    there = {
        (pattern_of(route), method.lower())
        for route in views
        if route.view.cls is not Unknown
        for method in route.view.cls().allowed_methods
        if method != "OPTIONS"
    }
    assert described == there
    # What is no view of the API's are pages for its readers.
    pages = [each for each in of_api if each not in views]
    assert all(route.pattern.startswith("api/docs") for route in pages)


def pattern_of(route: routes.Route) -> str:
    path = routes.PARAMETER.sub("{}", route.pattern)
    return "/" + path.replace("^search/?$", "search/")


# --- Who may ask


def test_who_must_sign_in_is_told(asking, good, description):
    visitor = asking("visitor")
    for label, case in good.items():
        method, path = label.lower().split(" ", 1)
        is_open = {} in description["paths"][path][method]["security"]
        assert (visitor.ask(case) == 401) is not is_open, label
    assert none_failed(visitor)


def test_a_closed_site_is_described_as_such(asking, good, settings):
    settings.SEARCH_ANONYMOUS = False
    closed = contract.described()
    for path, operations in closed["paths"].items():
        for method, told in operations.items():
            assert {} not in told["security"], (method, path)
    visitor = asking("visitor")
    assert {visitor.ask(case) for case in good.values()} == {401}
    assert none_failed(visitor)


@pytest.mark.parametrize("token", ["nothing", "", "a b", "\xe9", "x" * 9_000])
def test_a_token_that_is_not_valid_is_refused_everywhere(asking, good, token):
    visitor = asking("visitor")
    visitor.headers = {"Authorization": f"Token {token}".strip()}
    assert {visitor.ask(case) for case in good.values()} == {401}
    assert none_failed(visitor)


def test_by_the_session_a_change_needs_its_csrf_token(client, admin_user):
    client.handler.enforce_csrf_checks = True
    client.force_login(admin_user)
    refused = client.post("/api/searches/", {}, content_type="application/json")
    assert refused.status_code == 403
    assert refused.json()["code"] == "permission_denied"
    assert client.get("/api/searches/").status_code == 200


# --- How much may be asked, and when nothing answers


def test_what_is_asked_too_often_is_refused_with_retry_after(asking, good, settings):
    settings.LIMITS = dict.fromkeys(settings.LIMITS, "1/hour")
    admin = asking("admin")
    for label, case in good.items():
        caches["limits"].clear()
        # Retry-After is promised with it.
        assert [admin.ask(case), admin.ask(case)][1] == 429, label
    assert none_failed(admin)
    caches["limits"].clear()


def test_where_the_engine_is_needed_is_told(asking, good, settings):
    settings.CLICKHOUSE_URL = "clickhouse://127.0.0.1:9/default"
    admin = asking("admin")
    promises = [each for each in contract.PROMISES if each != not_a_server_error]
    unavailable = [label for label in good if admin.ask(good[label], promises) == 503]
    assert none_failed(admin)
    assert {"POST /api/search/", "GET /api/datasets/"} <= set(unavailable)


# --- Requests of a kind that is no operation's


@pytest.fixture
def api(client, postcards_dataset, admin_user):
    client.defaults["HTTP_HOST"] = "localhost"
    client.defaults["HTTP_AUTHORIZATION"] = (
        f"Token {make_token(admin_user, 'test', None)}"
    )
    return client


def addresses(description, admin_user) -> Iterator[tuple[str, set[str]]]:
    """Each address with something at it, and its methods."""
    for path, operations in description["paths"].items():
        real = contract.real_parameters(path, admin_user)
        yield path.format(**real), {method.upper() for method in operations}


def test_another_method_is_refused_with_those_there_are(api, description, admin_user):
    for path, methods in addresses(description, admin_user):
        for method in {"PUT", "POST", "PATCH", "DELETE", "TRACE"} - methods:
            answer = api.generic(method, path)
            assert answer.status_code == 405, (method, path)
            assert answer.json()["code"] == "method_not_allowed"
            allowed = set(answer["Allow"].split(", "))
            assert allowed - {"HEAD", "OPTIONS"} == methods, (method, path)


def test_head_and_options_tell_of_an_address(api, description, admin_user):
    for path, methods in addresses(description, admin_user):
        options = api.options(path)
        assert options.status_code == 200, path
        assert methods <= set(options["Allow"].split(", "))
        if "GET" in methods:
            head, got = api.head(path), api.get(path)
            assert head.status_code == got.status_code, path
            assert head.getvalue() == b""
            assert head["Content-Type"] == got["Content-Type"]


BODIES = [
    ("{", "application/json", 400),
    ("[" * 100_000, "application/json", 400),
    ("null", "application/json", 400),
    ("[]", "application/json", 400),
    ('"\\ud800"', "application/json", 400),
    ('{"\\ud800\\u0000": 1}', "application/json", 400),
    ('{"name": NaN}', "application/json", 400),
    ('{"a": 1e999999}', "application/json", 400),
    ('{"a": ' + "9" * 5_000 + "}", "application/json", 400),
    (b"\xff\xfe", "application/json", 400),
    ("dataset=postcards", "application/x-www-form-urlencoded", 415),
    ("--x", "multipart/form-data; boundary=x", 415),
    ("{}", "text/plain", 415),
    ("{}", "application/" + "x" * 300, 415),
]


@pytest.mark.parametrize("number", range(len(BODIES)))
def test_a_body_that_is_no_json_object_is_refused(api, description, admin_user, number):
    body, kind, status = BODIES[number]
    for path, operations in description["paths"].items():
        for method, told in operations.items():
            if "requestBody" not in told:
                continue
            real = contract.real_parameters(path, admin_user)
            answer = api.generic(method.upper(), path.format(**real), body, kind)
            takes_json = "application/json" in told["requestBody"]["content"]
            expected = status if takes_json else 415
            assert answer.status_code == expected, (method, path, answer.content)
            assert answer["Content-Type"] == "application/json"


def test_a_form_that_cannot_be_read_is_refused_in_a_session(client, admin_user):
    """The CSRF token is looked for in it, by Django itself."""
    client.handler.enforce_csrf_checks = True
    client.force_login(admin_user)
    kind = "multipart/form-data; boundary="
    answer = client.generic("POST", "/api/searches/", b"--x", kind)
    assert answer.status_code in (400, 403)
    assert answer["Content-Type"] == "application/json"


def test_too_many_parameters_are_refused(api, description, admin_user):
    query = "&".join(f"a{n}=1" for n in range(1_001))
    for path, methods in addresses(description, admin_user):
        if "GET" in methods:
            answer = api.get(f"{path}?{query}")
            if not path.endswith("/manifest.json"):  # where none is looked at
                assert answer.status_code == 400, path
                assert answer.json()["code"] == "bad_query"


# --- The description itself


def test_the_description_comes_as_yaml_and_as_json(client, description):
    told = json.loads(json.dumps(description))
    for address, accept, kind in (
        ("/api/schema/", "*/*", "application/vnd.oai.openapi"),
        ("/api/schema/", "application/yaml", "application/yaml"),
        ("/api/schema/", "application/json", "application/json"),
        ("/api/schema/?format=yaml", "text/html", "application/vnd.oai.openapi"),
        ("/api/schema/?format=json", "*/*", "application/vnd.oai.openapi+json"),
    ):
        answer = client.get(address, headers={"accept": accept})
        assert answer.status_code == 200
        assert answer["Content-Type"] == kind
        assert yaml.load(answer.content, yaml.CSafeLoader) == told
    for address, accept in (("?format=xml", "*/*"), ("", "text/html")):
        refused = client.get(f"/api/schema/{address}", headers={"accept": accept})
        assert refused.status_code == 406
        assert refused.json()["code"] == "not_acceptable"


def test_the_description_is_as_open_as_the_site(client, settings):
    settings.SEARCH_ANONYMOUS = False
    assert client.get("/api/schema/").status_code == 401
