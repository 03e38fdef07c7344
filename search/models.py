"""What Django knows of datasets: the registry, the ledger of imports, measurements."""

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.urls import reverse

TERMS_OF_SLUG = "A slug has small letters, digits and _, and starts with a letter."


class Dataset(models.Model):
    """A named searchable corpus, embedded by one model; it has one ClickHouse table."""

    class Metric(models.TextChoices):
        COSINE = "cosineDistance", "cosine"
        L2 = "L2Distance", "L2"

    class Quantization(models.TextChoices):
        BF16 = "bf16", "bf16"
        I8 = "i8", "i8, with rescoring"

    class Kind(models.TextChoices):
        LAION = "laion", "LAION shards: embeddings and metadata"
        IMAGES = "images", "Images: a list of their addresses, a folder, tar files"
        PARQUET = "parquet", "Parquet files with embeddings"

    slug = models.CharField(
        max_length=40,
        unique=True,
        validators=[RegexValidator(r"\A[a-z][a-z0-9_]*\Z", TERMS_OF_SLUG)],
        help_text="Names the dataset in addresses and its table in ClickHouse.",
    )
    title = models.CharField(max_length=120)
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
        help_text="Shards that share one part and one graph, which is built in memory: "
        "about 2 kB a row and index at 512 dimensions. Each graph costs a search time, "
        "so 410 shards want 32, on a machine for that.",
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
        'have "embedding" and perhaps "text_embedding"; without, a search by captions '
        "compares with the pictures.",
    )
    keep_files = models.BooleanField(
        default=False, help_text="Keep fetched shards after they have come in."
    )
    without_removal_list = models.BooleanField(
        default=False,
        help_text="Bring LAION shards in though no list of items to be left out is "
        "loaded. LAION was found to link to illegal pictures; lists of them exist.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["created_at", "pk"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("dataset", args=[self.slug])

    def item_count(self) -> int:
        """Items that can be found, by the ledger."""
        visible = self.shards.aggregate(total=models.Sum("rows_visible"))
        return visible["total"] or 0

    def shard_states(self) -> str:
        """How many shards are in which state, as "3 ingested, 1 failed"."""
        states = list(self.shards.values_list("state", flat=True))
        counts = {state: states.count(state) for state in Shard.State.values}
        return ", ".join(f"{n:,} {state}" for state, n in counts.items() if n) or "none"


class Shard(models.Model):
    """One numbered piece of a dataset's source, and how its import stands."""

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        QUEUED = "queued", "Queued"
        INGESTING = "ingesting", "Ingesting"
        PAUSED = "paused", "Paused"
        ARRIVED = "arrived", "Waiting for its index"
        INGESTED = "ingested", "Ingested"
        FAILED = "failed", "Failed"
        REMOVING = "removing", "Being removed"

    dataset = models.ForeignKey(
        Dataset, on_delete=models.CASCADE, related_name="shards"
    )
    number = models.PositiveIntegerField()
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.PENDING
    )
    # Of the source, and how far the run has come in it.
    rows = models.PositiveBigIntegerField(null=True, blank=True)
    rows_done = models.PositiveBigIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(null=True, blank=True)
    bytes_done = models.PositiveBigIntegerField(default=0)
    # Of those done, how many came in; and how many searches can find.
    rows_kept = models.PositiveBigIntegerField(default=0)
    rows_visible = models.PositiveBigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    # Attempts in a row that broke off without getting on.
    failures = models.PositiveIntegerField(default=0)
    # Names the table in which the rows arrive; it grows when they start from nothing.
    epoch = models.PositiveIntegerField(default=0)
    fingerprint = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # Since when searches find its rows; a replacement of them is nothing new.
    published_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["dataset", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["dataset", "number"], name="one_row_per_shard"
            )
        ]

    def __str__(self) -> str:
        return f"{self.dataset} {self.number}"


class Evaluation(models.Model):
    """How much of the exact answer a dataset's index found, and how fast it was.

    `figures` is a list of evaluation.Figures as dictionaries.
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
        """How many queries of each kind, as "100 pictures and 30 queries from a file".

        Both kinds are asked in several ways, always the same ones.
        """
        counts = {each["asked"]: each["queries"] for each in self.figures}
        words = f"{counts['words']:,} {self.get_words_display()}"
        return f"{counts['picture']:,} pictures and {words}"


class Reject(models.Model):
    """A row of a shard that did not come in, and why."""

    shard = models.ForeignKey(Shard, on_delete=models.CASCADE, related_name="rejects")
    row = models.PositiveBigIntegerField()
    url = models.TextField(blank=True)
    reason = models.CharField(max_length=300)

    class Meta:
        ordering = ["shard", "row"]
        constraints = [
            models.UniqueConstraint(fields=["shard", "row"], name="one_reject_per_row")
        ]

    def __str__(self) -> str:
        return f"{self.shard}, row {self.row}: {self.reason}"


class Partition(models.Model):
    """Some shards that share a part and its graphs, and how their rebuilding stands."""

    dataset = models.ForeignKey(
        Dataset, on_delete=models.CASCADE, related_name="partitions"
    )
    number = models.PositiveIntegerField()
    attempts = models.PositiveIntegerField(default=0)
    # Attempts in a row that broke off without getting on.
    failures = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    # Vectors of both graphs: how many there are to be, and how many are in.
    vectors = models.PositiveBigIntegerField(default=0)
    vectors_done = models.PositiveBigIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["dataset", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["dataset", "number"], name="one_row_per_partition"
            )
        ]

    def __str__(self) -> str:
        return f"{self.dataset}, partition {self.number}"


class Removal(models.Model):
    """What must not be found: it never comes in, and is hidden where it is in already.

    Without a dataset it holds for all of them.
    """

    class Kind(models.TextChoices):
        ITEM = "item", "item's number"
        URL = "url", "address"
        MD5 = "md5", "MD5 of the picture"

    dataset = models.ForeignKey(
        Dataset,
        on_delete=models.CASCADE,
        related_name="removals",
        null=True,
        blank=True,
        help_text="Empty: in all datasets. An item's number belongs to one.",
    )
    kind = models.CharField(max_length=4, choices=Kind.choices)
    value = models.TextField()
    # The first 8 bytes of the value's SHA-256, by which many are compared at once.
    digest = models.BigIntegerField(editable=False, db_index=True)
    reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"[:80]


class ConversionFile(models.Model):
    """A file of conversions that was loaded; by its content, not by its name."""

    dataset = models.ForeignKey(
        Dataset, on_delete=models.CASCADE, related_name="conversion_files"
    )
    name = models.CharField(max_length=300)
    sha256 = models.CharField(max_length=64)
    rows = models.PositiveBigIntegerField(default=0)
    rows_matched = models.PositiveBigIntegerField(default=0)
    loaded_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["dataset", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["dataset", "sha256"], name="one_row_per_conversion_file"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.dataset}"


class Conversion(models.Model):
    """How often an item was picked after a search for some words, by one file.

    A file may have several rows for the same: the sum of them counts.
    """

    dataset = models.ForeignKey(
        Dataset, on_delete=models.CASCADE, related_name="conversions", db_index=False
    )
    file = models.ForeignKey(
        ConversionFile, on_delete=models.CASCADE, related_name="conversions"
    )
    item = models.BigIntegerField()
    keyword = models.CharField(max_length=200, blank=True)
    count = models.PositiveIntegerField()

    class Meta:
        indexes = [models.Index(fields=["dataset", "item"], name="conversions_of_item")]

    def __str__(self) -> str:
        return f"{self.dataset} {self.item}: {self.count} × {self.keyword}"


class Pick(models.Model):
    """How often an item was picked here after a search for some words.

    Only this sum is kept: neither who it was nor when.
    """

    class Kind(models.TextChoices):
        OPENED = "opened", "looked at"
        SAVED = "saved", "put into a collection"
        EXPORTED = "exported", "exported"

    dataset = models.ForeignKey(
        Dataset, on_delete=models.CASCADE, related_name="picks", db_index=False
    )
    item = models.BigIntegerField()
    keyword = models.CharField(max_length=200, blank=True)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["dataset", "item", "keyword", "kind"],
                name="one_row_per_pick",
            )
        ]

    def __str__(self) -> str:
        return f"{self.dataset} {self.item}: {self.count} × {self.keyword}"
