"""Parse the language of the search box, which is that of the API's `q` too.

    red house -car 2:(sail boat) width>512 nsfw:any site:flickr.com "in the caption"

All plain words are one term, wherever they are; what has a sign or a weight is a term
of its own. Filters have names, and words in quotes must occur in the caption. What
looks like none of this is plain words; what looks like it and cannot be read raises
UnreadableWord, which points at it.
"""

import re
import string
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from search.errors import InvalidQuery, UnreadableWord

from .filters import MAX_TEXT_LENGTH, Filters, filter_words, filters_of_word
from .model import MAX_URL_LENGTH, Term
from .parsed import PREFIX, ParsedQuery, Span, Token, closings
from .url_params import parse_item_url
from .words import GERSHAYIM

CLOSE = 0.8  # of difflib's ratio: heigth is height, and time is not item
MIN_NAME_LENGTH = 3  # letters; excludes “I<3 cats”


def read_filter(name: str, sign: str, value: str) -> dict[str, Any]:
    """Return the values, by the names of filters, that a word of the box gives them.

    Raise InvalidQuery, with an example of what can be read.
    """
    try:
        values = {
            spec.name: spec.parse(sign, value)
            for spec in filters_of_word(name)
            if sign in spec.signs
        }
        if not values:
            raise ValueError(f"{sign} does not go with {name}")
        return values
    except (ValueError, KeyError) as error:
        raise InvalidQuery(
            f"Write this filter as {filter_words()[name].example}. "
            f"{_as_plain_words(sign)}"
        ) from error


def check_name(name: str, sign: str, value: str) -> None:
    """Refuse an unknown name that looks like a filter's, so that nobody relies on it.

    Other words with a colon, such as those of a pasted caption, are plain words.
    """
    words = filter_words()
    near = get_close_matches(name, words, 1, CLOSE)
    near += [known for known in words if known in name.split("_")]
    if near:
        example = words[near[0]].example
        raise InvalidQuery(
            f"Unknown filter “{name}”. Did you mean {example}? {_as_plain_words(sign)}"
        )
    is_number = re.fullmatch(r"-?[0-9]*\.?[0-9]+", value)
    if sign != ":" and is_number and len(name) >= MIN_NAME_LENGTH:
        raise InvalidQuery(
            f"Unknown filter “{name}”. Numbers can be compared with width, height and "
            f"similarity. {_as_plain_words(sign)}"
        )


def _as_plain_words(sign: str) -> str:
    """Return a sentence on how to search for such words instead."""
    if sign == ":":
        return "To search for the words, put a space after the colon."
    return "To search for the words, put them in parentheses."


# The weight of a bare minus. On Postcards, of -0.2 … -1 it excludes most of the
# unwanted images, and finds as many of the wanted ones.
AWAY = -1.0
MAX_QUERY_LENGTH = MAX_TEXT_LENGTH + MAX_URL_LENGTH  # characters

BETWEEN = re.compile(r"[\s,;]*")
PLAIN = re.compile(r"\S*")
WORD = re.compile(r"(?:[,;]*[^\s,;]+)*")  # up to a space, or to commas before it
ADDRESS = re.compile(r"https?://", re.IGNORECASE)
OPENING, CLOSING = '"“”„', '"“”'
QUOTED = re.compile(f"[{OPENING}]((?:[^{CLOSING}]|{GERSHAYIM.pattern})*)[{CLOSING}]")
# Around < and > there may be spaces, if a number follows.
NAMED = re.compile(
    r"([a-z_]+)(?:([<>]=?|[=:])(?=[^\s,;])|\s*([<>]=?)\s*(?=-?\.?[0-9]))", re.IGNORECASE
)
ITEM = re.compile("[0-9]{1,16}")
CONCEPT = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def parse(text: str, dataset: str = "", host: str = "") -> ParsedQuery:
    """Parse a text.

    A URL on `host` is that of an item's page, and has to be of `dataset`; other URLs
    are those of images. Raise InvalidQuery, mostly as UnreadableWord.
    """
    if len(text) > MAX_QUERY_LENGTH:
        raise InvalidQuery(
            f"Your search is too long: use up to {MAX_QUERY_LENGTH:,} characters."
        )
    return _Reader(text, dataset, host).read()


class _Reader:
    def __init__(self, text: str, dataset: str, host: str):
        self.text, self.dataset, self.host = text, dataset, host
        self.parts: list[Token] = []
        self.words: list[Span] = []
        self.filtered: set[str] = set()

    def read(self) -> ParsedQuery:
        at = 0
        while (at := _match(BETWEEN, self.text, at).end()) < len(self.text):
            if part := self._part(at):
                self._check_once(part)
                self.parts.append(part)
                at = part.spans[0][1]
            else:
                self.words.append((at, self._end_of_plain(at)))
                at = self.words[-1][1]
        if self.words:
            self.parts.append(self._plain())
        return ParsedQuery(
            self.text, tuple(sorted(self.parts, key=lambda part: part.spans))
        )

    def _part(self, at: int) -> Token | None:
        """Return the token that begins here; None for plain words."""
        if self.text[at] in OPENING:
            return self._caption(at)
        prefix = _match(PREFIX, self.text, at)
        start, weight = prefix.end(), _weight(*prefix.groups())
        is_weighed = start > at
        if is_weighed and not self._takes_weight(start):
            return None
        if is_weighed and self.text[start] in OPENING:
            raise UnreadableWord(
                "Quoted words must occur in the caption and cannot have a sign or a "
                "weight. To exclude words, write -(some words).",
                at,
                start + 1,
            )
        if is_weighed and self.text[start] == "(":
            return self._group(at, start, weight)
        end = _match(WORD, self.text, start).end()
        if ADDRESS.match(self.text, start):
            return self._address(at, self.text[start:end], end, weight)
        if (named := NAMED.match(self.text, start)) and (
            token := self._named(at, named, end, weight, is_weighed)
        ):
            return token
        if is_weighed:
            return _term(at, end, text=self.text[start:end], weight=weight)
        return None

    def _named(
        self, at: int, named: re.Match[str], end: int, weight: float, is_weighed: bool
    ) -> Token | None:
        """Return an item, a concept or a filter; None for a name of plain words."""
        name, sign = named[1].lower(), named[2] or named[3]
        if (name, sign) == ("item", ":"):
            return self._item(at, self.text[named.end() : end], end, weight)
        if (name, sign) == ("concept", ":"):
            return self._concept(at, self.text[named.end() : end], end, weight)
        if filters_of_word(name):
            return self._filter(at, named, is_weighed)
        end_of_value = _match(WORD, self.text, named.end()).end()
        with _error_at(at, end_of_value):
            check_name(name, sign, self.text[named.end() : end_of_value])
        return None

    def _takes_weight(self, at: int) -> bool:
        """Return whether a sign before this is one: not in -5, -_-, --> and –."""
        word = _match(WORD, self.text, at)[0]
        if word.startswith(("(", *OPENING)):
            return True
        begins = bool(word) and word[0] not in string.punctuation + "–—−"
        return begins and any(char.isalpha() or not char.isascii() for char in word)

    def _end_of_plain(self, at: int) -> int:
        """Return the end of a word, or of several in unparsed parentheses."""
        return _match(PLAIN, self.text, self._closings.get(at, at)).end()

    @cached_property
    def _closings(self) -> dict[int, int]:
        return closings(self.text)

    def _plain(self) -> Token:
        spans = tuple(self.words)
        with _error_at(spans[0][0], spans[-1][1]):
            words = " ".join(self.text[start:end] for start, end in spans)
            return Token(spans, Term(text=words), is_plain=True)

    def _caption(self, at: int) -> Token:
        words, end = self._quoted(at)
        return _filters(at, end, caption=words.strip() or " ")

    def _quoted(self, at: int) -> tuple[str, int]:
        if not (quoted := QUOTED.match(self.text, at)):
            raise UnreadableWord("Close this quotation mark.", at, at + 1)
        return quoted[1], quoted.end()

    def _group(self, at: int, start: int, weight: float) -> Token:
        if not (end := self._closings.get(start)):
            raise UnreadableWord("Close this parenthesis.", start, start + 1)
        return _term(
            at, end, text=self.text[start + 1 : end - 1].strip(), weight=weight
        )

    def _address(self, at: int, address: str, end: int, weight: float) -> Token:
        if not (item := parse_item_url(address, self.host)):
            return _term(at, end, image_url=address, weight=weight)
        if item.dataset != self.dataset:
            raise UnreadableWord(
                f"This item belongs to another dataset, “{item.dataset[:40]}”.", at, end
            )
        return _term(at, end, item=item.id, weight=weight)

    def _item(self, at: int, number: str, end: int, weight: float) -> Token:
        if not ITEM.fullmatch(number):
            raise UnreadableWord(
                "Use item: followed by an item ID, such as item:123.", at, end
            )
        return _term(at, end, item=int(number), weight=weight)

    def _concept(self, at: int, number: str, end: int, weight: float) -> Token:
        if not CONCEPT.fullmatch(number):
            raise UnreadableWord(
                "Use concept: followed by a concept ID. "
                "To search for the words, put a space after the colon.",
                at,
                end,
            )
        return _term(at, end, concept=number.lower(), weight=weight)

    def _filter(self, at: int, named: re.Match[str], is_weighed: bool) -> Token:
        start, sign = named.end(), named[2] or named[3]
        if self.text[start] in OPENING:
            value, end = self._quoted(start)
        else:
            end = _match(WORD, self.text, start).end()
            value = self.text[start:end]
        if is_weighed:
            raise UnreadableWord("A filter cannot have a sign or a weight.", at, end)
        with _error_at(at, end):
            return _filters(at, end, **read_filter(named[1].lower(), sign, value))

    def _check_once(self, part: Token) -> None:
        """Refuse a filter that is given twice; only words of the caption add up."""
        if self.filtered & part.filters.keys():
            raise UnreadableWord("This filter is given twice.", *part.spans[0])
        self.filtered |= part.filters.keys() - {"caption"}


def _match(pattern: re.Pattern[str], text: str, at: int) -> re.Match[str]:
    """Match a pattern that matches the empty text too."""
    found = pattern.match(text, at)
    assert found is not None
    return found


def _weight(sign: str, number: str | None) -> float:
    if sign in ("", "+"):
        return float(number or 1)
    return -float(number) if number else AWAY


def _term(start: int, end: int, **fields: Any) -> Token:
    with _error_at(start, end):
        return Token(((start, end),), Term(**fields))


def _filters(start: int, end: int, **values: Any) -> Token:
    with _error_at(start, end):
        Filters(**values)
    return Token(((start, end),), filters=values)


@contextmanager
def _error_at(start: int, end: int) -> Iterator[None]:
    """Raise an InvalidQuery of this block as an UnreadableWord from `start` on."""
    try:
        yield
    except UnreadableWord:
        raise
    except InvalidQuery as error:
        raise UnreadableWord(error.message, start, end) from error
