"""The description of the API (OpenAPI) as what a page shows, operation by operation."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.conf import settings
from drf_spectacular.generators import SchemaGenerator

Shape = dict[str, Any]
MAX_DEPTH = 4  # of objects within objects
FEW = 12  # of the values that are listed
PLURALS = {"object": "objects", "list": "lists", "true or false": "true or false"}
NAMES = {"boolean": "true or false", "array": "list"}
FORMATS = {"uri", "uuid", "date-time", "binary"}
NULL = {"type": "null"}
HUGE = 2**31  # a limit that nobody meets is not worth telling


@dataclass(frozen=True)
class Type:
    """`fields` and `required` are those of the object, or of each in the list."""

    name: str
    limits: str = ""
    default: str = ""
    text: str = ""
    is_list: bool = False
    fields: Shape = field(default_factory=dict)
    required: frozenset[str] = frozenset()


def resolved(schema: Shape, told: Shape) -> Shape:
    """What a $ref points to, else the shape itself."""
    while "$ref" in told:
        found: Any = schema
        for key in told["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        told = {**found, **{key: told[key] for key in told if key != "$ref"}}
    return told


def alternatives(schema: Shape, shape: Shape) -> list[Shape]:
    """The objects of which it is one, else the shape alone; none of nothing."""
    shape = resolved(schema, shape)
    objects = [each for each in _choices(shape) if resolved(schema, each) != NULL]
    if len(objects) > 1 and not shape.get("properties"):
        return objects
    return [shape] if shape else []


def described(schema: Shape, shape: Shape) -> Type:
    shape = _merged(schema, shape)
    items = _merged(schema, shape.get("items", {}))
    each = items if items.get("properties") else shape
    return Type(
        name=_name(schema, shape),
        limits=_limits(shape),
        default=_default(shape),
        text=shape.get("description", ""),
        is_list=bool(items),
        fields=each.get("properties", {}),
        required=frozenset(each.get("required", ())),
    )


def _merged(schema: Shape, shape: Shape) -> Shape:
    """Without references, with the parts of allOf and what the one object of a choice
    has, so that its fields can be told."""
    shape = resolved(schema, shape)
    for part in shape.get("allOf", ()):
        shape = {**_merged(schema, part), **shape}
    choices = [_merged(schema, each) for each in _choices(shape)]
    objects = [each for each in choices if each.get("properties") or each.get("items")]
    if len(objects) == 1:
        shape = {**{k: v for k, v in objects[0].items() if k != "type"}, **shape}
    return shape


def _choices(shape: Shape) -> list[Shape]:
    """Without those that say but which of an object's fields are needed."""
    choices = shape.get("oneOf") or shape.get("anyOf") or []
    return [each for each in choices if each.keys() - {"properties", "required"}]


def _name(schema: Shape, shape: Shape) -> str:
    if choices := _choices(shape):
        names = [_name(schema, _merged(schema, each)) for each in choices]
        return " or ".join(dict.fromkeys(names))
    if "const" in shape:
        return json.dumps(shape["const"])
    if values := shape.get("enum"):
        return _listed(values)
    kinds = shape.get("type", "object" if "properties" in shape else "any")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(_one_name(schema, shape, kind) for kind in kinds)


def _one_name(schema: Shape, shape: Shape, kind: str) -> str:
    if kind == "array":
        each = _name(schema, _merged(schema, shape.get("items", {})))
        return "list" if each == "any" else f"list of {_plural(each)}"
    if kind == "string" and shape.get("format") in FORMATS:
        name: str = shape["format"]
        return {"uri": "address", "date-time": "time"}.get(name, name)
    return NAMES.get(kind, kind)


def _plural(name: str) -> str:
    if name in ("string", "number", "integer"):
        return f"{name}s"
    return PLURALS.get(name, name)


def _listed(values: list[Any]) -> str:
    shown = [value if isinstance(value, str) else json.dumps(value) for value in values]
    more = ["…"] if len(shown) > FEW else []
    return " | ".join([*(value or '""' for value in shown[:FEW]), *more])


def _limits(shape: Shape) -> str:
    told = []
    least, most = shape.get("minimum"), shape.get("maximum")
    if most is not None and abs(most) < HUGE:
        told.append(f"{_number(least or 0)} to {_number(most)}")
    elif least is not None and abs(least) < HUGE:
        told.append(f"{_number(least)} or more")
    if "maxLength" in shape:
        told.append(f"up to {shape['maxLength']:,} characters")
    if "maxItems" in shape:
        told.append(f"up to {shape['maxItems']:,}")
    return ", ".join(told)


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _default(shape: Shape) -> str:
    default = shape.get("default")
    if default in (None, "", [], {}):
        return ""
    return default if isinstance(default, str) else json.dumps(default)


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
    if depth <= MAX_DEPTH:
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
