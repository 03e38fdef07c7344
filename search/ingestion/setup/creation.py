"""Create datasets, for pages, command and API: checks, and the start of the import."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping

from django.contrib.auth.models import Group, User
from django.db import IntegrityError, transaction
from django.db.models import Model
from django.utils.text import slugify

from search.clickhouse import client, schema
from search.errors import InvalidQuery, SearchError, SearchUnavailable, UnknownModel
from search.ingestion import control, validation
from search.models import Dataset, Training
from search.models.registry import own_field

from . import folders, uploads
from .contents import Contents
from .model_choices import check_model
from .recognition import recognize

SLUG_TAKEN = "There is a dataset of this name already."
NO_SOURCE = "Choose a folder or a file, or write an address."
NO_MODEL = "Choose a model, or write its name."
HAS_ITEMS = "Its images are embedded already: add a dataset with another model instead."
# Who may see a dataset: by field, the model and its names.
ACCESS: Mapping[str, tuple[type[Model], str]] = {
    "allowed_users": (User, "username"),
    "allowed_groups": (Group, "name"),
}
Access = Mapping[str, Iterable[Model]]
FALLBACK = "dataset"  # of titles without a letter that an address can have


class Refused(InvalidQuery):
    """A dataset that cannot be created as it is: a sentence for each field."""

    def __init__(self, errors: dict[str, str]):
        super().__init__(next(iter(errors.values())))
        self.errors = errors


def look(dataset: Dataset, *, is_local: bool, kind: str = "") -> Contents:
    """Return what is at the source of a dataset, whose kind is set by it.

    `is_local`: for somebody who may run commands here, so that INGEST_FOLDERS do not
    matter. Raises SearchError with a sentence on the source.
    """
    if not dataset.source:
        raise InvalidQuery(NO_SOURCE)
    if not is_local:
        check_place(dataset.source)
    contents = recognize(dataset, kind)
    dataset.kind = contents.kind
    if contents.kind == Dataset.Kind.PARQUET:
        named = {**dataset.columns}
        named.setdefault("embedding", contents.roles["embedding"])
        dataset.columns = named
    return contents


def check_place(source: str) -> None:
    """Raise SearchError for a source out of INGEST_FOLDERS that no dataset has yet."""
    if not is_address(source) and not Dataset.objects.filter(source=source).exists():
        folders.check(source)


def is_address(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def check(
    dataset: Dataset, contents: Contents | None = None, *, starts: bool = False
) -> None:
    """Set the dimension, and check all of a new dataset. Raises Refused.

    With `starts`, also that its import could begin.
    """
    if Dataset.objects.filter(slug=dataset.slug).exists():
        raise Refused({"slug": SLUG_TAKEN})
    try:
        dataset.dimension = check_model(dataset, contents)
    except SearchError as error:
        raise Refused({"model": error.message}) from error
    errors = {field: texts[0] for field, texts in validation.problems(dataset).items()}
    if contents and contents.question:
        errors.setdefault("columns", contents.question)
    if errors:
        raise Refused(errors)
    if starts:
        try:
            control.check_removal_list(dataset)
        except InvalidQuery as error:
            raise Refused({"without_removal_list": error.message}) from error


def complete(dataset: Dataset, given: Collection[str], *, is_local: bool) -> None:
    """Check the source and the model of a dataset by what is there. Raises Refused.

    Kind and dimension, unless they are `given`, become those of source and model. What
    is at an address is not looked at.
    """
    if dataset.source and not is_address(dataset.source):
        wanted = dataset.kind if "kind" in given else ""
        try:
            contents = look(dataset, is_local=is_local, kind=wanted)
        except SearchError as error:
            raise Refused({"source": error.message}) from error
        if wanted not in ("", contents.kind):
            what = f"{contents.what} at the source: the kind is {contents.kind}."
            raise Refused({"kind": what})
        if contents.question:
            raise Refused({"columns": contents.question})
        _set_dimension(dataset, contents.dimension, given)
    if dataset.kind == Dataset.Kind.IMAGES:
        try:
            dimension = check_model(dataset)
        except UnknownModel as error:
            raise Refused({"model": error.message}) from error
        _set_dimension(dataset, dimension, given)


def _set_dimension(
    dataset: Dataset, dimension: int | None, given: Collection[str]
) -> None:
    if not dimension or dimension == dataset.dimension:
        return
    if "dimension" in given:
        raise Refused({"dimension": f"The vectors have {dimension} numbers."})
    dataset.dimension = dimension


def find_access(names: Mapping[str, Iterable[str]]) -> Access:
    """Return the users and groups of these names, by field. Raises Refused."""
    access = {}
    for field, wanted in names.items():
        model, key = ACCESS[field]
        unique = dict.fromkeys(wanted)
        found = list(model._default_manager.filter(**{f"{key}__in": unique}))
        known = {getattr(row, key) for row in found}
        if missing := [name for name in unique if name not in known]:
            what = f"There is no {model._meta.model_name} “{missing[0]}”."
            raise Refused({field: what})
        access[field] = found
    return access


def grant(dataset: Dataset, access: Access) -> None:
    """Set who may see a stored dataset; other fields of it stay."""
    for field, rows in access.items():
        getattr(dataset, field).set(rows)


def create(dataset: Dataset, access: Access | None = None) -> Dataset:
    """Store a checked dataset. Raises Refused if its slug was taken meanwhile."""
    name_tables(dataset)
    try:
        with transaction.atomic():
            dataset.save()
            grant(dataset, access or {})
    except IntegrityError as error:
        raise Refused({"slug": SLUG_TAKEN}) from error
    return dataset


def name_tables(dataset: Dataset) -> None:
    """Name the tables of a new dataset as none in the engine is named.

    There may be one that no ledger knows, as from before a backup was restored.
    """
    dataset.choose_tables()
    try:
        # The server may have the embedded engine open, where a command cannot look.
        is_taken = bool(client.locked_by()) or schema.exists(dataset.item_table)
    except SearchUnavailable:
        is_taken = True
    if is_taken:
        dataset.choose_tables(is_taken=True)


def create_and_start(dataset: Dataset, access: Access | None = None) -> int:
    """Store a checked dataset and queue its shards; return how many there are.

    Raises SearchUnavailable without an engine, Refused or ShardUnreadable; then there
    is no dataset.
    """
    client.ping()
    with transaction.atomic():
        create(dataset, access)
        shards = control.discover_shards(dataset)
    control.queue(dataset, dataset.shards.all())
    return shards


def change_model(dataset: Dataset, model: str, weights: str) -> int:
    """Give a dataset without items another model, and start its import anew.

    Returns the number of shards queued. Raises InvalidQuery or SearchUnavailable.
    """
    if dataset.item_count():
        raise InvalidQuery(HAS_ITEMS)
    if not model:
        raise InvalidQuery(NO_MODEL)
    client.ping()
    dataset.model, dataset.weights = model, weights
    dataset.dimension = check_model(dataset)
    errors = validation.problems(dataset)
    if errors:
        raise InvalidQuery(next(iter(errors.values()))[0])
    control.pause(dataset.shards.all())
    control.cancel(dataset.shards.all())
    # What decides the tables of rows that came and went.
    schema.drop(dataset.item_table)
    Training.objects.filter(dataset=dataset).delete()
    dataset.image_mean = dataset.text_mean = None
    dataset.save()
    return control.queue(dataset, dataset.shards.all())


def free_slug(title: str) -> str:
    """Return a slug for a title that no dataset has: "my-photos-2"."""
    longest = own_field(Dataset, "slug").max_length or 0
    plain = unicodedata.normalize("NFKD", title)
    base = slugify(plain)[:longest].strip("-_") or FALLBACK
    taken = set(Dataset.objects.values_list("slug", flat=True))
    slug, number = base, 1
    while slug in taken:
        number += 1
        slug = f"{base[: longest - len(str(number)) - 1]}-{number}"
    return slug


def title_of(source: str) -> str:
    """Return a title for a source: "Holiday photos" for /data/holiday_photos/."""
    name = uploads.name_of(source) or source.rstrip("/").rpartition("/")[2]
    name = re.sub(r"[*?\[\]]", "", name)
    stem = re.sub(r"\.[A-Za-z0-9]{1,8}$", "", name)
    words = " ".join(re.sub(r"[_-]+", " ", stem).split())
    return words[:1].upper() + words[1:120]
