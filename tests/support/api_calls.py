"""Calls of the API as programs make them: JSON in, JSON out, with a token."""

from typing import Any

from django.contrib.auth import get_user_model
from django.test import Client

SENTENCE = {"detail", "code"}


class Caller:
    """A user with a token, or a visitor without one."""

    def __init__(self, user: Any = None):
        from usercollections.account.tokens import make_token

        self.user = user
        headers = {}
        if user is not None:
            headers["Authorization"] = f"Token {make_token(user, 'notebook', None)}"
        self.client = Client(headers=headers, HTTP_HOST="localhost")

    def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Return the JSON of a response with this status; check the form of errors."""
        if method == "get":
            answer = self.client.get(f"/api/{path}", body)
        else:
            options = {"content_type": "application/json"} if body is not None else {}
            answer = getattr(self.client, method)(f"/api/{path}", body, **options)
        assert answer.status_code == status, answer.content
        if status == 204:
            assert answer.content == b""
            return None
        told = answer.json()
        if status >= 400 and "detail" in told:
            assert SENTENCE <= set(told) <= SENTENCE | {"position"}
            assert told["detail"].endswith(".")
        return told

    def get(self, path: str, status: int = 200, **parameters: Any) -> Any:
        return self.ask("get", path, parameters, status)

    def post(self, path: str, body: Any, status: int = 201) -> Any:
        return self.ask("post", path, body, status)

    def patch(self, path: str, status: int = 200, **body: Any) -> Any:
        return self.ask("patch", path, body, status)

    def delete(self, path: str, status: int = 204) -> None:
        self.ask("delete", path, None, status)


def caller(name: str) -> Caller:
    return Caller(get_user_model().objects.create_user(name))


def walked(one: Caller, path: str, **parameters: Any) -> list[Any]:
    """All that is on the pages of a list."""
    found, cursor = [], ""
    while cursor is not None:
        page = one.get(path, cursor=cursor, **parameters)
        found += page["results"]
        cursor = page["next"]
    return found


def assert_shaped(serializer: type, told: Any) -> None:
    """An answer has the fields that the schema tells, each of its type."""
    reading = serializer(data=told)
    for field in reading.fields.values():
        field.allow_blank = True  # as to texts, only what is taken can be blank
    assert reading.is_valid(), reading.errors
    assert set(told) == set(reading.fields)


# What no field takes, and no request may fall over.
MALFORMED = {
    "a NUL": "a\0b",
    "half a character": "\ud800",
    "a number too large": 10**400,
    "a large number": 2**63,
    "less than nothing": -(2**70),
    "true": True,
    "null": None,
    "a list": [],
    "a list of lists": [[[[]]]],
    "an object": {"a": {"b": 1}},
    "a long text": "x" * 100_000,
    "a fraction": 1.5,
}
BROKEN = {
    "a brace": "{",
    "a list": "[1]",
    "null": "null",
    "a text": '"x"',
    "NaN": '{"name": NaN}',
    "no JSON": "\xff",
    "too deep": "[" * 100_000,
    "half a key": '{"\\ud800": 1}',
}


def assert_refuses_all(one: Caller, method: str, path: str, good: dict) -> None:
    """Each field of a good body is given all that is malformed; none answers 500."""
    for name in good:
        for what, value in MALFORMED.items():
            answer = getattr(one.client, method)(
                f"/api/{path}", {**good, name: value}, "application/json"
            )
            assert answer.status_code < 500, (name, what, answer.content)
    for what, body in BROKEN.items():
        answer = getattr(one.client, method)(f"/api/{path}", body, "application/json")
        assert answer.status_code == 400, (what, answer.content)
