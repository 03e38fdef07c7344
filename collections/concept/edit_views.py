"""Views that save, upload and restore versions of concepts."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from search.errors import InvalidQuery, NotFound, check_form
from search.models import Dataset
from search.request_bodies import takes

from ..forms import ConceptForm
from ..models import Concept
from ..responses import errors_as_messages, success
from ..sharing import find_owned, parse_uuid
from . import files, rounds, services
from .visitor import visitor

FORM_BYTES = 64 * 1024  # of an upload around its file


@login_required
@require_POST
@errors_as_messages
def save(request: HttpRequest) -> HttpResponse:
    """Save a round of the user's as a new concept or as a concept's next version."""
    round_id = _posted_id(request, "round")
    found = rounds.find_own_round(visitor(request), round_id)
    if request.POST.get("concept"):
        key = _posted_id(request, "concept")
        concept = services.next_version(request.user, key, found)
        text = f"Saved version {concept.version} of “{concept.name}”."
        return success(request, text, concept.get_absolute_url())
    form = ConceptForm(request.POST)
    check_form(form)
    concept = services.of_round(request.user, form, found)
    undo = {"url": reverse("concept-delete", args=[concept.pk]), "data": {}}
    return success(
        request, f"Saved as “{concept.name}”.", concept.get_absolute_url(), undo
    )


@takes(files.MAX_BYTES + FORM_BYTES)
@login_required
@require_POST
@errors_as_messages
def upload(request: HttpRequest) -> HttpResponse:
    """Make a concept of a file, for searches in datasets of one model."""
    file = request.FILES.get("file")
    if file is None:
        raise InvalidQuery("Choose a .npy or a .json file first.")
    dataset = Dataset.for_slug(request.POST.get("dataset", ""), request.user)
    read = files.read(file.read(files.MAX_BYTES + 1), dataset)
    file_name = file.name or ""
    name = request.POST.get("name", "").strip() or read.name or file_name
    form = ConceptForm({"name": name[:120], "description": read.description[:2_000]})
    check_form(form)
    concept = services.new(
        request.user,
        form,
        read.vector,
        model=read.model,
        weights=read.weights,
        made_of={"file": file_name[:200]},
    )
    text = f"Imported “{concept.name}”."
    return success(request, text, concept.get_absolute_url())


@require_POST
@errors_as_messages
def restore_version(request: HttpRequest, key: UUID) -> HttpResponse:
    """Make an older version the current one again."""
    find_owned(Concept, request.user, key)
    try:
        number = int(request.POST.get("version", ""))
    except ValueError:
        raise InvalidQuery("Choose a version to restore.") from None
    concept = services.restore(request.user, key, number)
    text = f"Restored version {number} as version {concept.version}."
    return success(request, text, concept.get_absolute_url() + "#versions")


def _posted_id(request: HttpRequest, name: str) -> UUID:
    error = NotFound(f"This is not a valid {name} ID.")
    return parse_uuid(request.POST.get(name, ""), error)
