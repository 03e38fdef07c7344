"""Prepare the OpenAPI document for the reference page, operation by operation."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.conf import settings
from drf_spectacular.generators import SchemaGenerator

Shape = dict[str, Any]
MAX_DEPTH = 4  # of objects within objects
MAX_VALUES = 12  # listed of an enum
PLURALS = {"object": "objects", "list": "lists", "true or false": "true or false"}
NAMES = {"boolean": "true or false", "array": "list"}
FORMATS = {"uri", "uuid", "date-time", "binary"}
NULL = {"type": "null"}
HUGE = 2**31  # larger limits are not shown


@dataclass(frozen=True)
class Type:
    """A type as shown; the fields are those of the object, or of each list element."""

    name: str
    limits: str = ""
    default: str = ""
    text: str = ""
    is_list: bool = False
    fields: Shape = field(default_factory=dict)
    required: frozenset[str] = frozenset()


def resolve(schema: Shape, shape: Shape) -> Shape:
    """Return the target of a $ref, else the shape itself."""
    while "$ref" in shape:
        target: Any = schema
        for key in shape["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        shape = {**target, **{key: shape[key] for key in shape if key != "$ref"}}
    return shape


def alternatives(schema: Shape, shape: Shape) -> list[Shape]:
    """Return the objects that a shape is one of, else the shape alone, if any."""
    shape = resolve(schema, shape)
    objects = [each for each in _choices(shape) if resolve(schema, each) != NULL]
    if len(objects) > 1 and not shape.get("properties"):
        return objects
    return [shape] if shape else []


def describe(schema: Shape, shape: Shape) -> Type:
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
    """Return a shape without references, merged with its allOf.

    If exactly one option of a choice is an object, its fields are merged, too.
    """
    shape = resolve(schema, shape)
    for part in shape.get("allOf", ()):
        shape = {**_merged(schema, part), **shape}
    choices = [_merged(schema, each) for each in _choices(shape)]
    objects = [each for each in choices if each.get("properties") or each.get("items")]
    if len(objects) == 1:
        shape = {**{k: v for k, v in objects[0].items() if k != "type"}, **shape}
    return shape


def _choices(shape: Shape) -> list[Shape]:
    """Return the alternatives, but not those that only require fields."""
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
    more = ["…"] if len(shown) > MAX_VALUES else []
    return " | ".join([*(value or '""' for value in shown[:MAX_VALUES]), *more])


def _limits(shape: Shape) -> str:
    limits = []
    minimum, maximum = shape.get("minimum"), shape.get("maximum")
    if maximum is not None and abs(maximum) < HUGE:
        limits.append(f"{_number(minimum or 0)} to {_number(maximum)}")
    elif minimum is not None and abs(minimum) < HUGE:
        limits.append(f"{_number(minimum)} or more")
    if "maxLength" in shape:
        limits.append(f"up to {shape['maxLength']:,} characters")
    if "maxItems" in shape:
        limits.append(f"up to {shape['maxItems']:,}")
    return ", ".join(limits)


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _default(shape: Shape) -> str:
    default = shape.get("default")
    if default in (None, "", [], {}):
        return ""
    return default if isinstance(default, str) else json.dumps(default)


METHODS = ("get", "post", "put", "patch", "delete")
# In the order of the page; other tags come after them.
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
FIRST_ERROR = 400  # statuses from here on are errors


@dataclass(frozen=True)
class Row:
    """A parameter, or a field of a body; a nested one is named like terms[].text."""

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
    kind: str  # a media type other than JSON, such as text/csv; else the JSON type
    rows: list[Row]


@dataclass(frozen=True)
class Operation:
    name: str
    method: str
    path: str
    summary: str
    description: list[str]  # paragraphs
    parameters: list[Row]
    bodies: list[list[Row]]  # alternatives
    answers: list[Answer]
    refusals: list[Answer]
    anonymous: bool


@dataclass
class Tag:
    name: str
    operations: list[Operation] = field(default_factory=list)


def operations_by_tag() -> list[Tag]:
    """Return the tags in the order of TAGS, then as the document has them."""
    return _tags(settings.SEARCH_ANONYMOUS)


@cache  # the document depends on the code and on what visitors may do
def _tags(anonymous: bool) -> list[Tag]:
    schema = SchemaGenerator().get_schema(request=None, public=True)
    tags = {name: Tag(name) for name in TAGS}
    for path, operations in schema["paths"].items():
        for method in METHODS:
            if described := operations.get(method):
                name = next(iter(described.get("tags", ())), "other")
                found = _operation(schema, path, method, described)
                tags.setdefault(name, Tag(name)).operations.append(found)
    return [tag for tag in tags.values() if tag.operations]


def _operation(schema: Shape, path: str, method: str, shape: Shape) -> Operation:
    answers = [
        _answer(schema, status, resolve(schema, answer))
        for status, answer in shape["responses"].items()
    ]
    body = resolve(schema, shape.get("requestBody", {}))
    return Operation(
        name=shape["operationId"],
        method=method.upper(),
        path=path,
        summary=shape.get("summary") or shape["operationId"].replace("_", " "),
        description=[
            " ".join(each.split())
            for each in shape.get("description", "").split("\n\n")
            if each.strip()
        ],
        parameters=[_parameter(schema, each) for each in shape.get("parameters", ())],
        bodies=[
            list(_rows(schema, each))
            for each in alternatives(schema, _content(body)[1])
        ],
        answers=[each for each in answers if int(each.status) < FIRST_ERROR],
        refusals=[each for each in answers if int(each.status) >= FIRST_ERROR],
        anonymous={} in shape.get("security", [{}]),
    )


def _parameter(schema: Shape, shape: Shape) -> Row:
    shape = resolve(schema, shape)
    found = describe(schema, shape.get("schema", {}))
    text = shape.get("description") or found.text
    return _row(shape["name"], found, bool(shape.get("required")), 0, text)


def _answer(schema: Shape, status: str, shape: Shape) -> Answer:
    kind, content = _content(shape)
    if kind == "application/json" and content:
        kind = describe(schema, content).name
    rows = list(_rows(schema, content))
    return Answer(status, shape.get("description", ""), kind, rows)


def _content(shape: Shape) -> tuple[str, Shape]:
    """Return the media type, JSON if available, and the shape of the content."""
    content = shape.get("content", {})
    kind = "application/json"
    if content and kind not in content:
        kind = next(iter(content))
    return (kind if content else "", content.get(kind, {}).get("schema", {}))


def _rows(
    schema: Shape, shape: Shape, before: str = "", depth: int = 0
) -> Iterator[Row]:
    """Yield the fields of an object, or of a list's objects, with nested ones."""
    if depth <= MAX_DEPTH:
        yield from _rows_of(schema, describe(schema, shape), before, depth)


def _rows_of(schema: Shape, kind: Type, before: str, depth: int) -> Iterator[Row]:
    prefix = f"{before}[]" if kind.is_list else before
    for name, shape in kind.fields.items():
        found = describe(schema, shape)
        full = f"{prefix}.{name}" if prefix else name
        yield _row(full, found, name in kind.required, depth, found.text)
        yield from _rows(schema, shape, full, depth + 1)


def _row(name: str, found: Type, required: bool, depth: int, text: str) -> Row:
    return Row(name, found.name, found.limits, found.default, text, required, depth)
