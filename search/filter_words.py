"""The filters of the query language: their names, and what may stand after them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from .errors import InvalidQuery
from .query import ORIENTATIONS

YES, NO = ("yes", "on", "true"), ("no", "off", "false")
CLOSE = 0.8  # of difflib's ratio: heigth is height, and time is not item
SHORTEST = 3  # letters of what looks like a filter's name: in “I<3 cats” is none

# Of a sign and a value, the fields of query.Filters.
Read = Callable[[str, str], dict[str, Any]]


@dataclass(frozen=True)
class NamedFilter:
    values: Read  # ValueError or KeyError for what it cannot read
    example: str

    def read(self, sign: str, value: str) -> dict[str, Any]:
        """Raises InvalidQuery with an example of what can be read."""
        try:
            return self.values(sign, value)
        except (ValueError, KeyError) as error:
            raise InvalidQuery(
                f"This filter is written {self.example}. {_otherwise(sign)}"
            ) from error


def _pixels(side: str) -> Read:
    least, most = f"min_{side}", f"max_{side}"

    def values(sign: str, value: str) -> dict[str, Any]:
        count = int(value)
        return {
            ">": {least: count + 1},
            ">=": {least: count},
            "<": {most: count - 1},
            "<=": {most: count},
            "=": {least: count, most: count},
        }[sign]

    return values


def _value(field: str, signs: tuple[str, ...], read: Callable[[str], Any]) -> Read:
    def values(sign: str, value: str) -> dict[str, Any]:
        if sign not in signs:
            raise ValueError(f"{sign} does not go with {field}")
        return {field: read(value)}

    return values


def _least(field: str) -> Read:
    return _value(field, (">", ">=", ":"), float)


def _word(field: str, read: Callable[[str], Any]) -> Read:
    return _value(field, (":", "="), read)


def _safety(word: str) -> str:
    return {"safe": "safe", "any": "any"}[word.lower()]


def _orientation(word: str) -> str:
    return {each: each for each in ORIENTATIONS}[word.lower()]


def _switch(word: str) -> bool:
    return {**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)}[word.lower()]


FILTERS = {
    "width": NamedFilter(_pixels("width"), "width>512 or width<=2000"),
    "height": NamedFilter(_pixels("height"), "height>512 or height<=2000"),
    "orientation": NamedFilter(
        _word("orientation", _orientation), "orientation:landscape, portrait or square"
    ),
    "similarity": NamedFilter(_least("min_similarity"), "similarity>0.3"),
    "cutoff": NamedFilter(_least("cutoff"), "cutoff:0.25"),
    "nsfw": NamedFilter(_word("nsfw", _safety), "nsfw:any or nsfw:safe"),
    "dedupe": NamedFilter(_word("dedupe", _switch), "dedupe:no or dedupe:yes"),
    "site": NamedFilter(_word("site", str.lower), "site:flickr.com"),
    "license": NamedFilter(_word("license", str), 'license:"CC BY"'),
}


def check_name(name: str, sign: str, value: str) -> None:
    """Refuses what all but names a filter, so that nobody believes that it filters.

    Other words with a colon, such as those of a pasted caption, are plain words.
    """
    near = get_close_matches(name, FILTERS, 1, CLOSE)
    near += [known for known in FILTERS if known in name.split("_")]
    if near:
        example = FILTERS[near[0]].example
        raise InvalidQuery(
            f"There is no filter “{name}”. Is {example} meant? {_otherwise(sign)}"
        )
    is_number = re.fullmatch(r"-?[0-9]*\.?[0-9]+", value)
    if sign != ":" and is_number and len(name) >= SHORTEST:
        raise InvalidQuery(
            f"There is no filter “{name}”; width, height and similarity are compared "
            f"with numbers. {_otherwise(sign)}"
        )


def _otherwise(sign: str) -> str:
    if sign == ":":
        return "With a space after the colon these are plain words."
    return "In parentheses these are plain words."
