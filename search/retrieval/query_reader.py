"""Build a SearchQuery of a text, terms and filters, for pages, API and commands."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from search.errors import InvalidQuery, NotFound
from search.models import Viewer
from search.query.filters import Filters
from search.query.model import SearchQuery, Term
from search.query.parsed import ParsedQuery
from search.query.parser import ITEM, parse

from . import service


def read(text: str, dataset: str, host: str, user: Viewer) -> ParsedQuery:
    """Parse a text; a number alone is an item if the dataset has it, else words."""
    parsed = parse(text, dataset, host)
    if not ITEM.fullmatch(text.strip()):
        return parsed
    number = int(text)
    try:
        service.item(dataset, number, user)
    except NotFound:
        return parsed
    (part,) = parsed.parts
    return replace(parsed, parts=(replace(part, term=Term(item=number)),))


def query(
    dataset: str,
    parsed: ParsedQuery,
    terms: tuple[Term, ...] = (),
    filters: Mapping[str, Any] | None = None,
    **options: Any,
) -> SearchQuery:
    """Add terms and filters to those of the text, whose filters take precedence.

    Text with only quoted words is searched for as well. Raises InvalidQuery.
    """
    terms = parsed.terms + terms
    if not terms and not options.get("cursor") and parsed.parts:
        if "caption" not in parsed.filters:
            raise InvalidQuery(
                "Add words or an image: a search needs more than filters."
            )
        terms = (Term(text=parsed.filters["caption"]),)
    merged = Filters(**{**(filters or {}), **parsed.filters})
    return SearchQuery(dataset, terms, filters=merged, **options)
