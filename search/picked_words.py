"""What of a search is told to others: words alone, and nothing of a person."""

import re

from .errors import InvalidQuery
from .query.parser import parse

LONGEST = 200
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
PERSONAL = re.compile(
    r"\S@\S"  # an e-mail address
    r"|https?:|www\.|\w\.[a-z]{2,}(?![\w'’])"  # an address of the web
    r"|(?:\d[ ./()+-]{0,2}){7,}|\d{5,}",  # a number of a telephone, a card, a day
    re.IGNORECASE,
)


def picked_words(text: str) -> str:
    """The words that the text of a search asks for, in small letters; '' for none.

    Without what they are to be unlike, filters and weights. Nothing at all of a text
    that cannot be read, or in which somebody might be named.
    """
    try:
        asked = parse(text)
    except InvalidQuery:
        return ""
    terms = [term.text for term in asked.terms if term.text and term.weight > 0]
    words = ", ".join(terms or [asked.filters.get("caption", "")])
    words = " ".join(UNPRINTABLE.sub(" ", words).lower().split())[:LONGEST].strip()
    return "" if PERSONAL.search(words) else words
