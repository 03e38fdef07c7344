"""What a JSON schema says of a value, in a few words."""

import json
from dataclasses import dataclass, field
from typing import Any

Shape = dict[str, Any]
MOST_DEPTH = 4  # of objects within objects
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
