"""The state of an export in words, for its page and the API."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.template.defaultfilters import pluralize

from search.models import Dataset
from search.query.filters import Filters
from search.query.model import split_slugs

from ..models import Export
from ..models.ownership import AnyUser
from . import storage
from .forms import FORMAT_LABELS

State = Export.State
# Why items are left out: the manifest's key and the words of the page.
LEFT_OUT = {
    "removed": "removed",
    "gone": "no longer there",
    "nsfw": "NSFW",
    "duplicates": "near-duplicate{}",
    "no_address": "without a public URL",
}
FIELDS = {"text": " with captions", "both": " with images or captions"}


def progress_share(export: Export) -> float | None:
    """Return the progress from 0 to 1; None where it is not known."""
    if export.state in (State.DONE, State.EXPIRED):
        return 1.0
    if not export.to_look_at:
        return 0.0 if export.to_look_at == 0 or not export.looked_at else None
    return min(1.0, export.looked_at / export.to_look_at)


@dataclass(frozen=True)
class ExportStatus:
    """An export in words; `titles` are the titles of datasets, by slug."""

    export: Export
    titles: dict[str, str]

    @property
    def kind(self) -> str:
        return self.export.asked.get("kind", "")

    @property
    def form(self) -> str:
        form, _ = FORMAT_LABELS.get(self.export.asked.get("form", ""), ("", ""))
        return f"{form} with embeddings" if self._with_embeddings else form

    @property
    def _with_embeddings(self) -> bool:
        return bool(self.export.asked.get("with_embeddings"))

    @property
    def source(self) -> str:
        """A short description of what is exported."""
        what = self.export.asked.get("what", {})
        slug = what.get("dataset", "")
        slugs = split_slugs(slug)
        title = " and ".join(self.titles.get(slug, slug) for slug in slugs)
        by = FIELDS.get(what.get("field", ""), "")
        source = {
            "collection": "A collection",
            "search": f"Up to {what.get('limit', 0):,} results of a search in {title}",
            "concept": (
                f"Items of {title}{by} at least {what.get('at_least', 0):g} "
                "similar to a concept"
            ),
            "dataset": "A dataset",
        }.get(self.kind, "")
        return f"{source}, filtered" if self._is_filtered else source

    @property
    def _is_filtered(self) -> bool:
        stored = self.export.asked.get("what", {}).get("filters", {})
        return bool(Filters.from_dict(stored).chosen.keys() - {"dedupe"})

    @property
    def is_active(self) -> bool:
        return self.export.state in (State.QUEUED, State.RUNNING)

    @cached_property
    def files(self) -> list[dict[str, Any]]:
        return storage.listed(self.export)

    @property
    def left_out(self) -> list[str]:
        """The counts of items that are left out, with reasons, in words."""
        counts = self.export.manifest.get("counts", {}).get("left_out", {})
        return [
            f"{count:,} {LEFT_OUT.get(reason, reason).format(pluralize(count))}"
            for reason, count in counts.items()
            if count
        ]

    @property
    def percent(self) -> int | None:
        share = progress_share(self.export)
        return None if share is None else int(100 * share)


def status_of(exports: list[Export], user: AnyUser) -> list[ExportStatus]:
    slugs = {
        slug
        for export in exports
        for slug in split_slugs(export.asked.get("what", {}).get("dataset", ""))
    }
    found = Dataset.objects.visible_to(user).filter(slug__in=slugs)
    titles = dict(found.values_list("slug", "title"))
    return [ExportStatus(export, titles) for export in exports]
