from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import ngettext

from .errors import SearchError
from .ingestion import steering
from .models import Dataset, Shard


def _queue(
    request: HttpRequest, dataset: Dataset, shards: QuerySet[Shard], action: str
) -> None:
    try:
        queued = steering.queue(dataset, shards, action)
    except SearchError as error:
        messages.error(request, f"{dataset}: {error.message}")
        return
    if not queued:
        messages.warning(request, f"{dataset}: there is nothing to bring in.")
        return
    text = ngettext("%d shard is queued", "%d shards are queued", queued) % queued
    messages.success(request, f"{dataset}: {text}.")


@admin.action(
    description="Ingest: bring in the shards that are not in yet",
    permissions=["change"],
)
def ingest_datasets(admin, request: HttpRequest, datasets: QuerySet[Dataset]) -> None:
    for dataset in datasets:
        try:
            found = steering.find_shards(dataset)
        except SearchError as error:
            messages.error(request, f"{dataset}: {error.message}")
            continue
        if not found:
            messages.error(request, f"{dataset}: no shards in {dataset.source}.")
            continue
        _queue(request, dataset, dataset.shards.all(), "start")


@admin.action(
    description="Ingest, again if they are in already", permissions=["ingest"]
)
def ingest_shards(admin, request: HttpRequest, shards: QuerySet[Shard]) -> None:
    for dataset in Dataset.objects.filter(shards__in=shards).distinct():
        _queue(request, dataset, shards.filter(dataset=dataset), "again")


@admin.register(Dataset)
class DatasetAdmin(admin.ModelAdmin):
    list_display = ["title", "slug", "model", "items", "states"]
    actions = [ingest_datasets]
    # What decides the table cannot change once the table is made.
    fixed_fields = [
        "slug",
        "dimension",
        "metric",
        "index_connections",
        "index_construction",
        "index_quantization",
    ]

    def get_readonly_fields(self, request, obj=None):
        return self.fixed_fields if obj and obj.shards.exists() else []

    @admin.display(description="Items")
    def items(self, dataset: Dataset) -> str:
        return f"{dataset.item_count():,}"

    @admin.display(description="Shards")
    def states(self, dataset: Dataset) -> str:
        states = dataset.shards.values_list("state", flat=True)
        counts = {state: list(states).count(state) for state in Shard.State.values}
        return ", ".join(f"{n} {state}" for state, n in counts.items() if n) or "none"

    def get_deleted_objects(self, objs, request):
        deleted, counts, forbidden, protected = super().get_deleted_objects(
            objs, request
        )
        # Nobody may delete a shard by itself; with their dataset they go.
        return deleted, counts, forbidden - {Shard._meta.verbose_name}, protected

    def delete_model(self, request, dataset: Dataset) -> None:
        steering.drop_dataset(dataset)

    def delete_queryset(self, request, datasets: QuerySet[Dataset]) -> None:
        for dataset in datasets:
            steering.drop_dataset(dataset)


@admin.register(Shard)
class ShardAdmin(admin.ModelAdmin):
    list_display = ["number", "dataset", "state", "progress", "error", "changed_at"]
    list_filter = ["dataset", "state"]
    actions = [ingest_shards]

    def has_ingest_permission(self, request) -> bool:
        return request.user.has_perm("search.change_dataset")

    def has_add_permission(self, request) -> bool:
        return False  # shards come from a dataset's source

    def has_change_permission(self, request, obj=None) -> bool:
        return False

    def has_delete_permission(self, request, obj=None) -> bool:
        return False

    def get_readonly_fields(self, request, obj=None):
        return [field.name for field in Shard._meta.fields]

    @admin.display(description="Rows")
    def progress(self, shard: Shard) -> str:
        if shard.rows is None:
            return "–"
        return format_html("{} of {}", f"{shard.rows_done:,}", f"{shard.rows:,}")
