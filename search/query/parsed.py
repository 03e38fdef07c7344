"""A parsed text of the search box, and the same text with terms changed."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .model import Term

Span = tuple[int, int]  # start and end, exclusive

# A weight counts only before a letter or a parenthesis: 10:30 and 3:4 are words.
PREFIX = re.compile(r"([-−+]?)(?:([0-9]+(?:\.[0-9]+)?|\.[0-9]+):(?=\(|[^\W\d_]))?")
# A word that needs no parentheses to have a weight.
ONE_WORD = re.compile(r"[^\W\d_]\w*")


@dataclass(frozen=True)
class Token:
    """A term or filters, and where they are in the text; plain words are one token."""

    spans: tuple[Span, ...]
    term: Term | None = None
    filters: dict[str, Any] = field(default_factory=dict)
    is_plain: bool = False


@dataclass(frozen=True)
class ParsedQuery:
    """A text and what it was parsed into."""

    text: str
    parts: tuple[Token, ...]

    @property
    def terms(self) -> tuple[Term, ...]:
        return tuple(part.term for part in self.parts if part.term)

    @cached_property
    def filters(self) -> dict[str, Any]:
        """The values of the filters that the text names."""
        merged: dict[str, Any] = {}
        for part in self.parts:
            merged |= part.filters
        if "caption" in merged:
            words = [part.filters.get("caption", "") for part in self.parts]
            merged["caption"] = " ".join(filter(None, words))
        return merged

    def without(self, *parts: Token) -> str:
        """Return the text without these tokens."""
        return self._with({span: "" for part in parts for span in part.spans})

    def weighed(self, part: Token, weight: float) -> str:
        """Return the text in which the term of a token has another weight."""
        written = self._written(part, weight)
        return self._with(dict.fromkeys(part.spans, "") | {part.spans[0]: written})

    def _written(self, part: Token, weight: float) -> str:
        words = part.term.text if part.term else None
        if words is None:
            # Only the sign and the weight change.
            content = PREFIX.sub("", self.text[slice(*part.spans[0])], count=1)
            if part.is_plain:  # a number alone, which was read as an item
                content = f"item:{content}"
            return f"{_prefix(weight)}{content}"
        is_alone = part.is_plain and weight == 1
        if not is_alone and not ONE_WORD.fullmatch(words):
            if closings(f"({words})").get(0) != len(words) + 2:
                words = re.sub("[()]", " ", words)
            words = f"({words})"
        return words if is_alone else f"{_prefix(weight) or '+'}{words}"

    def _with(self, written: dict[Span, str]) -> str:
        """Return the text with other words in place of these."""
        text, at = "", 0
        for (start, end), words in sorted(written.items()):
            text, at = f"{text}{self.text[at:start]} {words} ", end
        return " ".join((text + self.text[at:]).split())


def closings(text: str) -> dict[int, int]:
    """Return the end of each closed parenthesis, by the place where it opens."""
    found, opened = {}, []
    for at, char in enumerate(text):
        if char == "(":
            opened.append(at)
        elif char == ")" and opened:
            found[opened.pop()] = at + 1
    return found


def _prefix(weight: float) -> str:
    """Return the sign or the weight to write before a term."""
    if abs(weight) == 1:
        return "" if weight > 0 else "-"
    return f"{round(weight, 4):g}:"
