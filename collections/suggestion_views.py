"""Suggestions while typing: what the user keeps, popular words, words of captions."""

from hashlib import sha256
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from search import cache
from search.models import Dataset
from search.query.model import split_slugs
from search.query.parser import MAX_QUERY_LENGTH
from search.rate_limits import limited
from search.retrieval import popularity, vocabulary

from .account.services import keeps_history
from .models import Collection, Concept, SavedSearch
from .saved_search import history
from .saved_search.services import saved_query_of

MAX_OF_KIND = 4
MAX_RECENT = 8  # below an empty box
MIN_TERM_LETTERS = 2  # of a concept or a collection
CACHED_S = 60  # what captions and popular words say, for all users

Entry = dict[str, str]


@require_safe
@never_cache
@limited("item")
def suggest(request: HttpRequest) -> JsonResponse:
    """Return groups of suggestions for the text of the search box.

    An entry leads to an `address`, or puts other `words` into the box; one with a
    `concept` adds that as a term, in place of the last word.
    """
    words = request.GET.get("q", "")[:MAX_QUERY_LENGTH]
    text = " ".join(words.split())
    datasets = _datasets(request)
    groups = {"Recent": _recent(request.user, text)}
    if text:
        groups |= _kept(request.user, text)
        groups |= _of_datasets(datasets, text, words)
    listed = [
        {"title": title, "entries": entries}
        for title, entries in groups.items()
        if entries
    ]
    return JsonResponse({"groups": listed})


def _datasets(request: HttpRequest) -> list[Dataset]:
    """Return the datasets that are searched, of those that the user may see."""
    visible = Dataset.objects.visible_to(request.user)
    if not (named := request.GET.get("dataset")):
        return list(visible[:1])
    return list(visible.filter(slug__in=split_slugs(named)))


def _recent(user: Any, text: str) -> list[Entry]:
    if not user.is_authenticated or not keeps_history(user):
        return []
    entries = history.history_of(user)
    if text:
        entries = entries.filter(label__icontains=text)
    return [
        {"label": entry.label, "address": history.saved_query_of(entry).url}
        for entry in entries[: MAX_OF_KIND if text else MAX_RECENT]
    ]


def _kept(user: Any, text: str) -> dict[str, list[Entry]]:
    """Return saved searches, and concepts and collections as terms."""
    saved = SavedSearch.objects.visible_to(user).filter(name__icontains=text)
    return {
        "Saved searches": [
            {"label": each.name, "address": saved_query_of(each).url}
            for each in saved[:MAX_OF_KIND]
        ],
        "Concepts": _terms(Concept.objects.owned_by(user), text),
        "Images like a collection": _terms(Collection.objects.owned_by(user), text),
    }


def _terms(owned: QuerySet, text: str) -> list[Entry]:
    """Return those whose name has the text, or its last word, which they replace."""
    before, _, last = text.rpartition(" ")
    for part, rest in dict([(text, ""), (last, before)]).items():
        if len(part) < MIN_TERM_LETTERS:
            continue
        if found := list(owned.filter(name__icontains=part)[:MAX_OF_KIND]):
            return [
                {"label": each.name, "concept": str(each.pk), "words": rest}
                for each in found
            ]
    return []


def _of_datasets(
    datasets: list[Dataset], text: str, words: str
) -> dict[str, list[Entry]]:
    """Return popular searches and completions, which are the same for all users."""
    if words.endswith(" "):
        text += " "  # the last word is complete
    slugs = ",".join(dataset.slug for dataset in datasets)
    key = f"suggestions:{sha256(f'{slugs} {text}'.encode()).hexdigest()}"
    if (known := cache.get(key)) is not None:
        return known
    popular = [
        word
        for each in datasets
        for word in popularity.popular(each, text, MAX_OF_KIND)
    ]
    completed = vocabulary.complete(vocabulary.of(datasets), text, MAX_OF_KIND)
    found = {
        "Popular": _words(popular),
        "Words": _words([each for each in completed if each not in popular]),
    }
    cache.set(key, found, CACHED_S)
    return found


def _words(texts: list[str]) -> list[Entry]:
    return [{"label": text, "words": text} for text in dict.fromkeys(texts)]
