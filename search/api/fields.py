"""Fields and serializers that take nothing they do not know, and say what they take."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, ClassVar

from rest_framework import serializers

MAX_REPORTED = 20  # keys that are not known: a body has room for a million


class StrictSerializer(serializers.Serializer):
    """Refuses keys that it does not know, by name, and values of another JSON type.

    A number may come as text. In an address all is text: a serializer of parameters
    says `in_address = True`. What is checked elsewhere the schema tells all the same:
    `more_of_schema` of the whole, `more_of_fields` by the names of fields.
    """

    in_address: ClassVar[bool] = False
    more_of_schema: ClassVar[dict[str, Any]] = {}
    more_of_fields: ClassVar[dict[str, dict[str, Any]]] = {}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        given = data if hasattr(data, "keys") else {}
        unknown = (name for name in given if name not in self.fields)
        wrong: dict[str, Any] = {
            _readable(name): ["This key is not known."]
            for name in islice(unknown, MAX_REPORTED)
        }
        if not self.in_address:
            for name, field in self.fields.items():
                if name in given and (error := _wrong(field, given[name])):
                    wrong[name] = error
        if wrong:
            raise serializers.ValidationError(wrong)
        return super().to_internal_value(data)


def _wrong(field: serializers.Field, value: Any) -> Any:
    """What is wrong with a value of JSON, though its field would take it."""
    if isinstance(field, serializers.ListField) and isinstance(value, list):
        if field.max_length is not None and len(value) > field.max_length:
            return None  # it is refused for that
        places = (n for n, each in enumerate(value) if not _fits(field.child, each))
        return {place: _wrong(field.child, value[place]) for place in places}
    try:
        if not _fits(field, value):
            field.fail("invalid", value=str(value)[:100])
        if isinstance(field, serializers.CharField) and value is not None:
            longest = field.max_length
            # As it was sent: blanks around it are taken off afterwards.
            if longest is not None and len(value) > longest:
                field.fail("max_length", max_length=longest)
    except serializers.ValidationError as error:
        return error.detail
    return None


def _fits(field: serializers.Field, value: Any) -> bool:
    if value is None:
        return True  # whether it may be null is the field's own affair
    if isinstance(field, serializers.CharField | serializers.UUIDField):
        return isinstance(value, str)
    if isinstance(field, serializers.BooleanField):
        return isinstance(value, bool)
    if isinstance(field, serializers.IntegerField | serializers.FloatField):
        return not isinstance(value, bool)
    return True


def _readable(key: Any) -> str:
    """Half a character, which JSON can carry, cannot be sent back."""
    return str(key)[:100].encode("utf-8", "replace").decode()


class StrictIntegerField(serializers.IntegerField):
    """Takes 3 and 3.0, which are one number in JSON, but neither true nor 3.5."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and data.is_integer():
            data = int(data)
        if isinstance(data, bool | float):
            self.fail("invalid")
        return super().to_internal_value(data)


class ListInAddressField(serializers.ListField):
    """3,17,42: a list between commas; an empty text is an empty list."""

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, str):
            data = [part.strip() for part in data.split(",")] if data.strip() else []
        return super().to_internal_value(data)


class ShortListField(serializers.ListField):
    """Refuses a list that is too long before it looks at what is in it."""

    def to_internal_value(self, data: Any) -> list[Any]:
        most = self.max_length
        if isinstance(data, list) and most is not None and len(data) > most:
            self.fail("max_length", max_length=most)
        return super().to_internal_value(data)

    default_error_messages = {"max_length": "At most {max_length:,} are taken."}


class WordField(serializers.ChoiceField):
    """One of a few words, which are said when it is none of them."""

    def __init__(self, choices: Sequence[str], **options: Any):
        *most, last = choices
        known = f"{', '.join(most)} or {last}" if most else last
        super().__init__(
            choices, error_messages={"invalid_choice": f"This is {known}."}, **options
        )


def between(least: float, most: float, what: str = "") -> dict[str, Any]:
    """Options of a field of numbers that lie between two, these included."""
    ends = _written(least), _written(most)
    said = "This lies between {} and {}.".format(*ends)
    if what:
        said = f"This is {what} from {' to '.join(ends)}."
    return {
        "min_value": least,
        "max_value": most,
        "error_messages": {"min_value": said, "max_value": said},
    }


def _written(number: float) -> str:
    return f"{number:,g}".replace("-", "−") if abs(number) < 1e6 else f"{number:,}"
