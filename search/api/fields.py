"""Base serializers and fields: strict for requests, computed for responses."""

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar, Protocol

from rest_framework import serializers

from search.query.filters import LAST_ITEM

MAX_REPORTED = 20  # unknown keys; a body has room for a million


# --- Requests


class StrictSerializer(serializers.Serializer):
    """Base of request serializers: refuse unknown keys and values of another JSON type.

    A number may be sent as text. All query parameters are text, so a serializer of
    parameters sets `in_address = True`. `more_of_schema` and, by field name,
    `more_of_fields` document in OpenAPI what is validated elsewhere.
    """

    in_address: ClassVar[bool] = False
    more_of_schema: ClassVar[dict[str, Any]] = {}
    more_of_fields: ClassVar[dict[str, dict[str, Any]]] = {}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        given = data if hasattr(data, "keys") else {}
        unknown = (name for name in given if name not in self.fields)
        errors: dict[str, Any] = {
            _printable(name): ["This key is not known."]
            for name in islice(unknown, MAX_REPORTED)
        }
        if not self.in_address:
            for name, field in self.fields.items():
                if name in given and (error := _type_error(field, given[name])):
                    errors[name] = error
        if errors:
            raise serializers.ValidationError(errors)
        return super().to_internal_value(data)


def validated(
    serializer: type[serializers.Serializer], given: Any, **options: Any
) -> dict[str, Any]:
    """Return the validated data. Raises ValidationError."""
    reading = serializer(data=given, **options)
    reading.is_valid(raise_exception=True)
    return reading.validated_data


def _type_error(field: serializers.Field, value: Any) -> Any:
    """Return what is wrong with a JSON value that the field itself would coerce."""
    if isinstance(field, serializers.ListField) and isinstance(value, list):
        if field.max_length is not None and len(value) > field.max_length:
            return None  # the field refuses it for its length
        wrong = (n for n, each in enumerate(value) if not _fits(field.child, each))
        return {index: _type_error(field.child, value[index]) for index in wrong}
    try:
        if not _fits(field, value):
            field.fail("invalid", value=str(value)[:100])
        if isinstance(field, serializers.CharField) and value is not None:
            max_length = field.max_length
            # Before surrounding blanks are stripped.
            if max_length is not None and len(value) > max_length:
                field.fail("max_length", max_length=max_length)
    except serializers.ValidationError as error:
        return error.detail
    return None


def _fits(field: serializers.Field, value: Any) -> bool:
    if value is None:
        return True  # the field decides whether it may be null
    if isinstance(field, serializers.CharField | serializers.UUIDField):
        return isinstance(value, str)
    if isinstance(field, serializers.BooleanField):
        return isinstance(value, bool)
    if isinstance(field, serializers.IntegerField | serializers.FloatField):
        return not isinstance(value, bool)
    return True


def _printable(key: Any) -> str:
    """Return a key without lone surrogates, which JSON can carry but UTF-8 cannot."""
    return str(key)[:100].encode("utf-8", "replace").decode()


class StrictIntegerField(serializers.IntegerField):
    """Accept 3 and 3.0, which are one number in JSON, but neither true nor 3.5."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and data.is_integer():
            data = int(data)
        if isinstance(data, bool | float):
            self.fail("invalid")
        return super().to_internal_value(data)


class ListInAddressField(serializers.ListField):
    """A comma-separated list in a query parameter; empty text is an empty list."""

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, str):
            data = [part.strip() for part in data.split(",")] if data.strip() else []
        return super().to_internal_value(data)


class ShortListField(serializers.ListField):
    """A list whose length is checked before its elements are."""

    def to_internal_value(self, data: Any) -> list[Any]:
        max_length = self.max_length
        if isinstance(data, list) and max_length is not None and len(data) > max_length:
            self.fail("max_length", max_length=max_length)
        return super().to_internal_value(data)

    default_error_messages = {"max_length": "At most {max_length:,} are taken."}


class WordField(serializers.ChoiceField):
    """One of a few words; the error message lists them."""

    def __init__(self, choices: Sequence[str], **options: Any):
        *most, last = choices
        known = f"{', '.join(most)} or {last}" if most else last
        super().__init__(
            choices, error_messages={"invalid_choice": f"This is {known}."}, **options
        )


def between(minimum: float, maximum: float, what: str = "") -> dict[str, Any]:
    """Return options of a number field with inclusive limits and one error message."""
    ends = _format_number(minimum), _format_number(maximum)
    message = "This lies between {} and {}.".format(*ends)
    if what:
        message = f"This is {what} from {' to '.join(ends)}."
    return {
        "min_value": minimum,
        "max_value": maximum,
        "error_messages": {"min_value": message, "max_value": message},
    }


def _format_number(number: float) -> str:
    return f"{number:,g}".replace("-", "−") if abs(number) < 1e6 else f"{number:,}"


# --- Responses

Json = dict[str, Any]


class AbsoluteUris(Protocol):
    """The part of a request that response serializers need."""

    def build_absolute_uri(self, location: str, /) -> str: ...


class ResponseSerializer(serializers.Serializer):
    """Base of response serializers: a method `compute_<field>` gives a field's value.

    Without one the value is the attribute of that name (or `source`), as in REST
    framework; unlike its SerializerMethodField, the field keeps its type in OpenAPI. A
    method raises SkipField to leave the field out. The component in OpenAPI is named
    “…Answer” for a class “…Serializer”.
    """

    @cached_property
    def _getters(self) -> list[tuple[str, Callable[[Any], Any], serializers.Field]]:
        return [
            (name, getattr(self, f"compute_{name}", field.get_attribute), field)
            for name, field in self.fields.items()
        ]

    def to_representation(self, instance: Any) -> Json:
        result: Json = {}
        for name, get, field in self._getters:
            try:
                value = get(instance)
            except serializers.SkipField:
                continue
            result[name] = None if value is None else field.to_representation(value)
        return result


class AddressField(serializers.CharField):
    """The absolute URL of a path on this site."""

    def to_representation(self, path: str) -> str:
        return self.context["request"].build_absolute_uri(path)


class VectorField(serializers.ListField):
    """A NumPy vector as a list of numbers, converted at once rather than one by one."""

    child = serializers.FloatField()

    def to_representation(self, vector: Any) -> list[float]:
        return vector.tolist()


def count_field(help_text: str = "", **options: Any) -> serializers.IntegerField:
    return serializers.IntegerField(min_value=0, help_text=help_text, **options)


def id_field(
    help_text: str = "The item's number in its dataset.", **options: Any
) -> serializers.IntegerField:
    return serializers.IntegerField(
        min_value=0, max_value=LAST_ITEM, help_text=help_text, **options
    )


class NextField(serializers.CharField):
    """The cursor of the next page: null where the page has an empty one."""

    def __init__(self, **options: Any):
        help_text = "The `cursor` of the next page; null at the end."
        super().__init__(allow_null=True, help_text=help_text, **options)

    def get_attribute(self, instance: Any) -> str | None:
        return super().get_attribute(instance) or None
