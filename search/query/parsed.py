"""A text as the language of the box reads it: its parts, and the same text changed."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .model import Term

Span = tuple[int, int]  # the first character, and the one after the last

# A weight is one before a letter or a parenthesis only: 10:30 and 3:4 are words.
PREFIX = re.compile(r"([-−+]?)(?:([0-9]+(?:\.[0-9]+)?|\.[0-9]+):(?=\(|[^\W\d_]))?")
# Words that need no parentheses to have a weight.
ONE_WORD = re.compile(r"[^\W\d_]\w*")


@dataclass(frozen=True)
class Token:
    """A term or filters, and where in the text they stand; plain words are one part."""

    spans: tuple[Span, ...]
    term: Term | None = None
    filters: dict[str, Any] = field(default_factory=dict)
    is_plain: bool = False


@dataclass(frozen=True)
class ParsedQuery:
    """How a text was read."""

    text: str
    parts: tuple[Token, ...]

    @property
    def terms(self) -> tuple[Term, ...]:
        return tuple(part.term for part in self.parts if part.term)

    @cached_property
    def filters(self) -> dict[str, Any]:
        """Fields of query.Filters, only those that the text names."""
        merged: dict[str, Any] = {}
        for part in self.parts:
            merged |= part.filters
        if "caption" in merged:
            words = [part.filters.get("caption", "") for part in self.parts]
            merged["caption"] = " ".join(filter(None, words))
        return merged

    def without(self, *parts: Token) -> str:
        """The text that is left when these parts are taken out."""
        return self._with({span: "" for part in parts for span in part.spans})

    def weighed(self, part: Token, weight: float) -> str:
        """The text in which the term of a part has another weight."""
        written = self._written(part, weight)
        return self._with(dict.fromkeys(part.spans, "") | {part.spans[0]: written})

    def _written(self, part: Token, weight: float) -> str:
        words = part.term.text if part.term else None
        if words is None:
            # A sign and a weight, if any, stand before what can be read alone.
            thing = PREFIX.sub("", self.text[slice(*part.spans[0])], count=1)
            if part.is_plain:  # a number alone, in which an item was seen
                thing = f"item:{thing}"
            return f"{_prefix(weight)}{thing}"
        is_alone = part.is_plain and weight == 1
        if not is_alone and not ONE_WORD.fullmatch(words):
            if closings(f"({words})").get(0) != len(words) + 2:
                words = re.sub("[()]", " ", words)
            words = f"({words})"
        return words if is_alone else f"{_prefix(weight) or '+'}{words}"

    def _with(self, written: dict[Span, str]) -> str:
        """The text with other words in the place of these."""
        text, at = "", 0
        for (start, end), words in sorted(written.items()):
            text, at = f"{text}{self.text[at:start]} {words} ", end
        return " ".join((text + self.text[at:]).split())


def closings(text: str) -> dict[int, int]:
    """Where each parenthesis opens, and where what it holds has ended."""
    found, opened = {}, []
    for at, char in enumerate(text):
        if char == "(":
            opened.append(at)
        elif char == ")" and opened:
            found[opened.pop()] = at + 1
    return found


def _prefix(weight: float) -> str:
    """What stands before a term of this weight."""
    if abs(weight) == 1:
        return "" if weight > 0 else "-"
    return f"{round(weight, 4):g}:"
