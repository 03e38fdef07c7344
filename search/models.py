"""What Django knows of datasets: the registry, the ledger of imports, measurements."""

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.urls import reverse


class Dataset(models.Model):
    """A named searchable corpus, embedded by one model; it has one ClickHouse table."""

    class Metric(models.TextChoices):
        COSINE = "cosineDistance", "cosine"
        L2 = "L2Distance", "L2"

    class Quantization(models.TextChoices):
        BF16 = "bf16", "bf16"
        I8 = "i8", "i8, with rescoring"

    slug = models.CharField(
        max_length=40,
        unique=True,
        validators=[
            RegexValidator(
                r"\A[a-z][a-z0-9_]*\Z",
                "A slug has small letters, digits and _, and starts with a letter.",
            )
        ],
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
    source = models.CharField(
        max_length=500,
        blank=True,
        help_text="A folder on the server with img_emb_N.npy, text_emb_N.npy and "
        "metadata_N.parquet.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["created_at", "pk"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("dataset", args=[self.slug])

    def item_count(self) -> int:
        """Items that have arrived, by the ledger."""
        return self.shards.aggregate(total=models.Sum("rows_done"))["total"] or 0

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
        INGESTED = "ingested", "Ingested"
        FAILED = "failed", "Failed"

    dataset = models.ForeignKey(
        Dataset, on_delete=models.CASCADE, related_name="shards"
    )
    number = models.PositiveIntegerField()
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.PENDING
    )
    rows = models.PositiveBigIntegerField(null=True, blank=True)
    rows_done = models.PositiveBigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    # Rows that arrive carry the epoch in their tokens; it grows when they are deleted.
    epoch = models.PositiveIntegerField(default=0)
    fingerprint = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
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
