"""Actions on exports: start, restart, cancel, delete."""

from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from search.errors import InvalidQuery, NotFound
from search.jobs import broker
from search.models import Dataset

from ..models import Collection, Export
from ..models.ownership import AnyUser
from . import job, storage, tasks
from .export_request import ExportRequest

MAX_STORED = 100
MAX_AT_WORK = 4
SMALL = 2_000  # rows, at most, that are written within the request
NOT_FOUND = "This export does not exist or is not yours."
State = Export.State
AT_WORK = [State.QUEUED, State.RUNNING]
WITHOUT_FILES = [State.FAILED, State.CANCELLED, State.EXPIRED]
NOT_STARTED: dict[str, Any] = {
    "looked_at": 0,
    "to_look_at": None,
    "rows": 0,
    "bytes": 0,
    "failures": 0,
    "manifest": {},
    "error": "",
    "lease_until": None,
    "finished_at": None,
    "expires_at": None,
}


def exports_of(user: AnyUser) -> QuerySet[Export]:
    return Export.objects.owned_by(user).select_related("owner")


def find_owned(user: AnyUser, export_id: UUID) -> Export:
    """Return an export of a user. Raises NotFound."""
    export = exports_of(user).filter(pk=export_id).first()
    if export is None:
        raise NotFound(NOT_FOUND)
    return export


def start(user: Any, request: ExportRequest) -> Export:
    """Create an export and write it: at once if it is small, else by a worker.

    Raises InvalidQuery when the user has too many.
    """
    is_small = max_rows(request, user) <= SMALL
    with transaction.atomic():
        _check_quota(user)
        export = Export.objects.create(
            owner=user, name=request.name, asked=request.to_dict()
        )
    return _enqueue(export, is_small)


def restart(user: Any, export_id: UUID) -> Export:
    """Write an export again that failed, was cancelled, or whose files are deleted."""
    export = find_owned(user, export_id)
    if export.state not in WITHOUT_FILES:
        raise InvalidQuery("This export is complete or running.")
    is_small = max_rows(ExportRequest.from_dict(export.asked), user) <= SMALL
    with transaction.atomic():
        _check_quota(user, new=0)
        # The second of two requests at once finds it queued.
        ended = exports_of(user).filter(pk=export_id, state=export.state)
        if ended.update(state=State.QUEUED, changed_at=timezone.now(), **NOT_STARTED):
            storage.remove(export_id)  # no worker knows of it yet
    return _enqueue(export, is_small)


def cancel(user: AnyUser, export_id: UUID) -> Export:
    """Stop a queued or running export and delete its files."""
    export = find_owned(user, export_id)
    now = timezone.now()
    at_work = exports_of(user).filter(pk=export_id, state__in=AT_WORK)
    if not at_work.update(
        state=State.CANCELLED, lease_until=None, finished_at=now, changed_at=now
    ):
        raise InvalidQuery("This export has already ended.")
    storage.remove(export_id)
    export.refresh_from_db()
    return export


def delete(user: AnyUser, export_id: UUID) -> None:
    """Delete an export; a signal handler deletes its files. Raises NotFound."""
    find_owned(user, export_id).delete()


def _check_quota(user: Any, new: int = 1) -> None:
    """Delete old exports without files if need be; raises InvalidQuery."""
    # Two requests of a user at once wait for each other.
    users = get_user_model().objects.select_for_update(no_key=True)
    users.get(pk=user.pk)
    mine = exports_of(user)
    if mine.filter(state__in=AT_WORK).count() >= MAX_AT_WORK:
        raise InvalidQuery(
            f"{MAX_AT_WORK} of your exports are running. Wait until one is done, or "
            "cancel one."
        )
    too_many = mine.count() + new - MAX_STORED
    if too_many <= 0:
        return
    ended = mine.filter(state__in=WITHOUT_FILES).order_by("created_at")
    oldest = list(ended.values_list("pk", flat=True)[:too_many])
    if len(oldest) < too_many:
        raise InvalidQuery(
            f"You have {MAX_STORED} exports. Delete one to create another."
        )
    mine.filter(pk__in=oldest).delete()


def _enqueue(export: Export, is_small: bool) -> Export:
    if is_small:
        with broker.left_to_sweeper(f"Export {export.pk}"):
            job.run(export.pk)
    else:
        tasks.enqueue([export.pk])
    export.refresh_from_db()
    return export


def max_rows(request: ExportRequest, user: AnyUser) -> int:
    """Return how many items an export scans at most. Raises NotFound."""
    what = request.what
    if request.kind == "search":
        return what["limit"]
    if request.kind == "collection":
        sizes = Collection.objects.filter(pk=what["collection"])
        return sizes.values_list("size", flat=True).first() or 0
    return Dataset.for_slug(what["dataset"], user).item_count()
