"""Rate limits, and who may use the site at all."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import cache, caches
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, RequestFactory
from django.utils import timezone
from rest_framework.settings import api_settings
from support.collection_helpers import collection
from support.html_page import HTMX
from support.routes import routes

from postcards.shards import jpeg
from search import rate_limits
from search.errors import NotFound
from search.query.model import SearchQuery, Term
from search.retrieval import service
from usercollections.account.tokens import make_token
from usercollections.models import SavedSearch

pytestmark = pytest.mark.django_db
SEARCH = "/?dataset=nowhere&q=a+boat"
ASKED = 404  # there is no such dataset, but it was asked
API = "/api/search/?dataset=nowhere&q=a+boat"


class Clock:
    now = 1_800_000_000.0  # the beginning of a minute

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate_limits, "now", clock)
    return clock


@pytest.fixture(autouse=True)
def empty_buckets(settings):
    unlimited = dict.fromkeys(("page", "lookup", "drawing"), "")
    settings.LIMITS = dict.fromkeys(settings.LIMITS, "3/min") | unlimited
    for kept in (cache, caches["limits"], caches["own-limits"]):
        kept.clear()
    yield
    for kept in (cache, caches["limits"]):
        kept.clear()


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password="a long password 1")


def statuses(client: Client, address: str, times: int, **options) -> list[int]:
    return [client.get(address, **options).status_code for _ in range(times)]


# --- The count


def test_one_search_too_many_is_refused_until_time_has_passed(client, clock):
    assert statuses(client, SEARCH, 3) == [ASKED] * 3
    refused = client.get(SEARCH)
    assert refused.status_code == 429
    wait = int(refused["Retry-After"])
    assert f"the limit is 3 searches in a minute. Try again in {wait}" in (
        refused.content.decode()
    )
    clock.now += wait - 1
    assert client.get(SEARCH).status_code == 429
    clock.now += 1
    assert client.get(SEARCH).status_code == ASKED


def test_the_turn_of_a_minute_lets_no_rush_through(client, clock):
    clock.now += 59
    assert statuses(client, SEARCH, 4) == [ASKED] * 3 + [429]
    clock.now += 2
    assert client.get(SEARCH).status_code == 429


def test_being_refused_does_not_prolong_the_wait(client, clock):
    waits = []
    for _ in range(20):
        answer = client.get(SEARCH)
        waits.append(int(answer.get("Retry-After", 0)))
    assert waits[:3] == [0, 0, 0]
    assert len(set(waits[3:])) == 1


def test_many_at_once_get_no_more_than_one_after_the_other(clock):
    caches["limits"].add("limit-try-1", 0)
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: rate_limits._take("try", 50, 60), range(200)))
    assert 45 <= waits.count(0) <= 50


def test_the_start_page_is_no_search(client, clock):
    assert statuses(client, "/", 2) == [200] * 2
    # Its pictures are asked for like single items.
    assert statuses(client, "/?dataset=nowhere", 2) == [ASKED, 429]
    assert client.get(SEARCH).status_code == ASKED


@pytest.mark.usefixtures("postcards_dataset")
def test_what_costs_beside_searches_is_limited_too(client, clock, ada):
    made = collection(ada, 1, 2, visibility="public")
    shared = collection(ada, 1, 2, visibility="unlisted", share_token="a-token")
    like_it = [f"/collections/{made.pk}/like-it", "/collections/shared/a-token/like-it"]
    assert shared.size == 2
    assert statuses(client, like_it[0], 2) + statuses(client, like_it[1], 2) == [
        *[303] * 3,
        429,
    ]
    assert statuses(client, "/refine/history", 4) == [200] * 3 + [429]
    client.force_login(ada)
    copied = [client.post(f"/collections/{made.pk}/copy").status_code for _ in "1234"]
    assert copied == [302] * 3 + [429]


def test_items_are_counted_by_themselves(client, clock):
    assert statuses(client, "/d/nowhere/7", 4) == [ASKED] * 3 + [429]
    assert client.get("/api/datasets/nowhere/items/7/").status_code == 429
    assert client.get(SEARCH).status_code == ASKED


def test_an_empty_setting_switches_a_limit_off(client, clock, settings):
    settings.LIMITS["search"] = ""
    assert statuses(client, SEARCH, 5) == [ASKED] * 5


@pytest.mark.parametrize("error", [ConnectionError, ValueError("out of memory")])
def test_without_the_cache_each_process_counts(client, clock, monkeypatch, error):
    def away(*arguments):
        raise error

    monkeypatch.setattr(caches["limits"], "add", away)
    assert statuses(client, SEARCH, 5) == [ASKED] * 3 + [429] * 2


def test_a_rate_that_cannot_be_read_stops_the_start(monkeypatch):
    import importlib

    from laionweb import settings as module

    monkeypatch.setenv("LIMIT_SEARCH", "often")
    with pytest.raises(ImproperlyConfigured, match="LIMIT_SEARCH is a number and"):
        importlib.reload(module)
    monkeypatch.undo()
    importlib.reload(module)


# --- Whose


def test_pages_and_the_api_count_in_one_bucket(client, clock):
    assert client.get(API).status_code == ASKED
    assert statuses(client, SEARCH, 3) == [ASKED, ASKED, 429]
    refused = client.get(API)
    assert refused.status_code == 429
    assert refused["Retry-After"]
    assert refused.json()["code"] == "throttled"
    assert "the limit is 3 searches" in refused.json()["detail"]


def test_accounts_count_apart_and_tokens_with_their_account(client, clock, ada):
    token = make_token(ada, "notebook", None)
    assert statuses(client, SEARCH, 4)[-1] == 429
    client.force_login(ada)
    assert statuses(client, SEARCH, 2) == [ASKED, ASKED]
    assert statuses(Client(), API, 2, headers={"Authorization": f"Token {token}"}) == [
        404,
        429,
    ]


def test_a_forged_header_is_no_new_visitor(client, clock):
    seen = [
        client.get(SEARCH, headers={"X-Forwarded-For": f"198.51.100.{n}"}).status_code
        for n in range(4)
    ]
    assert seen == [ASKED] * 3 + [429]
    api = client.get(API, headers={"X-Forwarded-For": "198.51.100.9"})
    assert api.status_code == 429


def test_behind_a_proxy_its_own_entry_counts(client, clock, monkeypatch):
    """The last one is the proxy's, whatever its client claims before it."""
    monkeypatch.setattr(api_settings, "NUM_PROXIES", 1)

    def seen(claimed: str, really: str) -> int:
        header = {"X-Forwarded-For": f"{claimed}, {really}"}
        return client.get(SEARCH, headers=header).status_code

    assert [seen(f"192.0.2.{n}", "198.51.100.1") for n in range(4)][-1] == 429
    assert seen("192.0.2.1", "198.51.100.2") == ASKED


def test_the_number_of_proxies_reaches_all_who_count(settings):
    assert api_settings.NUM_PROXIES == settings.TRUSTED_PROXIES == 0
    assert settings.ALLAUTH_TRUSTED_PROXY_COUNT == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_a_subscriber_is_one_visitor(one, other, same):
    requests = RequestFactory()
    seen = {
        rate_limits.client_address(requests.get("/", REMOTE_ADDR=ip))
        for ip in (one, other)
    }
    assert (len(seen) == 1) == same


# --- In which form it is told


def test_htmx_keeps_what_is_shown_and_says_why(client, clock):
    statuses(client, SEARCH, 3, headers=HTMX)
    refused = client.get(SEARCH, headers=HTMX)
    assert refused.status_code == 429
    assert refused["HX-Reswap"] == "none"
    assert refused["HX-Push-Url"] == "false"
    assert (
        '"laionweb:toast": {"text": "Too many requests: the limit is 3'
        in refused["HX-Trigger"]
    )
    assert b"<html" not in refused.content


def test_scripts_are_told_in_json(client, clock):
    ours = {"X-Requested-With": "XMLHttpRequest"}
    statuses(client, SEARCH, 3)
    refused = client.get(SEARCH, headers=ours)
    assert (refused.status_code, refused.json()["code"]) == (429, "throttled")


ENTRANCES = {
    "search": service.search,
    "embed": service.embed,
    "rank": partial(service.rank, count=1),
    "explain": partial(service.explain, item_id=1),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_each_image_of_a_query_counts_at_every_entrance(clock, ada, entrance):
    request = RequestFactory().get("/")
    request.user = ada

    def enter(*terms: Term, **options) -> None:
        query = SearchQuery("nowhere", terms, **options)
        limiter = rate_limits.limiter(request)
        ENTRANCES[entrance](query, ada, limiter)

    url, image = Term(image_url="http://a.example/1.jpg"), Term(image=b"jpeg")
    with pytest.raises(NotFound):  # of the dataset, with nothing counted
        enter(Term(text="a boat"))
    with pytest.raises(NotFound):
        enter(url, image, image)
    with pytest.raises(rate_limits.TooManyRequests, match="3 searches by image"):
        enter(image)
    if entrance == "search":  # further pages need no image
        with pytest.raises(NotFound):
            enter(image, cursor="none")


@pytest.mark.usefixtures("postcards_dataset")
def test_each_uploaded_image_counts(client, clock):
    def upload(count: int) -> int:
        files = [SimpleUploadedFile(f"{n}.jpg", jpeg(n)) for n in range(count)]
        return client.post("/search/picture", {"picture": files}).status_code

    assert [upload(2), upload(1), upload(1)] == [303, 303, 429]


IMAGE_SEARCH = urlencode({"q": "http://127.0.0.1:9/1.jpg", "dataset": "postcards"})


@pytest.mark.usefixtures("postcards_dataset")
def test_images_of_a_refined_search_count(client, clock, settings):
    """The fetcher refuses the address (422) until it is not asked any more (429)."""
    settings.LIMITS |= {"refine": ""}
    asked = {"search": IMAGE_SEARCH, "good": "1"}
    headers = {"X-Requested-With": "XMLHttpRequest"}
    answers = [client.post("/refine/", asked, headers=headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [422] * 3 + [429]
    assert "3 searches by image" in answers[3].json()["detail"]


@pytest.mark.usefixtures("postcards_dataset")
def test_images_of_a_saved_search_count_when_it_is_previewed(
    client, clock, ada, settings
):
    settings.LIMITS |= {"search": ""}
    saved = SavedSearch.objects.create(
        owner=ada,
        name="an image",
        dataset="postcards",
        address=IMAGE_SEARCH,
        looked_at=timezone.now(),
    )
    client.force_login(ada)
    answers = []
    for _ in range(4):
        answers.append(client.get(f"/searches/{saved.pk}/glance").content.decode())
    assert all("Too many" not in answer for answer in answers[:3])
    assert "Too many searches at once" in answers[3]


# --- Signing in


@pytest.fixture
def login_limits(settings):
    settings.ACCOUNT_RATE_LIMITS = {"login_failed": "10/m/ip,5/5m/key"}


forged = count()  # a header to be disregarded


def sign_in(client: Client, ip: str, password: str = "wrong", name: str = "ada"):
    return client.post(
        "/accounts/login/",
        {"login": name, "password": password},
        REMOTE_ADDR=ip,
        headers={"X-Forwarded-For": f"203.0.113.{next(forged)}"},
    )


def test_nobody_locks_the_account_of_somebody_else(ada, login_limits):
    """Neither from another network, nor in a browser that ada has used before."""
    known = Client()
    assert sign_in(known, "127.0.6.1", "a long password 1").status_code == 302
    known.cookies.pop("sessionid")
    for network in ("127.0.5.1", "127.0.6.1"):
        for _ in range(8):
            sign_in(Client(), network)
    elsewhere = sign_in(Client(), "127.0.7.1", "a long password 1")
    assert elsewhere.status_code == 302
    stranger = sign_in(Client(), "127.0.6.2", "a long password 1")
    assert "Too many failed" in stranger.content.decode()
    assert sign_in(known, "127.0.6.3", "a long password 1").status_code == 302


def test_a_known_browser_is_known_to_its_account_alone(ada, login_limits):
    User.objects.create_user("eve", password="a long password 2")
    eves = Client()
    assert sign_in(eves, "127.0.6.1", "a long password 2", "eve").status_code == 302
    eves.cookies.pop("sessionid")
    for number in range(8):
        sign_in(eves, f"127.0.6.{number}")
    answer = sign_in(eves, "127.0.6.99", "a long password 1")
    assert "Too many failed" in answer.content.decode()


def test_one_account_is_guessed_at_from_many_addresses_in_vain(ada, login_limits):
    client = Client()
    for number in range(20):
        sign_in(client, f"198.51.100.{number}")
    answer = sign_in(client, "198.51.100.99", "a long password 1")
    assert answer.status_code == 200
    assert "Too many failed login attempts" in answer.content.decode()
    cache.clear()  # as time does
    answer = sign_in(client, "198.51.100.99", "a long password 1")
    assert answer.status_code == 302


def test_many_accounts_are_guessed_at_from_one_address_in_vain(ada, login_limits):
    for number in range(20):
        sign_in(Client(), "198.51.100.1", name=f"somebody{number}")
    answer = sign_in(Client(), "198.51.100.1", "a long password 1")
    assert answer.status_code in (200, 429)
    assert "_auth_user_id" not in answer.client.session
    elsewhere = sign_in(Client(), "198.51.100.2", "a long password 1")
    assert elsewhere.status_code == 302


def test_the_admins_own_door_leads_to_the_same_one(client, ada):
    for answer in (
        client.get("/admin/login/"),
        client.post("/admin/login/", {"username": "ada", "password": "x"}),
    ):
        assert answer.status_code == 302
        assert answer.url.startswith("/accounts/login/?next=")
    client.force_login(ada)
    assert client.get("/admin/login/").status_code == 403  # she is no admin


# --- Every page


def test_every_view_is_limited(client, ada, settings):
    """Except for the probes of operators; what leads to signing in costs nothing."""
    settings.LIMITS = dict.fromkeys(settings.LIMITS, "1/h")
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    for scope in settings.LIMITS:
        rate_limits.check(request, scope)
    for route in routes():
        answer = client.get(route.address(ada))
        where = f"{route.pattern}: {answer.status_code}"
        if route.name in ("healthz", "readyz", "metrics"):
            assert answer.status_code != 429, where
        elif answer.status_code in (301, 302):
            assert "login" in answer.url or "/api/docs/" in answer.url, where
        else:
            assert answer.status_code in (401, 403, 405, 429), where
            if answer.status_code == 429:
                assert int(answer["Retry-After"]) > 0, where


# --- A closed site

# What signing in takes; the example's pictures, which the site itself fetches.
OPEN = {
    "accounts/login/",
    "accounts/logout/",
    "accounts/inactive/",
    "accounts/signup/",
    "accounts/reauthenticate/",
    "accounts/confirm-email/",
    "accounts/password/reset/",
    "accounts/password/reset/done/",
    "accounts/password/reset/key/done/",
    "accounts/login/code/confirm/",
    r"accounts/^confirm-email/(?P<key>[-:\w]+)/$",
    r"accounts/^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
    "postcards/<int:postcard_id>.jpg",
    "favicon.ico",
    "healthz",
    "readyz",
}
# Open to METRICS_ALLOWED alone; style sheets and scripts of another version.
NOT_FOUND = {"metrics", "bundle/<slug:version>.<slug:kind>"}


@pytest.fixture
def closed(settings):
    settings.SEARCH_ANONYMOUS = False
    settings.LIMITS = dict.fromkeys(rate_limits.SCOPES, "")


def test_a_closed_site_shows_nothing_to_visitors(closed, postcards_dataset, ada):
    wrong = []
    for route in routes():
        answer = Client().get(route.address(ada))
        if route.pattern in OPEN:
            # 503 is readyz's answer until the model is loaded.
            right = answer.status_code in (200, 302, 503)
        elif route.pattern in NOT_FOUND:
            right = answer.status_code == 404
        elif route.is_api:
            right = answer.status_code == (404 if route.pattern == "api/" else 401)
        else:
            place = answer.get("Location", "")
            right = place.startswith("/accounts/login/?next=")
        if not right:
            wrong.append((route.pattern, answer.status_code, answer.get("Location")))
    assert wrong == []


def test_a_closed_site_opens_by_signing_in(client, closed, ada):
    client.force_login(ada)
    assert client.get(SEARCH).status_code == ASKED
    token = make_token(ada, "notebook", None)
    header = {"Authorization": f"Token {token}"}
    assert Client().get("/api/datasets/").status_code == 401
    assert Client().get("/api/datasets/", headers=header).status_code == 200


def test_a_closed_site_tells_scripts_in_their_own_way(client, closed):
    answer = client.get(SEARCH, headers=HTMX)
    assert answer["HX-Redirect"].startswith("/accounts/login/?next=")
    asked = client.get(SEARCH, headers={"X-Requested-With": "XMLHttpRequest"})
    assert (asked.status_code, asked.json()["code"]) == (401, "not_authenticated")
