"""The registry of datasets, and their evaluations."""

import re
import time
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.core.validators import (
    MaxValueValidator,
    MinValueValidator,
    RegexValidator,
)
from django.db import models
from django.urls import reverse

from search.clickhouse.schema import CLUSTERS, GRAPH, ItemTable
from search.clustering.curves import Curve
from search.errors import NotFound
from search.links import link_of
from search.query.filters import HIDE_ALL, LAST_ITEM, UNRESTRICTED
from search.query.model import FIELDS
from search.query.ratings import SAFE, UNSAFE

from .ledger import Shard
from .visibility import DatasetManager, DatasetQuerySet, Viewer

SLUG = r"\A[a-z0-9][a-z0-9_-]*\Z"
TERMS_OF_SLUG = (
    "A slug has small letters, digits, - and _, and starts with a letter or a digit."
)


KEPT = timedelta(hours=24)  # for which a deleted dataset can be restored


def own_field(model: type[models.Model], name: str) -> models.Field:
    """Return a field that the model declares, not a reverse relation."""
    field = model._meta.get_field(name)
    assert isinstance(field, models.Field)
    return field


def first_revision() -> int:
    """Return the time in µs: a dataset dropped before had no revision as high."""
    return time.time_ns() // 1_000


class Dataset(models.Model):
    """A named searchable corpus, embedded by one model; it has one ClickHouse table."""

    class Metric(models.TextChoices):
        COSINE = "cosineDistance", "cosine"
        L2 = "L2Distance", "L2"

    class Index(models.TextChoices):
        CLUSTERS = CLUSTERS, "clusters"
        GRAPH = GRAPH, "graph (HNSW)"

    class Quantization(models.TextChoices):
        BF16 = "bf16", "bf16"
        I8 = "i8", "i8, with rescoring"

    class Kind(models.TextChoices):
        LAION = "laion", "LAION shards: embeddings and metadata"
        IMAGES = (
            "images",
            "Images: a list of their addresses, a folder, tar or Parquet files",
        )
        PARQUET = "parquet", "Parquet files with embeddings"

    class Safety(models.TextChoices):
        LABELLED = "labelled", "As its images are rated; blur those that are not"
        SAFE = "safe", "Safe: show all images, rated or not"
        UNSAFE = "unsafe", "Unsafe: blur all images, and hide them in safe mode"

    # What a dataset says of all its images.
    RATINGS: ClassVar = {Safety.SAFE.value: SAFE, Safety.UNSAFE.value: UNSAFE}

    class Visibility(models.TextChoices):
        PUBLIC = "public", "Everybody"
        SIGNED_IN = "signed_in", "Signed-in users"
        CHOSEN = "chosen", "Chosen people and groups"

    slug = models.CharField(
        max_length=40,
        unique=True,
        validators=[RegexValidator(SLUG, TERMS_OF_SLUG)],
        help_text="Names the dataset in addresses and its table in ClickHouse.",
    )
    title = models.CharField(max_length=120)
    description = models.TextField(
        max_length=4_000, blank=True, help_text="What the images are, and from where."
    )
    license = models.CharField(
        max_length=200,
        blank=True,
        help_text="Of the dataset as a whole, such as CC BY 4.0.",
    )
    cover = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(LAST_ITEM)],
        help_text="The id of the item whose image stands for the dataset.",
    )
    safety = models.CharField(
        max_length=8,
        choices=Safety.choices,
        default=Safety.LABELLED,
        help_text="What is known of its images: labelled (each has a rating, and those "
        "without one are blurred), safe or unsafe as a whole.",
    )
    visibility = models.CharField(
        max_length=9,
        choices=Visibility.choices,
        default=Visibility.PUBLIC,
        help_text="Who may see the dataset and its images. Staff sees all datasets.",
    )
    allowed_users = models.ManyToManyField(
        settings.AUTH_USER_MODEL,
        blank=True,
        related_name="+",
        help_text="Who may see it, if only chosen people and groups may.",
    )
    allowed_groups = models.ManyToManyField(
        "auth.Group",
        blank=True,
        related_name="+",
        help_text="Whose members may see it, if only chosen people and groups may.",
    )
    model = models.CharField(
        max_length=200,
        default="ViT-B-32-quickgelu",
        help_text="An open_clip architecture, or local-dir:FOLDER for one with its own "
        "configuration. LAION-400M was embedded by ViT-B-32-quickgelu, weights openai.",
    )
    weights = models.CharField(
        max_length=200,
        blank=True,
        default="openai",
        help_text="A tag of open_clip, or a file; empty for local-dir:FOLDER.",
    )
    dimension = models.PositiveIntegerField(
        default=512, validators=[MinValueValidator(1)]
    )
    metric = models.CharField(
        max_length=20, choices=Metric.choices, default=Metric.COSINE
    )
    index = models.CharField(
        max_length=8,
        choices=Index.choices,
        default=Index.CLUSTERS,
        help_text="What is searched: clusters, the default, need no memory, find more, "
        "and take any filter; a graph answers in the fewest milliseconds while it fits "
        "into memory.",
    )
    index_connections = models.PositiveIntegerField(
        default=32,
        validators=[MinValueValidator(2)],
        help_text="Edges of a node in the HNSW graph (M).",
    )
    index_construction = models.PositiveIntegerField(
        default=64,
        validators=[MinValueValidator(1)],
        help_text="Candidates looked at when a node is added (ef_construction).",
    )
    index_quantization = models.CharField(
        max_length=4,
        choices=Quantization.choices,
        default=Quantization.BF16,
        help_text="How exactly the graph keeps vectors. With i8 it takes half of the "
        "memory; what it finds is compared anew with the vectors of the table.",
    )
    shards_per_partition = models.PositiveIntegerField(
        choices=[(1 << bits, str(1 << bits)) for bits in range(8)],
        default=4,
        help_text="Shards that share one part of each table. Each part costs a search "
        "time, so 410 shards want 32. A graph of a part is built in memory: about 2 kB "
        "a row and field at 512 dimensions.",
    )
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.LAION)
    source = models.CharField(
        max_length=500,
        blank=True,
        help_text="A folder, a file or a pattern such as /data/photos.tsv* on the "
        "server, or an address https://host/path/embeddings.",
    )
    shard_range = models.CharField(
        max_length=200,
        blank=True,
        help_text="Which shards an address has, such as 0-409 or 0,3,7-9.",
    )
    image_pattern = models.CharField(
        max_length=200, default="img_emb/img_emb_{n}.npy", blank=True
    )
    text_pattern = models.CharField(
        max_length=200, default="text_emb/text_emb_{n}.npy", blank=True
    )
    metadata_pattern = models.CharField(
        max_length=200, default="metadata/metadata_{n}.parquet", blank=True
    )
    columns = models.JSONField(
        default=dict,
        blank=True,
        help_text="Which column of the source is what, where the names differ: "
        '{"url": "photo_image_url", "caption": "photo_description"}. Parquet files '
        'have "embedding" and perhaps "text_embedding"; without, captions cannot be '
        "searched.",
    )
    ratings = models.JSONField(
        default=dict,
        blank=True,
        help_text="What the values of the column nsfw mean, where they are not known: "
        '{"values": {"all ages": "safe", "R-15": "unsure", "R-18": "unsafe"}}; or from '
        'which number on an image is unsafe: {"threshold": 0.3}. It holds for shards '
        "that come in from now on.",
    )
    keep_files = models.BooleanField(
        default=False, help_text="Keep fetched shards after they have come in."
    )
    without_removal_list = models.BooleanField(
        default=False,
        help_text="Import LAION shards without a removal list. LAION contains links to "
        "illegal images; removal lists exist.",
    )
    # Of the embeddings, as ItemTable has them. Null until the first rows come: "" is no
    # mean.
    image_mean = models.TextField(null=True, editable=False)  # noqa: DJ001
    text_mean = models.TextField(null=True, editable=False)  # noqa: DJ001
    # Goes up whenever a process has to load the centroids or the sizes of clusters.
    index_revision = models.PositiveBigIntegerField(
        default=first_revision, editable=False
    )
    # By field, the curves of kinds of queries, as evaluation.calibration measures them:
    # {"rows": 9, "version": 1, "measured": "2026-…", "words": {}, "pictures": {}}.
    calibration = models.JSONField(default=dict, editable=False)
    # Rows that the ledger has and the engine has not: {"rows": 40, "partitions": [0]}.
    missing = models.JSONField(default=dict, editable=False)
    # Whether all rows have their words; if not, `dataset reindex` fills them.
    words_indexed = models.BooleanField(default=True, editable=False)
    # In the names of its tables. The slug may become another dataset's, this never.
    table_slug = models.CharField(
        max_length=60, unique=True, blank=True, editable=False
    )
    created_at = models.DateTimeField(auto_now_add=True)
    # Of a dataset that may be restored; its slug is `deleted_slug` then.
    deleted_at = models.DateTimeField(null=True, db_index=True, editable=False)
    deleted_slug = models.CharField(max_length=40, blank=True, editable=False)

    objects = DatasetManager()
    everything = DatasetQuerySet.as_manager()  # with those that are deleted

    class Meta:
        ordering = ["created_at", "pk"]

    def __str__(self) -> str:
        return self.title

    def save(self, *args: Any, **options: Any) -> None:
        """Store the dataset; a new one gets tables that no other has or had."""
        if not self.table_slug:
            self.choose_tables()
        super().save(*args, **options)

    def get_absolute_url(self) -> str:
        return reverse("dataset", args=[self.slug])

    def choose_tables(self, *, is_taken: bool = False) -> None:
        """Name the tables after the slug, with a number where that `is_taken`."""
        self.table_slug = self.slug
        others = Dataset.everything.exclude(pk=self.pk)
        if is_taken or others.filter(table_slug=self.slug).exists():
            self.table_slug = f"{self.slug}_{first_revision():x}"

    @property
    def restorable_until(self) -> datetime | None:
        """When a deleted dataset is dropped for good."""
        return self.deleted_at and self.deleted_at + KEPT

    @classmethod
    def is_valid_slug(cls, slug: str) -> bool:
        """Return whether a slug is well-formed, without querying the database."""
        longest = own_field(cls, "slug").max_length or 0
        return len(slug) <= longest and re.match(SLUG, slug) is not None

    @classmethod
    def for_slug(cls, slug: str, user: Viewer) -> "Dataset":
        """Return the dataset of this slug.

        Raises NotFound, also for a dataset that the user may not see.
        """
        if not cls.is_valid_slug(slug):
            raise NotFound("There is no dataset with this name.")
        try:
            return cls.objects.visible_to(user).get(slug=slug)
        except cls.DoesNotExist:
            raise NotFound(f"There is no dataset named “{slug}”.") from None

    @property
    def item_table(self) -> ItemTable:
        """The ClickHouse table of the dataset's items."""
        clustered = self.index == self.Index.CLUSTERS
        return ItemTable(
            slug=self.table_slug or self.slug,
            dimension=self.dimension,
            metric=self.metric,
            index_connections=self.index_connections,
            index_construction=self.index_construction,
            quantization=self.index_quantization,
            shards_per_partition=self.shards_per_partition,
            words_indexed=self.words_indexed,
            index=self.index,
            image_mean=self.image_mean if clustered else "",
            text_mean=self.text_mean if clustered else "",
            revision=self.index_revision,
        )

    @property
    def comparable(self) -> tuple[object, ...]:
        """The values that datasets share whose similarities can be compared."""
        return self.model, self.weights, self.dimension, self.metric

    def seen_by(self) -> str:
        """Return who may see it in words, for staff."""
        if self.visibility != self.Visibility.CHOSEN:
            return self.get_visibility_display()
        people = [user.get_username() for user in self.allowed_users.all()]
        groups = [f"the group {group.name}" for group in self.allowed_groups.all()]
        return ", ".join([*people, *groups]) or "staff only"

    def rating_of(self, value: str) -> str:
        """Return the rating of an item with this value of `nsfw`.

        It is that of the dataset, where all images have one.
        """
        return self.RATINGS.get(self.safety, value)

    def hiding(self, nsfw: str) -> str:
        """Return how the engine hides items where the filter nsfw has this value."""
        if nsfw == UNRESTRICTED or self.safety == self.Safety.LABELLED:
            return nsfw
        return UNRESTRICTED if self.safety == self.Safety.SAFE else HIDE_ALL

    def has_image(self, url: str) -> bool:
        """Return whether an item with this URL has an image that can be shown.

        The images of Kind.IMAGES are there even without a URL: in files.
        """
        return self.kind == self.Kind.IMAGES or bool(link_of(url))

    @property
    def has_text_vectors(self) -> bool:
        """Return whether captions of all visible items have embeddings of their own."""
        without = self.shards.filter(rows_visible__gt=0, has_text_vectors=False)
        return not without.exists()

    @property
    def search_fields(self) -> tuple[str, ...]:
        """The fields of queries that the dataset has embeddings for."""
        return FIELDS if self.has_text_vectors else ("image",)

    def curve(self, field: str, kind: str) -> Curve | None:
        """Return the recall of "words" or "pictures" by the share of rows read.

        None where it is not known: before the calibration, or with one cluster.
        """
        stored = self.calibration.get(field, {}).get(kind)
        return Curve.from_json(stored) if stored else None

    def item_count(self) -> int:
        """Return the number of visible items, by the ledger."""
        visible = self.shards.aggregate(total=models.Sum("rows_visible"))
        return visible["total"] or 0

    def shard_states(self) -> str:
        """Count the shards by state, as "3 ingested, 1 failed"."""
        states = list(self.shards.values_list("state", flat=True))
        counts = {state: states.count(state) for state in Shard.State.values}
        return ", ".join(f"{n:,} {state}" for state, n in counts.items() if n) or "none"


class Evaluation(models.Model):
    """Recall and speed of a dataset's index.

    `figures` is a list of evaluation.recall.Figures as dictionaries.
    """

    class Words(models.TextChoices):
        CAPTIONS = "captions", "captions of the dataset"
        GIVEN = "given", "queries from a file"

    dataset = models.ForeignKey(
        Dataset, on_delete=models.CASCADE, related_name="evaluations"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    words = models.CharField(max_length=8, choices=Words.choices)
    rows = models.PositiveBigIntegerField()
    rows_without_index = models.PositiveBigIntegerField()
    figures = models.JSONField()

    class Meta:
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.dataset}, {self.created_at:%Y-%m-%d %H:%M}"

    def asked_with(self) -> str:
        """Count the queries, as "100 pictures and 30 queries from a file"."""
        counts = {each["asked"]: each["queries"] for each in self.figures}
        words = f"{counts['words']:,} {self.get_words_display()}"
        return f"{counts['picture']:,} images and {words}"
