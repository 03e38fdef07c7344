"""Results as lines: aligned for a terminal, between tabs for other programs."""

from collections.abc import Iterable, Iterator, Sequence

from wcwidth import clip, wcswidth

from search.retrieval.service import Hit

GAP = "  "
LEAST_CAPTION = 30  # columns of a caption that has its URL beside it
NO_SIZE = "–"


def for_programs(hits: Iterable[Hit]) -> Iterator[str]:
    """Similarity, id, size, caption and URL of each, with nothing shortened."""
    for hit in hits:
        yield "\t".join([_similarity(hit), str(hit.id), _size(hit), *_texts(hit)])


def for_terminal(hits: Sequence[Hit], width: int) -> Iterator[str]:
    """The same in lines of at most `width` columns, but for URLs.

    A caption is shortened; its URL stands beside it where there is room, else below.
    """
    ids = max((len(str(hit.id)) for hit in hits), default=0)
    sizes = max((len(_size(hit)) for hit in hits), default=0)
    captions = max((columns(_texts(hit)[0]) for hit in hits), default=0)
    urls = max((columns(_texts(hit)[1]) for hit in hits), default=0)
    indent = len("-0.123") + ids + sizes + 3 * len(GAP)
    beside = min(captions, width - indent - urls - len(GAP))
    is_beside = beside >= min(captions, LEAST_CAPTION)
    room = beside if is_beside else max(1, width - indent)
    for hit in hits:
        caption, url = _texts(hit)
        facts = [f"{_similarity(hit):>6}", f"{hit.id:>{ids}}", f"{_size(hit):>{sizes}}"]
        line = GAP.join([*facts, shortened(caption, room)])
        if is_beside:
            yield line + " " * (indent + room - columns(line)) + GAP + url
        else:
            yield line.rstrip()
            yield " " * indent + url


def shortened(text: str, room: int) -> str:
    """The text in at most so many columns; … stands for what is left out."""
    return text if columns(text) <= room else clip(text, 0, room - 1).rstrip() + "…"


def columns(text: str) -> int:
    """How many columns of a terminal a printable text takes."""
    return wcswidth(text)


def printable(text: str) -> str:
    """In one line and without what steers a terminal: texts come from anywhere."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())


def _texts(hit: Hit) -> tuple[str, str]:
    return printable(hit.caption), printable(hit.url)


def _similarity(hit: Hit) -> str:
    return f"{hit.similarity:.3f}"


def _size(hit: Hit) -> str:
    return f"{hit.width}×{hit.height}" if hit.width and hit.height else NO_SIZE
