"""Build a SearchQuery of a text, terms and filters, for pages, API and commands."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from search.errors import InvalidQuery, NotFound
from search.query.model import Filters, SearchQuery, Term
from search.query.parsed import ParsedQuery
from search.query.parser import ITEM, parse

from . import service


def read(text: str, dataset: str, host: str) -> ParsedQuery:
    """Parse a text; a number alone is an item if the dataset has it, else words."""
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
    """Add terms and filters to those of the text, whose filters take precedence.

    Quoted words alone are searched for as well. Raises InvalidQuery.
    """
    terms = asked.terms + terms
    if not terms and not options.get("cursor") and asked.parts:
        if "caption" not in asked.filters:
            raise InvalidQuery("These are only filters: say what to look for, too.")
        terms = (Term(text=asked.filters["caption"]),)
    merged = Filters(**{**(filters or {}), **asked.filters})
    return SearchQuery(dataset, terms, filters=merged, **options)
