"""The words of a dataset's captions: completions of a word, and corrections."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from search.models import Dataset, DatasetProfile
from search.query.words import RUN, indexed_words

# Names of quantiles in DatasetProfile.noise.
LOW, MIDDLE = "low", "middle"
MIN_CORRECTED = 4  # letters; shorter words are within one letter of too many others
MAX_ALPHABET = 80
CACHED = 32  # vocabularies, of up to 50,000 words


@dataclass(frozen=True)
class Vocabulary:
    """The words of captions and the number of captions that have them."""

    counts: dict[str, int]

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self.counts)

    @cached_property
    def _alphabet(self) -> str:
        """The letters that most words have."""
        letters: dict[str, int] = {}
        for word in self.counts:
            for letter in word:
                letters[letter] = letters.get(letter, 0) + 1
        return "".join(sorted(letters, key=lambda each: -letters[each])[:MAX_ALPHABET])

    def completions(self, start: str, most: int) -> list[str]:
        """Return the most frequent words that begin with some letters."""
        words = self._sorted
        first = bisect_left(words, start)
        last = bisect_left(words, start + "\U0010ffff")
        found = (word for word in words[first:last] if word != start)
        return sorted(found, key=lambda word: -self.counts[word])[:most]

    def correction(self, word: str) -> str:
        """Return the most frequent word that is one letter off; "" for a known word.

        Off are a letter too many, a missing or another one, and two in turned order
        (the optimal string alignment distance). Scripts without spaces have no words
        to correct.
        """
        if len(word) < MIN_CORRECTED or word in self.counts or RUN.search(word):
            return ""
        near = {each for each in self._neighbours(word) if each in self.counts}
        if any(each.startswith(word) or word.startswith(each) for each in near):
            return ""  # endings, as of a plural, are no misspelling
        # A word with another first letter is rarely the one that was meant.
        return max(
            near, key=lambda each: (each[0] == word[0], self.counts[each]), default=""
        )

    def _neighbours(self, word: str) -> Iterator[str]:
        letters = self._alphabet
        for place in range(len(word) + 1):
            start, end = word[:place], word[place:]
            for letter in letters:
                yield start + letter + end
                if end:
                    yield start + letter + end[1:]
            if end:
                yield start + end[1:]
            if len(end) > 1:
                yield start + end[1] + end[0] + end[2:]


def of(datasets: Iterable[Dataset]) -> list[Vocabulary]:
    """Return the vocabularies of datasets that have been profiled."""
    rows = DatasetProfile.objects.filter(dataset__in=list(datasets), rows__gt=0)
    versions = rows.order_by("dataset").values_list("pk", "measured_at")
    return [_load(pk, measured_at) for pk, measured_at in versions]


@lru_cache(CACHED)
def _load(pk: int, _measured_at: Any) -> Vocabulary:
    text = DatasetProfile.objects.values_list("words", flat=True).get(pk=pk)
    lines = (line.rpartition(" ") for line in text.splitlines())
    return Vocabulary({word: int(count) for word, _, count in lines})


def complete(vocabularies: Sequence[Vocabulary], text: str, most: int) -> list[str]:
    """Return texts whose last word is completed, which none of the others is."""
    before, space, last = text.rpartition(" ")
    start = indexed_words(last).strip()
    if not start or " " in start or RUN.search(start):
        return []
    found: dict[str, int] = {}
    for vocabulary in vocabularies:
        for word in vocabulary.completions(start, most):
            found[word] = found.get(word, 0) + vocabulary.counts[word]
    best = sorted(found, key=lambda word: -found[word])[:most]
    return [f"{before}{space}{word}" for word in best]


def corrected(vocabularies: Sequence[Vocabulary], words: str) -> str:
    """Return a text with the words corrected that no caption has; "" if none is."""
    if not vocabularies:
        return ""
    changed = [_correct(vocabularies, word) for word in words.split(" ")]
    text = " ".join(changed)
    return text if text != words else ""


def _correct(vocabularies: Sequence[Vocabulary], word: str) -> str:
    token = indexed_words(word).strip()
    if not token or token != word.casefold() or is_known(vocabularies, token):
        return word  # with signs in it, it is no plain word
    corrections = (each.correction(token) for each in vocabularies)
    return next(filter(None, corrections), word)


def is_known(vocabularies: Sequence[Vocabulary], token: str) -> bool:
    return any(token in vocabulary.counts for vocabulary in vocabularies)


def noise_of(dataset: Dataset, field: str) -> dict[str, float]:
    """Return the quantiles of a field; {} where they are not known."""
    noise = DatasetProfile.objects.filter(dataset=dataset).values_list(
        "noise", flat=True
    )
    return (noise.first() or {}).get(field, {})
