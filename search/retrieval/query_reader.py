"""A text and what is given beside it, as one query: the same for page and API."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from search.errors import InvalidQuery, NotFound
from search.query.model import Filters, SearchQuery, Term
from search.query.parsed import ParsedQuery
from search.query.parser import ITEM, parse

from . import service


def read(text: str, dataset: str, host: str) -> ParsedQuery:
    """How a text is read: as by the language, but a number alone can be an item.

    It is one where the dataset has an item of that number.
    """
    asked = parse(text, dataset, host)
    if not ITEM.fullmatch(text.strip()):
        return asked
    number = int(text)
    try:
        service.item(dataset, number)
    except NotFound:
        return asked
    (part,) = asked.parts
    return replace(asked, parts=(replace(part, term=Term(item=number)),))


def query(
    dataset: str,
    asked: ParsedQuery,
    terms: tuple[Term, ...] = (),
    filters: Mapping[str, Any] | None = None,
    **options: Any,
) -> SearchQuery:
    """Adds the terms and filters beside the text to those in it; those in it win.

    Quoted words alone are searched for, too.
    """
    terms = asked.terms + terms
    if not terms and not options.get("cursor") and asked.parts:
        if "caption" not in asked.filters:
            raise InvalidQuery("These are only filters: say what to look for, too.")
        terms = (Term(text=asked.filters["caption"]),)
    merged = Filters(**{**(filters or {}), **asked.filters})
    return SearchQuery(dataset, terms, filters=merged, **options)
