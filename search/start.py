"""What the search page shows before anything is asked: a wall, and what one may ask."""

from collections.abc import Iterator, Sequence

from .errors import InvalidQuery
from .models import Dataset
from .query.parser import parse
from .retrieval import service
from .retrieval.items import Hit

WALL = 36
EXAMPLES = {
    "postcards": (
        "a red house by a lake at night",
        "boats at night",
        "rainbow over a lake",
        "black cat, moon",
        "hot air balloon in the early morning",
        "thunderstorm at the beach",
    )
}
MOST_EXAMPLES = 6
LONGEST_EXAMPLE = 48  # characters; longer captions are cut to their first words
SHORTEST_EXAMPLE = 8


def wall(dataset: Dataset) -> tuple[Hit, ...]:
    """Pictures by chance that are unlike each other."""
    return service.random_hits(dataset.slug, WALL)


def examples(dataset: Dataset, hits: Sequence[Hit]) -> tuple[str, ...]:
    """What can be searched for; captions, for a dataset that we know nothing of."""
    return EXAMPLES.get(dataset.slug) or tuple(_captions(hits))[:MOST_EXAMPLES]


def _captions(hits: Sequence[Hit]) -> Iterator[str]:
    told = set()
    for hit in hits:
        words = _beginning(hit.caption)
        if words.lower() not in told and _is_plain(words):
            told.add(words.lower())
            yield words


def _beginning(caption: str) -> str:
    words = " ".join(caption[: 4 * LONGEST_EXAMPLE].split())
    if len(words) <= LONGEST_EXAMPLE:
        return words
    return words[: LONGEST_EXAMPLE + 1].rpartition(" ")[0].rstrip(" ,;:–-")


def _is_plain(words: str) -> bool:
    """Whether it reads as words, and not as parts of our language or as a number."""
    if len(words) < SHORTEST_EXAMPLE or not any(map(str.isalpha, words)):
        return False
    try:
        parts = parse(words).parts
    except InvalidQuery:
        return False
    return len(parts) == 1 and parts[0].is_plain and words.isprintable()
