"""The fields of a dataset that is being added, which go from step to step.

All are optional and kept as they were typed: search.ingestion.setup checks them.
"""

from collections.abc import Iterator
from functools import cached_property

from django import forms
from django.http import QueryDict

from search.ingestion.setup import creation
from search.ingestion.sources.tables import NAMES
from search.models import Dataset
from search.models.registry import own_field
from search.query.ratings import NAMES as RATINGS

SOURCE_FIELDS = (
    "source",
    "kind",
    "shard_range",
    "image_pattern",
    "text_pattern",
    "metadata_pattern",
)
MAX_LENGTH = 2_000
COLUMN = "column_"  # prefix of the columns of roles
SEPARATOR = "|"  # of a model and its weights
OTHER_MODEL = "other"  # the choice of a model that is typed


def _text(initial: str = "") -> forms.CharField:
    return forms.CharField(required=False, max_length=MAX_LENGTH, initial=initial)


class DraftForm(forms.Form):
    """A dataset as far as it was described; bound to the GET or POST of a step."""

    data: QueryDict

    kind = _text()
    source = _text()
    shard_range = _text()
    image_pattern = _text()
    text_pattern = _text()
    metadata_pattern = _text()
    title = _text()
    description = _text()
    license = _text()
    visibility = _text()
    allowed_users = _text()
    allowed_groups = _text()
    slug = _text()
    model = _text()
    other_model = _text()
    other_weights = _text()
    safety = _text()
    without_removal_list = forms.BooleanField(required=False)

    @cached_property
    def given(self) -> dict[str, str]:
        """The texts as they were typed, without white space around; "" if missing."""
        return {name: self.data.get(name, "").strip() for name in self.fields}

    @property
    def columns(self) -> dict[str, str]:
        """The columns by role, where one was chosen."""
        chosen = {role: self.data.get(f"{COLUMN}{role}", "") for role in NAMES}
        return {role: name[:200] for role, name in chosen.items() if name}

    @property
    def ratings(self) -> dict[str, str]:
        """The meanings of ratings, by the value, where one was chosen."""
        values = self.data.getlist("rating")
        meanings = self.data.getlist("meaning")
        pairs = zip(values, meanings, strict=False)
        return {value: meaning for value, meaning in pairs if meaning in RATINGS}

    @property
    def is_remote(self) -> bool:
        return creation.is_address(self.given["source"])

    @property
    def chosen_model(self) -> tuple[str, str]:
        """The model and its weights, or "" for none."""
        if self.given["model"] == OTHER_MODEL:
            return self.given["other_model"], self.given["other_weights"]
        model, _, weights = self.given["model"].partition(SEPARATOR)
        return model, weights

    @property
    def access(self) -> dict[str, list[str]]:
        """The names of those who may see the dataset, by field, if they are chosen."""
        if self.given["visibility"] != Dataset.Visibility.CHOSEN:
            return {}
        return {
            name: [each.strip() for each in self.given[name].split(",") if each.strip()]
            for name in ("allowed_users", "allowed_groups")
        }

    def dataset(self) -> Dataset:
        """Return the dataset as it would be, not stored and not checked."""
        given = self.given
        dataset = Dataset(source=given["source"], columns=self.columns)
        for name in ("shard_range", "image_pattern", "metadata_pattern"):
            if given[name]:
                setattr(dataset, name, given[name])
        if "text_pattern" in self.data:  # "" says that there are no text embeddings
            dataset.text_pattern = given["text_pattern"]
        dataset.ratings = {"values": self.ratings} if self.ratings else {}
        dataset.title = given["title"] or creation.title_of(given["source"])
        dataset.slug = given["slug"] or creation.free_slug(dataset.title)
        dataset.model, dataset.weights = self.chosen_model
        dataset.description, dataset.license = given["description"], given["license"]
        for name in ("safety", "visibility"):
            initial = own_field(Dataset, name).get_default()
            setattr(dataset, name, given[name] or initial)
        dataset.without_removal_list = bool(given["without_removal_list"])
        return dataset

    def hidden(self, *but: str) -> Iterator[tuple[str, str]]:
        """Yield names and values of what is kept by other steps than its own."""
        for name, value in self.given.items():
            if name not in but and (value or name in self.data):
                yield name, value
        if COLUMN not in but:
            for role, column in self.columns.items():
                yield f"{COLUMN}{role}", column
        if "rating" not in but:
            for value, meaning in self.ratings.items():
                yield "rating", value
                yield "meaning", meaning
