"""Counts of items picked after a search, and the words of those searches.

The counts come from imported files (conversions) and from users of this site (picks).
"""

import re
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Sum
from django.utils.crypto import salted_hmac

from search import cache
from search.errors import InvalidQuery
from search.models import Conversion, Dataset, Pick, Picker
from search.query.parser import parse
from search.query.words import in_small_letters

MAX_KEYWORD_LENGTH = 200
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
PERSONAL_DATA = re.compile(
    r"\S@\S"  # an email address
    r"|https?:|www\.|\w\.[a-z]{2,}(?![\w'’])"  # an address of the web
    r"|(?:\d[ ./()+-]{0,2}){7,}|\d{5,}",  # a number of a telephone, a card, a day
    re.IGNORECASE,
)


def published_keywords(text: str) -> str:
    """Reduce the text of a search to lower-case keywords that may be published.

    Negative terms, filters and weights are left out. Returns "" for a text that cannot
    be parsed or that may hold personal data.
    """
    try:
        parsed = parse(text)
    except InvalidQuery:
        return ""
    terms = [term.text for term in parsed.terms if term.text and term.weight > 0]
    words = ", ".join(terms or [parsed.filters.get("caption", "")])
    words = " ".join(in_small_letters(UNPRINTABLE.sub(" ", words)).split())[
        :MAX_KEYWORD_LENGTH
    ].strip()
    return "" if PERSONAL_DATA.search(words) else words


Kind = Pick.Kind
# Picks on this site are shown once as many people made them: of an item, of a keyword.
MIN_PEOPLE = 5
MIN_POPULAR = 5  # picks of the results of a search, to call some of them popular
MAX_AT_ONCE = 1_000
MAX_POPULAR = 2_000
POPULAR_CACHE_S = 3_600
WRITE_BATCH = 200


def is_known(dataset: Dataset, ids: Iterable[int] | None = None) -> bool:
    """Return whether counts of any item of the dataset, or of any of these, are shown.

    Of a whole dataset, one that nearly is may count.
    """
    conversions, picks = dataset.conversions.all(), dataset.picks.all()
    if ids is not None:
        items = _as_ints(ids)
        conversions = conversions.filter(item__in=items)
        picks = picks.filter(item__in=items)
    enough = picks.values("item").annotate(people=Sum("count"))
    return conversions.exists() or enough.filter(people__gte=MIN_PEOPLE).exists()


def counts(dataset: Dataset, ids: Iterable[int]) -> dict[int, int]:
    """Return how often items were picked, by id, without those that were too rarely.

    Of a person, all picks of an item count once.
    """
    return dict(_sum(dataset, _as_ints(ids), "item"))


def keywords(
    dataset: Dataset, ids: Iterable[int], top: int = 5
) -> list[tuple[str, int]]:
    """Return the keywords after which these items were picked most, and how often."""
    found = _sum(dataset, _as_ints(ids), "keyword")
    del found[""]
    return sorted(found.items(), key=lambda each: (-each[1], each[0]))[:top]


def popular(dataset: Dataset, text: str, most: int) -> list[str]:
    """Return the keywords picked most that begin with a text and are longer.

    Of the MAX_POPULAR of a dataset, which are counted once in POPULAR_CACHE_S.
    """
    key = f"popular:{dataset.pk}"
    known = cache.get(key)
    if known is None:
        found = _sum(dataset, None, "keyword")
        del found[""]
        known = [word for word, _ in found.most_common(MAX_POPULAR)]
        cache.set(key, known, POPULAR_CACHE_S)
    start = in_small_letters(text)
    longer = (word for word in known if word.startswith(start) and word != start)
    return list(islice(longer, most))


def record(
    dataset_slug: str, ids: Iterable[int], words: str, kind: str, person: str
) -> None:
    """Count items as picked after a search; `words` is the text of its box.

    `kind` is one of Pick.Kind; `person` names an account or an address, of which only a
    hash is stored. More than MAX_AT_ONCE items at once are no picks, and those of an
    unknown dataset are not counted.
    """
    wanted = sorted(set(_as_ints(ids)))
    dataset = Dataset.objects.filter(slug=dataset_slug).first()
    if dataset is None or len(wanted) > MAX_AT_ONCE:
        return
    keyword = published_keywords(words)
    digest = salted_hmac("search.picks", person, algorithm="sha256").digest()
    name = urlsafe_b64encode(digest[:16]).decode().rstrip("=")
    for start in range(0, len(wanted), WRITE_BATCH):
        _count(dataset, wanted[start : start + WRITE_BATCH], keyword, kind, name)


def _count(
    dataset: Dataset, ids: list[int], keyword: str, kind: str, person: str
) -> None:
    """Count a person once for each item, in the same order: that prevents deadlocks."""
    pick = {"dataset": dataset, "keyword": keyword, "kind": kind}
    Pick.objects.bulk_create(
        [Pick(item=item_id, **pick) for item_id in ids], ignore_conflicts=True
    )
    with transaction.atomic():
        rows = Pick.objects.filter(item__in=ids, **pick).order_by("item")
        keys = list(rows.select_for_update().values_list("pk", flat=True))
        known = Picker.objects.filter(pick__in=keys, person=person)
        new = set(keys) - set(known.values_list("pick", flat=True))
        Picker.objects.bulk_create(Picker(pick_id=key, person=person) for key in new)
        Pick.objects.filter(pk__in=new).update(count=F("count") + 1)


def _sum(dataset: Dataset, ids: list[int] | None, by: str) -> Counter[Any]:
    """Sum the picks of items, or of all, by the values of a field, `by`.

    Those are imported picks, and people who picked here.
    """
    imported = Conversion.objects.filter(dataset=dataset)
    here = Picker.objects.filter(pick__dataset=dataset)
    if ids is not None:
        imported = imported.filter(item__in=ids)
        here = here.filter(pick__item__in=ids)
    total: Counter[Any] = Counter()
    total.update(dict(imported.values_list(by).annotate(total=Sum("count"))))
    people = here.values_list(f"pick__{by}").annotate(
        people=Count("person", distinct=True)
    )
    total.update(dict(people.filter(people__gte=MIN_PEOPLE)))
    return total


def _as_ints(ids: Iterable[int]) -> list[int]:
    return [int(item_id) for item_id in ids]
