"""Uploads on the first step of adding a dataset, as far as they need no script.

The script static/js/upload.js sends large files in chunks to the API instead.
"""

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRedirect

from search.errors import InvalidQuery, SearchError
from search.ingestion.setup import fetching, uploads
from search.ingestion.setup.uploads import Chunk, Upload, UserId
from search.request_bodies import MAX_IMAGE_BYTES, takes

from .add_dataset_views import render_where
from .draft_form import DraftForm
from .middleware import HtmxRequest
from .staff import for_staff_who_add


@takes(MAX_IMAGE_BYTES)
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
    return _to_contents(request, source)


@require_POST
@for_staff_who_add
def delete(request: HtmxRequest, key: str) -> HttpResponse:
    """Delete an upload, and show the first step again."""
    try:
        uploads.discard(request.user.pk, key)
    except SearchError as error:
        return render_where(request, DraftForm(request.GET), error)
    return redirect("dataset-add")


@require_POST
@for_staff_who_add
def fetch(request: HtmxRequest, key: str = "") -> HttpResponse:
    """Fetch a file at an address for some seconds, and show how far it is.

    The page asks for the next seconds; at the end it goes to the second step.
    """
    url, user_id = request.POST.get("url", "").strip(), request.user.pk
    try:
        fetching.check_address(url)
        upload = uploads.find(user_id, key) if key else uploads.create(user_id)
        fetched = fetching.fetch_step(upload, url)
        if fetched.is_complete:
            return _to_contents(request, upload.source)
    except SearchError as error:
        return render_where(request, DraftForm(request.GET), error, url)
    page = {"step": "where", "fetched": fetched, "url": url, "key": upload.key}
    return render(request, "adding/fetching.html", page)


def _to_contents(request: HtmxRequest, source: str) -> HttpResponse:
    address = f"{reverse('dataset-add-contents')}?{urlencode({'source': source})}"
    if request.htmx:
        return HttpResponseClientRedirect(address)
    return redirect(address)


def _store(user_id: UserId, files: list[UploadedFile]) -> str:
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
