"""Searches by command: from its options to a query, and the pages of results."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model

from search.api.item_serializers import SearchPageSerializer
from search.clickhouse import client
from search.errors import InvalidQuery, NotFound, SearchUnavailable, UnreadableWord
from search.images.decoders import query_decoders
from search.images.formats import MAX_BYTES
from search.models import SYSTEM, Dataset
from search.query.model import MAX_PER_PAGE, SearchQuery, Term
from search.retrieval import query_reader, service
from search.retrieval.service import Page


class ServerAddress:
    """A stand-in for a request, since a command does not know the server's host."""

    def build_absolute_uri(self, path: str) -> str:
        return path


def dataset_named(slug: str | None) -> str:
    """Return the slug of the dataset; without a name, that of the only one."""
    if slug is not None:
        return Dataset.for_slug(slug, SYSTEM).slug
    slugs = [dataset.slug for dataset in service.datasets(SYSTEM)]
    if not slugs:
        raise NotFound("There is no dataset to be searched yet.")
    if len(slugs) > 1:
        raise InvalidQuery(f"Say which --dataset is meant: {', '.join(slugs)}.")
    return slugs[0]


def query(
    slug: str,
    words: str,
    images: Sequence[str],
    items: Sequence[int],
    filters: Mapping[str, Any],
    **options: Any,
) -> SearchQuery:
    """Return the query; `images` are paths, `options` fields of SearchQuery.

    Raise InvalidQuery, also for a file that is no image.
    """
    terms = (
        *(Term(image=read_image_file(path)) for path in images),
        *(Term(item=number) for number in items),
    )
    try:
        host = f"{settings.HOST}:{settings.PORT}"
        parsed = query_reader.read(words, slug, host, SYSTEM)
    except UnreadableWord as error:
        word = words[error.start : error.end]
        raise InvalidQuery(f"“{word}”: {error.message}") from error
    return query_reader.query(slug, parsed, terms, filters, **options)


def check_engine(instead: str = "search on its page or by its API") -> None:
    """Raise SearchUnavailable, which says what to do when a server has it open."""
    if process := client.locked_by():
        raise SearchUnavailable(
            f"Another process ({process}) has the search engine open, as a server that "
            f"runs has it: {instead}, or stop it."
        )
    client.ping()


def read_image_file(path: str) -> bytes:
    """Return the bytes of an image file; raise InvalidQuery, which names the file."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidQuery(f"{path} cannot be read: {error.strerror}.") from error
    try:
        query_decoders.verify(data)
    except InvalidQuery as error:
        raise InvalidQuery(f"{path}: {error.message}") from error
    return data


def user_named(name: str | None) -> Any:
    """Return the user; without a name, the one of commands. Raise NotFound."""
    if name is None:
        return SYSTEM
    user = get_user_model().objects.filter(username=name, is_active=True).first()
    if user is None:
        raise NotFound(f"There is no user “{name}”.")
    return user


def pages_of(query: SearchQuery, user: Any, count: int) -> Iterator[Page]:
    """Yield pages that have `count` results together, or all there are."""
    query = replace(query, limit=min(count, MAX_PER_PAGE))
    while True:
        page = service.search(query, user, service.unlimited)
        yield page
        count -= len(page.hits)
        if not (page.next and page.hits and count > 0):
            return
        limit = min(count, MAX_PER_PAGE)
        query = SearchQuery(query.dataset, (), cursor=page.next, limit=limit)


def answer_of(slug: str, pages: list[Page]) -> dict[str, Any]:
    """Return the pages as one answer of the API; its URLs are paths on the server."""
    context = {"dataset": slug, "request": ServerAddress()}
    answers = [SearchPageSerializer(page, context=context).data for page in pages]
    timings = [answer["timing"] for answer in answers]
    return {
        **answers[0],
        "results": [result for answer in answers for result in answer["results"]],
        "next": answers[-1]["next"],
        "hidden": answers[-1]["hidden"],
        "timing": {
            name: round(sum(timing[name] for timing in timings), 2)
            for name in timings[0]
        },
    }


def remark(slug: str, pages: list[Page]) -> str:
    """Return a sentence on how many were found, how fast, and what is hidden."""
    count = sum(len(page.hits) for page in pages)
    spent = sum(page.encode_ms + page.search_ms for page in pages)
    items = Dataset.for_slug(slug, SYSTEM).item_count()
    found = f"{count:,} of {items:,} items" if count else "Nothing was found"
    parts = [f"{found}, in {spent / 1000:,.1f} s"]
    if matching := pages[0].matching:
        about = "about " if matching.estimated else ""
        parts.append(f"{about}{matching.items:,} pass the filters")
    hidden = pages[-1].hidden
    if hidden.nsfw:
        parts.append(f"{hidden.nsfw:,} NSFW hidden (--nsfw any shows them)")
    if hidden.duplicates:
        folded = "near-duplicate" + ("s" if hidden.duplicates > 1 else "")
        parts.append(f"{hidden.duplicates:,} {folded} folded (--no-dedupe shows them)")
    if hidden.removed:
        parts.append(f"{hidden.removed:,} removed")
    for text in pages[0].truncated:
        parts.append(f"the model does not read “{text.parts[1].strip()}”")
    return f"{'; '.join(parts)}."
