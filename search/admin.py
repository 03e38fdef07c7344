"""The admin pages of datasets, shards and removals."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.defaultfilters import filesizeformat, truncatechars
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import ngettext

from .errors import SearchError
from .ingestion import control, deletion, notices, tasks, validation
from .ingestion.setup import creation
from .models import Dataset, Removal, Shard
from .removals import files, restoring, takedowns
from .removals.forms import RemovalListForm
from .request_bodies import MAX_IMAGE_BYTES, takes


@admin.action(
    description="Start: bring in the shards that are not in yet",
    permissions=["change"],
)
def start(
    admin: admin.ModelAdmin, request: HttpRequest, datasets: QuerySet[Dataset]
) -> None:
    """Discover and queue the shards of the datasets that are not ingested yet."""
    for dataset in datasets:
        try:
            shards = control.discover_shards(dataset)
            queued = control.queue(dataset, dataset.shards.all())
        except SearchError as error:
            messages.error(request, f"{dataset}: {error.message}")
            continue
        if not shards:
            messages.error(request, f"{dataset}: no shards in {dataset.source}.")
        elif not queued:
            messages.warning(request, f"{dataset}: there is nothing to bring in.")
        else:
            notices.subscribe(dataset, request.user)
            text = ngettext("%d shard is queued", "%d shards are queued", queued)
            messages.success(request, f"{dataset}: {text % queued}.")


class DatasetForm(forms.ModelForm):
    """A dataset, with the validation of its source and model."""

    def clean(self) -> dict[str, Any]:
        super().clean()
        data = self.cleaned_data
        for name in ("columns", "ratings"):
            if name not in self.errors:
                data[name] = data[name] or {}
        names = {field.name for field in Dataset._meta.fields}
        dataset = Dataset(**{name: data[name] for name in names & data.keys()})
        if dataset.source and "source" in self.changed_data:
            try:
                creation.check_place(dataset.source)
            except SearchError as error:
                self.add_error("source", error.message)
        for field, sentence in validation.validation_errors(dataset).items():
            if field not in self.errors:
                self.add_error(field, sentence)
        return data


@admin.register(Dataset)
class DatasetAdmin(admin.ModelAdmin):
    form = DatasetForm
    list_display = [
        "title",
        "slug",
        "kind",
        "visibility",
        "safety",
        "items",
        "states",
        "ingestion",
    ]
    filter_horizontal = ["allowed_users", "allowed_groups"]
    actions = [start]
    readonly_fields = ["ingestion"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "title",
                    "slug",
                    "ingestion",
                    "description",
                    "license",
                    "cover",
                ]
            },
        ),
        (
            "Safety and access",
            {
                "fields": [
                    "safety",
                    "visibility",
                    "allowed_users",
                    "allowed_groups",
                ]
            },
        ),
        (
            "Source",
            {
                "fields": [
                    "kind",
                    "source",
                    "shard_range",
                    "columns",
                    "ratings",
                    "without_removal_list",
                ]
            },
        ),
        (
            "Shards of a web server",
            {
                "classes": ["collapse"],
                "description": "Where their files lie below the address; {n} stands "
                "for a shard's number, {n:04d} for one of four digits.",
                "fields": [
                    "image_pattern",
                    "text_pattern",
                    "metadata_pattern",
                    "keep_files",
                ],
            },
        ),
        ("Embeddings", {"fields": ["model", "weights", "dimension", "metric"]}),
        (
            "Search index",
            {
                "classes": ["collapse"],
                "fields": [
                    "index",
                    "index_connections",
                    "index_construction",
                    "index_quantization",
                    "shards_per_partition",
                ],
            },
        ),
    ]

    def get_readonly_fields(
        self, request: HttpRequest, obj: Dataset | None = None
    ) -> list[Any]:
        fixed = validation.fixed_fields(obj) if obj else ()
        return [*self.readonly_fields, *fixed]

    @admin.display(description="Import")
    def ingestion(self, dataset: Dataset) -> str:
        if not dataset.pk:
            return "Save first."
        page = reverse("ingestion", args=[dataset.slug])
        return format_html('<a href="{}">Manage import</a>', page)

    @admin.display(description="Items")
    def items(self, dataset: Dataset) -> str:
        return f"{dataset.item_count():,}"

    @admin.display(description="Shards")
    def states(self, dataset: Dataset) -> str:
        return dataset.shard_states()

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        deleted, counts, forbidden, protected = super().get_deleted_objects(
            objs, request
        )
        # Shards are deleted with their dataset, but not on their own.
        return deleted, counts, forbidden - {Shard._meta.verbose_name}, protected

    def save_model(
        self,
        request: HttpRequest,
        dataset: Dataset,
        form: forms.ModelForm,
        change: bool,
    ) -> None:
        # Workers write to the row meanwhile, such as the mean of its vectors.
        if not change:
            creation.name_tables(dataset)
        dataset.save(update_fields=form.changed_data if change else None)

    def delete_model(self, request: HttpRequest, dataset: Dataset) -> None:
        deletion.delete(dataset)

    def delete_queryset(
        self, request: HttpRequest, datasets: QuerySet[Dataset]
    ) -> None:
        for dataset in datasets:
            deletion.delete(dataset)


@admin.register(Shard)
class ShardAdmin(admin.ModelAdmin):
    """Shards, read-only; they are controlled on the page of their dataset."""

    list_display = [
        "number",
        "dataset",
        "state",
        "progress",
        "left_out",
        "size",
        "attempts",
        "reason",
        "finished_at",
    ]
    list_filter = ["dataset", "state"]
    list_select_related = ["dataset"]

    def has_view_permission(
        self, request: HttpRequest, obj: Shard | None = None
    ) -> bool:
        changes = request.user.has_perm("search.change_dataset")
        return changes or super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # shards come from a dataset's source

    def has_change_permission(
        self, request: HttpRequest, obj: Shard | None = None
    ) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: Shard | None = None
    ) -> bool:
        return False

    @admin.display(description="Rows")
    def progress(self, shard: Shard) -> str:
        if shard.rows is None:
            return "–"
        return f"{shard.rows_done:,} of {shard.rows:,}"

    @admin.display(description="Left out")
    def left_out(self, shard: Shard) -> str:
        return f"{shard.rows_rejected:,}"

    @admin.display(description="Bytes", ordering="bytes")
    def size(self, shard: Shard) -> str:
        return filesizeformat(shard.bytes) if shard.bytes else "–"

    @admin.display(description="Error")
    def reason(self, shard: Shard) -> str:
        return truncatechars(shard.error, 160)


@admin.register(Removal)
class RemovalAdmin(admin.ModelAdmin):
    """Removals, added as lists and never edited."""

    list_display = ["value", "kind", "dataset", "reason", "created_at"]
    list_filter = ["kind", "dataset"]
    list_select_related = ["dataset"]
    search_fields = ["^value"]
    show_full_result_count = False  # there may be millions

    def has_change_permission(
        self, request: HttpRequest, obj: Removal | None = None
    ) -> bool:
        return False

    @takes(MAX_IMAGE_BYTES)
    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Load a list from a file or a text box."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = RemovalListForm(request.POST or None, request.FILES or None)
        context = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "title": "Load a removal list",
        }
        if form.is_valid():
            if "sure" in request.POST and self._load(request, form):
                return redirect("admin:search_removal_changelist")
            if "sure" not in request.POST and (found := self._preview(form)):
                return render(request, "search/removal_preview.html", context | found)
        fields = [(None, {"fields": list(form.fields)})]
        context["adminform"] = AdminForm(
            form,  # type: ignore[arg-type]  # it shows the fields of any form
            fields,
            {},
            model_admin=self,
        )
        return render(request, "search/removal_list.html", context)

    def _preview(self, form: RemovalListForm) -> dict[str, Any] | None:
        """Return what the list would hide, or None with an error in the form."""
        data = form.cleaned_data
        file, name = _opened(data)
        try:
            takedowns.check_scope(data["kind"], data["dataset"])
            values, read = files.read(file, name, data["kind"])
            matches = restoring.preview(data["kind"], values, data["dataset"])
        except SearchError as error:
            form.add_error(None, error.message)
            return None
        return {
            "data": data,
            "values": "\n".join(values),
            "count": len(values),
            "errors": read.errors,
            "bad": read.bad,
            "matches": [each for each in matches if each.count],
            "total": sum(each.count for each in matches),
            "previewed": min(len(values), restoring.MAX_PREVIEWED),
        }

    def _load(self, request: HttpRequest, form: RemovalListForm) -> bool:
        data, since = form.cleaned_data, timezone.now()
        file, name = _opened(data)
        try:
            loaded = files.load(
                file, name, data["kind"], data["dataset"], data["reason"]
            )
            tasks.schedule_hiding(data["dataset"], since)
        except SearchError as error:
            form.add_error(None, error.message)
            return False
        add_message = messages.warning if loaded.bad else messages.success
        add_message(request, f"{loaded} What is in already is being hidden.")
        return True

    def delete_model(self, request: HttpRequest, removal: Removal) -> None:
        self.delete_queryset(request, Removal.objects.filter(pk=removal.pk))

    def delete_queryset(
        self, request: HttpRequest, removals: QuerySet[Removal]
    ) -> None:
        """Take entries off the lists; items that no other entry hides are shown."""
        try:
            shown = restoring.restore(removals)
        except SearchError as error:
            messages.error(request, f"{error.message} Nothing was deleted.")
            return
        messages.info(
            request,
            f"{shown:,} hidden items are shown again. What was left out of imports "
            "comes in when its shards are replaced.",
        )


def _opened(data: dict[str, Any]) -> tuple[Any, str]:
    """Return the list of a valid form as a file, and its name."""
    if data["file"]:
        return data["file"], data["file"].name
    return BytesIO(data["values"].encode()), ""
