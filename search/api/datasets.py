"""List, show, create, change and drop datasets; changes are for staff."""

from collections.abc import Iterable

from django.db import transaction
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from search.errors import NotFound
from search.ingestion import deletion, watching
from search.models import Dataset, Viewer, Watch
from search.retrieval import service

from .dataset_serializers import (
    NEW_DATASET,
    DatasetSerializer,
    DatasetsParameters,
    DeletedDatasetSerializer,
    DeletionSerializer,
    DropParameters,
    SettingsSerializer,
    StaffDatasetSerializer,
    WatchRequestSerializer,
    WatchSerializer,
)
from .errors import ERROR_RESPONSE
from .fields import validated
from .permissions import (
    FOR_STAFF,
    StaffDeletes,
    StaffOnly,
    StaffWrites,
    has_staff_permission,
)


class Datasets(APIView):
    permission_classes = [*APIView.permission_classes, StaffWrites]
    throttle_scope = "item"

    @extend_schema(
        operation_id="datasets_list",
        tags=["datasets"],
        parameters=[DatasetsParameters],
        responses={
            200: DatasetSerializer(many=True),
            403: OpenApiResponse(ERROR_RESPONSE, "All of them are for staff."),
        },
    )
    def get(self, request: Request) -> Response:
        """List the datasets that can be searched."""
        given = validated(DatasetsParameters, request.query_params.dict())
        datasets: Iterable[Dataset]
        if not given["all"]:
            datasets = service.datasets(request.user)
        elif has_staff_permission(request.user, "change"):
            datasets = Dataset.objects.visible_to(request.user)
        else:
            self.permission_denied(request, FOR_STAFF.format("change"))
        context = {"request": request}
        return Response(DatasetSerializer(datasets, many=True, context=context).data)

    @extend_schema(
        operation_id="dataset_create",
        tags=["staff"],
        request=SettingsSerializer,
        responses={201: StaffDatasetSerializer},
        examples=[NEW_DATASET],
    )
    def post(self, request: Request) -> Response:
        """Create a dataset.

        Nothing is imported yet: `start` its shards for that.
        """
        given = SettingsSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        with transaction.atomic():  # no dataset without its response, if that fails
            content = StaffDatasetSerializer(given.save()).data
        return Response(content, status=201)


class DatasetDetail(APIView):
    permission_classes = [*APIView.permission_classes, StaffWrites]
    throttle_scope = "item"

    @extend_schema(
        operation_id="dataset_retrieve", tags=["datasets"], responses=DatasetSerializer
    )
    def get(self, request: Request, slug: str) -> Response:
        """Show one dataset, with items or without."""
        dataset = Dataset.for_slug(slug, request.user)
        return Response(DatasetSerializer(dataset, context={"request": request}).data)

    @extend_schema(
        operation_id="dataset_update",
        tags=["staff"],
        request=SettingsSerializer,
        responses=StaffDatasetSerializer,
    )
    def patch(self, request: Request, slug: str) -> Response:
        """Change the settings of a dataset.

        What decides its table (slug, dimension, metric, the index and
        shards_per_partition) is fixed once there are shards.
        """
        with transaction.atomic():
            dataset = _locked(slug, request.user)
            given = SettingsSerializer(dataset, data=request.data, partial=True)
            given.is_valid(raise_exception=True)
            content = StaffDatasetSerializer(given.save()).data
        return Response(content)

    @extend_schema(
        operation_id="dataset_destroy",
        tags=["staff"],
        parameters=[DropParameters],
        responses={204: None},
    )
    def delete(self, request: Request, slug: str) -> Response:
        """Delete a dataset with all its items; for 24 hours it can be restored.

        To prevent accidents, `sure` repeats its slug. What goes with it is listed at
        `/api/datasets/{slug}/deletion/`.
        """
        dataset = Dataset.for_slug(slug, request.user)
        given = validated(DropParameters, request.query_params.dict())
        if given["sure"] != slug:
            goes = ", ".join(deletion.consequences(dataset)) or "no images"
            sentence = f"Write sure={slug} to delete the dataset with {goes}."
            raise ValidationError({"sure": [sentence]})
        deletion.delete(dataset)
        return Response(status=204)


class DatasetDeletion(APIView):
    permission_classes = [*APIView.permission_classes, StaffDeletes]
    throttle_scope = "item"

    @extend_schema(
        operation_id="dataset_deletion", tags=["staff"], responses=DeletionSerializer
    )
    def get(self, request: Request, slug: str) -> Response:
        """Show what would go with a dataset if it were deleted."""
        dataset = Dataset.for_slug(slug, request.user)
        return Response(DeletionSerializer(dataset).data)


class DatasetWatch(APIView):
    permission_classes = [*APIView.permission_classes, StaffOnly]
    throttle_scope = "item"

    @extend_schema(
        operation_id="dataset_watch_retrieve", tags=["staff"], responses=WatchSerializer
    )
    def get(self, request: Request, slug: str) -> Response:
        """Show whether the source is watched, and what was found."""
        dataset = Dataset.for_slug(slug, request.user)
        found = Watch.objects.filter(dataset=dataset).first()
        watch = found or Watch(dataset=dataset, active=False)
        return Response(WatchSerializer(watch).data)

    @extend_schema(
        operation_id="dataset_watch_update",
        tags=["staff"],
        request=WatchRequestSerializer,
        responses=WatchSerializer,
    )
    def put(self, request: Request, slug: str) -> Response:
        """Switch watching of the source on or off.

        New files of a folder, and rows added to a list, come in by themselves; items of
        removed files are hidden.
        """
        dataset = Dataset.for_slug(slug, request.user)
        given = validated(WatchRequestSerializer, request.data)
        if given["active"]:
            watching.switch_on(dataset, given.get("every_s"))
        else:
            watching.switch_off(dataset)
        return self.get(request, slug)


class DeletedDatasets(APIView):
    permission_classes = [*APIView.permission_classes, StaffDeletes]
    throttle_scope = "item"

    @extend_schema(
        operation_id="deleted_datasets_list",
        tags=["staff"],
        responses=DeletedDatasetSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """List the deleted datasets that can be restored."""
        return Response(DeletedDatasetSerializer(deletion.deleted(), many=True).data)


class DeletedDataset(APIView):
    permission_classes = [*APIView.permission_classes, StaffDeletes]
    throttle_scope = "item"

    @extend_schema(
        operation_id="deleted_dataset_destroy", tags=["staff"], responses={204: None}
    )
    def delete(self, request: Request, number: int) -> Response:
        """Drop a deleted dataset for good, before its 24 hours are over."""
        deletion.purge(deletion.find_deleted(number))
        return Response(status=204)


class RestoredDataset(APIView):
    permission_classes = [*APIView.permission_classes, StaffDeletes]
    throttle_scope = "item"

    @extend_schema(
        operation_id="deleted_dataset_restore",
        tags=["staff"],
        request=None,
        responses=StaffDatasetSerializer,
    )
    def post(self, request: Request, number: int) -> Response:
        """Restore a deleted dataset; its import continues.

        If another dataset has its slug by now, it gets a free one.
        """
        restored = deletion.restore(deletion.find_deleted(number))
        return Response(StaffDatasetSerializer(restored).data)


def _locked(slug: str, user: Viewer) -> Dataset:
    """Return the dataset, locked against new shards, which would fix its table."""
    dataset = Dataset.for_slug(slug, user)
    locked = Dataset.objects.select_for_update().filter(pk=dataset.pk).first()
    if locked is None:
        raise NotFound(f"There is no dataset named “{slug}”.")
    return locked
