"""The words over a page of results: how many there are, and what is hidden."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from search.query.filters import SPECS, Filters
from search.retrieval.matching import filter_selectivity
from search.retrieval.service import Page

from .chips import Chip, SearchReading

THINGS = {"image": "images", "text": "captions", "both": "images and captions"}


@dataclass(frozen=True)
class Note:
    """Some words, and the URL of a search that changes what they are about, or ""."""

    words: str
    address: str = ""


def headline(
    reading: SearchReading,
    chips: list[Chip],
    page: Page,
    similarities: np.ndarray | None,
) -> str:
    """Return the line over the results.

    `similarities` of the nearest items, as in the functions below, are those of a
    search with a cutoff.
    """
    count = f"{reading.item_count():,}"
    things = THINGS[reading.form.params["field"]]
    is_all = not page.next and not reading.form.params["cursor"]
    if is_all and _narrowing(chips):
        shown = len(page.hits)
        return f"{shown} image{'s match' if shown > 1 else ' matches'}"
    order = {
        "size": ", largest first",
        "popularity": ", most popular first",
    }.get(reading.form.params["sort"], "")
    cut = [chip.filters["cutoff"] for chip in chips if "cutoff" in chip.filters]
    if cut and similarities is not None:
        reaching = int(np.count_nonzero(similarities >= cut[0]))
        top = f"top {len(similarities):,} {things}"
        return f"{reaching:,} of the {top} reach similarity {cut[0]:g}"
    if page.matching is None:
        return f"Top matches from {count} {things}{order}"
    about = "about " if page.matching.estimated else ""
    matching = f"{about}{page.matching.items:,} {things} that match the filters"
    return f"Top matches from {matching}, of {count}{order}"


def hidden_notes(reading: SearchReading, page: Page) -> Iterator[Note]:
    """Yield notes on hidden items above the last result, with links to show them."""
    if count := page.hidden.nsfw:
        yield Note(f"{count:,} NSFW hidden", reading.changed("nsfw", "any"))
    if count := page.hidden.duplicates:
        folded = f"{count:,} near-duplicate{'s' if count > 1 else ''} hidden"
        yield Note(folded, reading.changed("dedupe", "no"))
    if count := page.hidden.removed:
        yield Note(f"{count:,} removed")


def hidden_by_chip(
    chip: Chip, reading: SearchReading, similarities: np.ndarray | None
) -> str:
    """Return how many images a filter hides by itself, where that is known, or ""."""
    if not _narrowing([chip]):
        return ""
    if "cutoff" in chip.filters and similarities is not None:
        below = int(np.count_nonzero(similarities < chip.filters["cutoff"]))
        return f"hides {below:,} of the top {len(similarities):,}"
    filters = Filters(**chip.filters)
    count = round(
        sum(
            (1 - filter_selectivity(dataset, filters)) * dataset.item_count()
            for dataset in reading.datasets
        )
    )
    return f"hides about {count:,}" if count else "no effect"


def no_results_notes(
    reading: SearchReading,
    chips: list[Chip],
    page: Page,
    similarities: np.ndarray | None,
) -> tuple[Note, ...]:
    """Return the reason first, then what may help."""
    title, count = reading.titles, reading.item_count()
    narrowing = _narrowing(chips)
    remedies = [Note(f"Without “{chip.label}”", chip.without) for chip in narrowing]
    if not count:
        return (Note(f"{title} has no images yet."),)
    if page.hidden.nsfw:
        show = Note("Show them", reading.changed("nsfw", "any"))
        return (Note("All results are marked NSFW."), show, *remedies)
    if cut := _cut_off(narrowing, similarities):
        return (cut, *remedies)
    if not narrowing:
        return (Note(f"None of the {count:,} images in {title} can be shown."),)
    if len(narrowing) == 1:
        reason = f"None of the {count:,} images in {title} match the filter."
    else:
        reason = f"None of the {count:,} images in {title} match all filters."
    return (Note(reason), *remedies)


def _cut_off(narrowing: list[Chip], similarities: np.ndarray | None) -> Note | None:
    """Return the reason if all results are below the cutoff."""
    cutoffs = [chip.filters["cutoff"] for chip in narrowing if "cutoff" in chip.filters]
    if not cutoffs or similarities is None or not len(similarities):
        return None
    nearest = float(similarities.max())
    reason = f"No image reaches similarity {cutoffs[0]:g}"
    return Note(f"{reason}: the closest image has {nearest:.3f}.")


def _narrowing(chips: list[Chip]) -> list[Chip]:
    """Return the chips of filters that leave images out for what they are."""
    return [
        chip for chip in chips if any(SPECS[name].is_narrowing for name in chip.filters)
    ]
