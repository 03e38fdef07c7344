"""The description of the API (OpenAPI) as what a page shows, operation by operation."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.conf import settings
from drf_spectacular.generators import SchemaGenerator

from .types import MOST_DEPTH, Type, alternatives, described, resolved

Shape = dict[str, Any]
METHODS = ("get", "post", "put", "patch", "delete")
# The order of the page; what has another tag comes after them.
TAGS = (
    "search",
    "datasets",
    "refine",
    "popularity",
    "collections",
    "searches",
    "concepts",
    "exports",
    "staff",
)
REFUSED = 400  # and above: statuses that all operations explain alike


@dataclass(frozen=True)
class Row:
    """A parameter, or a field of a body; `name` is terms[].text for one deeper in."""

    name: str
    type: str
    limits: str
    default: str
    text: str
    required: bool
    depth: int = 0


@dataclass(frozen=True)
class Answer:
    status: str
    text: str
    kind: str  # what it is besides JSON, such as text/csv; else what the JSON is
    rows: list[Row]


@dataclass(frozen=True)
class Operation:
    name: str
    method: str
    path: str
    summary: str
    description: list[str]  # paragraphs
    parameters: list[Row]
    bodies: list[list[Row]]  # of which it takes one
    answers: list[Answer]
    refusals: list[Answer]
    anonymous: bool


@dataclass
class Tag:
    name: str
    operations: list[Operation] = field(default_factory=list)


def operations_by_tag() -> list[Tag]:
    """In the order of TAGS, then as they come."""
    return _tags(settings.SEARCH_ANONYMOUS)


@cache  # it changes with the code, and with what may be done without signing in
def _tags(anonymous: bool) -> list[Tag]:
    schema = SchemaGenerator().get_schema(request=None, public=True)
    tags = {name: Tag(name) for name in TAGS}
    for path, operations in schema["paths"].items():
        for method in METHODS:
            if told := operations.get(method):
                name = next(iter(told.get("tags", ())), "other")
                found = _operation(schema, path, method, told)
                tags.setdefault(name, Tag(name)).operations.append(found)
    return [tag for tag in tags.values() if tag.operations]


def _operation(schema: Shape, path: str, method: str, told: Shape) -> Operation:
    answers = [
        _answer(schema, status, resolved(schema, answer))
        for status, answer in told["responses"].items()
    ]
    body = resolved(schema, told.get("requestBody", {}))
    return Operation(
        name=told["operationId"],
        method=method.upper(),
        path=path,
        summary=told.get("summary") or told["operationId"].replace("_", " "),
        description=[
            " ".join(each.split())
            for each in told.get("description", "").split("\n\n")
            if each.strip()
        ],
        parameters=[_parameter(schema, each) for each in told.get("parameters", ())],
        bodies=[
            list(_rows(schema, shape))
            for shape in alternatives(schema, _content(body)[1])
        ],
        answers=[each for each in answers if int(each.status) < REFUSED],
        refusals=[each for each in answers if int(each.status) >= REFUSED],
        anonymous={} in told.get("security", [{}]),
    )


def _parameter(schema: Shape, told: Shape) -> Row:
    told = resolved(schema, told)
    found = described(schema, told.get("schema", {}))
    text = told.get("description") or found.text
    return _row(told["name"], found, bool(told.get("required")), 0, text)


def _answer(schema: Shape, status: str, told: Shape) -> Answer:
    kind, shape = _content(told)
    if kind == "application/json" and shape:
        kind = described(schema, shape).name
    return Answer(status, told.get("description", ""), kind, list(_rows(schema, shape)))


def _content(told: Shape) -> tuple[str, Shape]:
    """The media type, JSON where there are many, and the shape of what it carries."""
    content = told.get("content", {})
    kind = "application/json"
    if content and kind not in content:
        kind = next(iter(content))
    return (kind if content else "", content.get(kind, {}).get("schema", {}))


def _rows(
    schema: Shape, shape: Shape, before: str = "", depth: int = 0
) -> Iterator[Row]:
    """The fields of an object, of the objects of a list, and those within them."""
    if depth <= MOST_DEPTH:
        yield from _rows_of(schema, described(schema, shape), before, depth)


def _rows_of(schema: Shape, kind: Type, before: str, depth: int) -> Iterator[Row]:
    prefix = f"{before}[]" if kind.is_list else before
    for name, shape in kind.fields.items():
        found = described(schema, shape)
        full = f"{prefix}.{name}" if prefix else name
        yield _row(full, found, name in kind.required, depth, found.text)
        yield from _rows(schema, shape, full, depth + 1)


def _row(name: str, found: Type, required: bool, depth: int, text: str) -> Row:
    return Row(name, found.name, found.limits, found.default, text, required, depth)
