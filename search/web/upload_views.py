"""Uploads on the first step of adding a dataset, as far as they need no script.

The script static/js/upload.js sends large files in chunks to the API instead.
"""

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST

from search.errors import InvalidQuery, SearchError
from search.ingestion.setup import uploads
from search.ingestion.setup.uploads import Chunk, Upload

from .add_dataset_views import render_where
from .draft_form import DraftForm
from .middleware import HtmxRequest
from .staff import for_staff_who_add


@require_POST
@for_staff_who_add
def upload(request: HtmxRequest) -> HttpResponse:
    """Store the files of a form, and go to the second step with them."""
    files = request.FILES.getlist("files")
    try:
        if not files:
            raise InvalidQuery("Choose one or more files.")
        source = _store(request.user.pk, files)
    except SearchError as error:
        return render_where(request, DraftForm(request.GET), error)
    return redirect(
        f"{reverse('dataset-add-contents')}?{urlencode({'source': source})}"
    )


@require_POST
@for_staff_who_add
def delete(request: HtmxRequest, key: str) -> HttpResponse:
    """Delete an upload, and show the first step again."""
    try:
        uploads.discard(request.user.pk, key)
    except SearchError as error:
        return render_where(request, DraftForm(request.GET), error)
    return redirect("dataset-add")


def _store(user_id: int, files: list[UploadedFile]) -> str:
    """Store files, and return their source. Raises SearchError."""
    size = sum(file.size or 0 for file in files)
    created = uploads.create(user_id, len(files), size)
    try:
        for file in files:
            _receive(created, file)
        return created.source
    except SearchError:
        created.delete()
        raise


def _receive(created: Upload, file: UploadedFile) -> None:
    name, size, offset = file.name or "", file.size or 0, 0
    for content in file.chunks():
        created.receive(Chunk(name, size, offset, content))
        offset += len(content)
    if not size:
        created.receive(Chunk(name, 0, 0, b""))
