"""Signing up and in, the account page, and tokens, as the server answers."""

import logging
import re
from datetime import timedelta

import pytest
from conftest import ROOT
from django.contrib.auth.models import User
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from support import python_process
from support.routes import routes

from usercollections.account import tokens
from usercollections.account.forms import MAX_TOKENS
from usercollections.account.tokens import make_token
from usercollections.models import Token

pytestmark = pytest.mark.django_db
PASSWORD = "a long password 1"
GIVEN = {"username": "ada", "email": "ada@example.org", "password1": PASSWORD}


@pytest.fixture(autouse=True)
def unlimited(settings):
    settings.ACCOUNT_RATE_LIMITS = False
    cache.clear()


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", "ada@example.org", PASSWORD)


@pytest.fixture
def hers(client, ada) -> Client:
    client.force_login(ada)
    return client


def is_signed_in(client: Client) -> bool:
    return client.get("/account/").status_code == 200


def text(answer) -> str:
    """Return the text of the page."""
    main = answer.content.decode().partition("<main")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", main).split())


# --- Signing up


def test_signing_up_signs_in(client):
    assert client.post("/accounts/signup/", GIVEN).url == "/"
    assert is_signed_in(client)
    assert "/accounts/confirm-email/" in mail.outbox[0].body
    assert not User.objects.get().is_staff


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"username": ""}, "This field is required."),
        ({"username": "bo"}, "A user with that username already exists."),
        ({"email": "ada"}, "Enter a valid email address."),
        ({"password1": "short"}, "at least 8 characters"),
        ({"password1": "password1234"}, "too common"),
        ({"password1": "ada@example.org"}, "too similar"),
    ],
)
def test_what_is_wrong_is_told_and_the_rest_stays(client, wrong, told):
    User.objects.create_user("bo")
    answer = client.post("/accounts/signup/", GIVEN | wrong)
    assert told in text(answer)
    if "email" not in wrong:
        assert 'value="ada@example.org"' in answer.content.decode()
    assert User.objects.count() == 1


def test_where_it_is_mandatory_the_address_comes_first(client, settings):
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    answer = client.post("/accounts/signup/", GIVEN, follow=True)
    assert "Check your email" in text(answer)
    assert not is_signed_in(client)
    confirm(client)
    client.post("/accounts/login/", {"login": "ada", "password": PASSWORD})
    assert is_signed_in(client)


def confirm(client: Client) -> None:
    (link,) = re.findall(r"http://testserver(/accounts/\S+)", mail.outbox[-1].body)
    assert "Confirm your email" in text(client.get(link))
    client.post(link)


def test_a_taken_address_is_not_given_away_where_mail_proves_it(client, ada, settings):
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    free = client.post(
        "/accounts/signup/", GIVEN | {"username": "eve", "email": "e@x.org"}
    )
    taken = Client().post("/accounts/signup/", GIVEN | {"username": "mallory"})
    assert (free.status_code, free.url) == (taken.status_code, taken.url)


def test_signing_up_can_be_closed(client, settings):
    settings.ACCOUNTS_OPEN = False
    for answer in (
        client.get("/accounts/signup/"),
        client.post("/accounts/signup/", GIVEN),
    ):
        assert "On this site an admin creates the accounts." in text(answer)
    assert not User.objects.exists()


# --- Signing in and out


@pytest.mark.parametrize("name", ["ada", "ada@example.org", "ADA@example.org"])
def test_one_signs_in_by_name_or_address(client, ada, name):
    client.post("/accounts/login/", {"login": name, "password": PASSWORD})
    assert is_signed_in(client)


def test_unknown_and_known_get_the_same_answer(client, ada):
    told = {
        text(client.post("/accounts/login/", {"login": name, "password": "wrong"}))
        .replace("ada", "…")
        .replace("nobody", "…")
        for name in ("ada", "nobody", "ada@example.org", "nobody@example.org")
    }
    assert len(told) == 1
    assert "Wrong username or password." in told.pop()


def test_signing_out_takes_a_post(hers):
    assert "Sign out?" in text(hers.get("/accounts/logout/"))
    assert is_signed_in(hers)
    answer = hers.post("/accounts/logout/", follow=True)
    assert "You are signed out." in text(answer)
    assert not is_signed_in(hers)


@pytest.mark.parametrize(
    "place",
    ["//evil.example", "https:evil.example", "/\\evil.example", "https://evil.example/"]
    + ["///evil.example", "http:///evil.example", "javascript:alert(1)"],
)
def test_signing_in_leads_nowhere_else(client, ada, place):
    given = {"login": "ada", "password": PASSWORD, "next": place}
    assert client.post("/accounts/login/", given).url == "/"
    assert client.post("/accounts/logout/", {"next": place}).url == "/"


def test_signing_in_leads_back_to_where_one_was(client, ada):
    wanted = client.get("/account/?a=b")
    assert wanted.url == "/accounts/login/?next=/account/%3Fa%3Db"
    assert 'value="/account/?a=b"' in client.get(wanted.url).content.decode()
    given = {"login": "ada", "password": PASSWORD, "next": "/account/?a=b"}
    assert client.post("/accounts/login/", given).url == "/account/?a=b"


# --- Passwords and addresses


def test_a_forgotten_password_is_replaced_by_mail(client, ada):
    client.post("/accounts/password/reset/", {"email": "ada@example.org"})
    (link,) = re.findall(r"http://testserver(/accounts/\S+)", mail.outbox[0].body)
    page = client.get(link, follow=True)
    assert "Choose a new password" in text(page)
    new = {"password1": "quite another 2", "password2": "quite another 2"}
    done = client.post(page.redirect_chain[-1][0], new, follow=True)
    assert "Password changed" in text(done)
    client.post("/accounts/login/", {"login": "ada", "password": "quite another 2"})
    assert is_signed_in(client)
    assert "This link has expired" in text(Client().get(link, follow=True))


def test_asking_for_it_says_nothing_of_who_is_here(client, ada):
    told = {
        text(client.post("/accounts/password/reset/", {"email": email}, follow=True))
        for email in ("ada@example.org", "nobody@example.org")
    }
    assert len(told) == 1


def test_the_password_is_changed_with_the_one_until_now(hers, ada):
    new = {"password1": "quite another 2", "password2": "quite another 2"}
    wrong = hers.post("/accounts/password/change/", new | {"oldpassword": "wrong"})
    assert wrong.status_code == 200
    hers.post("/accounts/password/change/", new | {"oldpassword": PASSWORD})
    ada.refresh_from_db()
    assert ada.check_password("quite another 2")
    assert is_signed_in(hers)


def test_a_new_address_counts_once_it_is_confirmed(hers, ada):
    ada.emailaddress_set.create(email=ada.email, primary=True, verified=True)
    hers.post("/accounts/reauthenticate/", {"password": PASSWORD})
    given = {"email": "ada@new.example", "action_add": ""}
    answer = hers.post("/accounts/email/", given, follow=True)
    assert "ada@new.example is not confirmed yet" in text(answer)
    ada.refresh_from_db()
    assert ada.email == "ada@example.org"
    confirm(hers)
    ada.refresh_from_db()
    assert ada.email == "ada@new.example"


def test_an_open_page_is_not_enough_to_change_the_address(hers, ada):
    """The password is asked for once more."""
    given = {"email": "mallory@new.example", "action_add": ""}
    answer = hers.post("/accounts/email/", given)
    assert answer.url.startswith("/accounts/reauthenticate/")
    assert "Confirm your password" in text(hers.get(answer.url))
    assert not ada.emailaddress_set.filter(email="mallory@new.example").exists()


# --- The pages themselves


def test_all_pages_of_accounts_are_in_our_design(hers):
    for route in routes():
        if not route.pattern.startswith(("accounts/", "account/")):
            continue
        for visitor in (hers, Client()):
            answer = visitor.get(route.address(User.objects.get()))
            if answer.status_code != 200 or answer.streaming:
                continue
            page = answer.content.decode()
            assert 'class="wordmark"' in page, route
            assert "css/account.css" in page, route
            assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page), route


def test_the_account_page_wants_an_account(client):
    for path in ("/account/", "/account/export", "/account/delete"):
        assert client.get(path).url == f"/accounts/login/?next={path}"


def test_a_name_is_shown_as_it_is(client):
    user = User.objects.create_user("<script>alert(1)</script>")
    client.force_login(user)
    assert b"<script>alert" not in client.get("/account/").content


# --- Tokens


def made(client: Client, **given: str) -> str:
    """A new token, as the page shows it this once."""
    page = client.post("/account/tokens", {"name": "notebook", "days": ""} | given)
    assert "no-store" in page["Cache-Control"]
    return re.search(r'id="secret"[^>]* value="([^"]+)"', page.content.decode())[1]


def asked(token: str, scheme: str = "Token") -> int:
    header = {"Authorization": f"{scheme} {token}"}
    return Client().get("/api/datasets/", headers=header).status_code


def test_a_token_is_shown_once_works_and_is_revoked(hers, ada):
    secret = made(hers)
    assert secret not in hers.get("/account/").content.decode()
    assert secret not in repr(list(Token.objects.values()))
    assert asked(secret) == 200
    assert "notebook created" in text(hers.get("/account/"))
    assert "last used 0" in text(hers.get("/account/"))
    revoked = hers.post(f"/account/tokens/{Token.objects.get().pk}/revoke", follow=True)
    assert "no longer works" in text(revoked)
    assert asked(secret) == 401


def test_a_token_stands_for_its_owner(hers, ada):
    secret = made(hers)
    request = {"dataset": "none", "terms": [{"text": "a"}]}
    answer = Client().post(
        "/api/search/",
        request,
        "application/json",
        headers={"Authorization": f"Token {secret}"},
    )
    assert answer.wsgi_request.user == ada
    assert answer.status_code == 404  # for want of the dataset
    ada.is_active = False
    ada.save()
    assert asked(secret) == 401


def test_a_token_opens_no_pages(hers, ada):
    User.objects.filter(pk=ada.pk).update(is_staff=True, is_superuser=True)
    header = {"Authorization": f"Token {made(hers)}"}
    for path in ("/account/", "/admin/", "/account/export", "/ingestion/postcards/"):
        answer = Client().get(path, headers=header)
        assert answer.status_code == 302, path
        assert "login" in answer.url


def test_a_token_ends_when_it_should(hers, monkeypatch):
    secret = made(hers, days="30")
    assert asked(secret) == 200
    later = timezone.now() + timedelta(days=30, seconds=1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert asked(secret) == 401


def test_noting_the_use_of_a_token_costs_little(
    hers, ada, django_assert_num_queries, monkeypatch
):
    secret = made(hers)
    asked(secret)
    header = {"Authorization": f"Token {secret}"}
    with django_assert_num_queries(2):  # the token, and the dataset
        Client().get("/api/datasets/nowhere/items/7/", headers=header)
    monkeypatch.setattr(tokens, "RECORD_USE_EVERY", timedelta(0))
    before = Token.objects.get().last_used_at
    asked(secret)
    assert Token.objects.get().last_used_at > before


@pytest.mark.parametrize(
    "token", ["", "x", "laion_", "a b", "é", "\x00", "x" * 10_000, "'; --"]
)
def test_what_is_no_token_is_refused(token):
    answer = Client().get("/api/datasets/", HTTP_AUTHORIZATION=f"Token {token}".strip())
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Token"
    assert answer.json().keys() == {"detail", "code"}


def test_other_schemes_are_nobodys(hers):
    secret = made(hers)
    assert asked(secret, "Bearer") == 200  # as a visitor, who may search
    assert Token.objects.get().last_used_at is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": " "}, "Give the token a name"),
        ({"name": "x" * 81}, "Use up to 80 characters"),
        ({"days": "31"}, "Choose when"),
    ],
)
def test_a_token_that_cannot_be_made_says_why(hers, given, told):
    answer = hers.post("/account/tokens", {"name": "notebook", "days": ""} | given)
    assert answer.status_code == 400
    assert told in text(answer)
    assert not Token.objects.exists()


def test_there_are_only_so_many_tokens(hers, ada):
    for number in range(MAX_TOKENS):
        make_token(ada, f"number {number}", None)
    answer = hers.post("/account/tokens", {"name": "one more", "days": ""})
    assert "Revoke one" in text(answer)
    assert Token.objects.count() == MAX_TOKENS


# --- What the log says


def test_the_log_knows_what_happened_and_nothing_more(client, caplog):
    caplog.set_level(logging.INFO)
    client.post("/accounts/signup/", GIVEN)
    number = User.objects.get().pk
    secret = made(client)
    client.post(f"/account/tokens/{Token.objects.get().pk}/revoke")
    client.post("/accounts/logout/")
    client.post("/accounts/login/", {"login": "ada", "password": "wrong"})
    client.post("/accounts/login/", {"login": "ada", "password": PASSWORD})
    client.post("/account/delete", {"password": PASSWORD})
    ours = [r for r in caplog.records if r.name.startswith("usercollections")]
    said = [record.getMessage() for record in ours]
    for event in ("signed up", "signed in", "made a token", "revoked a token"):
        assert f"User {number} {event}." in said
    assert f"User {number} signed out." in said
    assert f"User {number} deleted their account." in said
    assert "Somebody failed to sign in." in said
    for secret_thing in ("ada", PASSWORD, secret, "example.org", "notebook"):
        assert secret_thing not in " ".join(said)


# --- In public


PRODUCTION = {
    "SECRET_KEY": "kH8s0v" * 10 + "!%&/()",
    "HTTPS": "true",
    "HSTS_SUBDOMAINS": "true",
    "TRUSTED_PROXIES": "1",
    "ALLOWED_HOSTS": "pictures.example",
}


def manage(tmp_path, *arguments: str, **environment: str) -> str:
    done = python_process.run(
        ["manage.py", *arguments],
        cwd=ROOT,
        env={**PRODUCTION, "PATH": "", "VAR_DIR": str(tmp_path), **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_djangos_check_for_production_is_content(tmp_path):
    told = manage(tmp_path, "check", "--deploy", "--fail-level", "WARNING")
    assert "System check identified no issues (0 silenced)." in told


def test_https_is_kept_to(tmp_path):
    script = (
        "from django.test import Client\n"
        "c = Client(SERVER_NAME='pictures.example')\n"
        "plain = c.get('/accounts/login/')\n"
        "print(plain.status_code, plain['Location'])\n"
        "forwarded = {'X-Forwarded-Proto': 'https'}\n"
        "answer = c.get('/accounts/login/', headers=forwarded)\n"
        "print(answer.status_code, answer['Strict-Transport-Security'])\n"
        "cookie = answer.cookies['csrftoken']\n"
        "print(bool(cookie['secure']), bool(cookie['httponly']), cookie['samesite'])\n"
    )
    told = manage(tmp_path, "shell", "-v", "0", "-c", script)
    assert told.splitlines()[-3:] == [
        "301 https://pictures.example/accounts/login/",
        "200 max-age=31536000; includeSubDomains; preload",
        "True True Lax",
    ]
