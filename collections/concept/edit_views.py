"""What is done with concepts: saved, brought in, changed, copied, deleted, shared."""

from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from search.errors import InvalidQuery, NotFound
from search.models import Dataset
from search.rate_limits import limited

from .. import sharing
from ..collection.forms import check
from ..models import Concept
from ..responses import errors_as_messages, success
from . import files, rounds, services
from .services import ConceptForm, find_owned, find_readable
from .visitor import visitor

Visibility = Concept.Visibility
TOLD = {
    Visibility.PRIVATE: "Only you see this concept now.",
    Visibility.UNLISTED: "Whoever has the link sees it now.",
    Visibility.PUBLIC: "Everyone sees this concept now, and can search with it.",
}


class VisibilityForm(forms.ModelForm):
    class Meta:
        model = Concept
        fields = ("visibility",)
        error_messages = {
            "visibility": dict.fromkeys(
                ("required", "invalid_choice"), "Choose who may see the concept."
            )
        }


@login_required
@require_POST
@errors_as_messages
def save(request: HttpRequest) -> HttpResponse:
    """Keeps a round of the user's under a name, or as a concept's next version."""
    found = rounds.find_own_round(visitor(request), _uuid(request, "round"))
    if request.POST.get("concept"):
        concept = services.next_version(request.user, _uuid(request, "concept"), found)
        text = f"“{concept.name}” has a version {concept.version}."
        return success(request, text, concept.get_absolute_url())
    form = ConceptForm(request.POST)
    check(form)
    concept = services.of_round(request.user, form, found)
    undo = {"url": reverse("concept-delete", args=[concept.pk]), "data": {}}
    return success(
        request, f"Saved as “{concept.name}”.", concept.get_absolute_url(), undo
    )


@login_required
@require_POST
@errors_as_messages
def upload(request: HttpRequest) -> HttpResponse:
    """Makes a concept of a file, for searches of a dataset's model."""
    file = request.FILES.get("file")
    if file is None:
        raise InvalidQuery("Choose a .npy or a .json file first.")
    dataset = Dataset.for_slug(request.POST.get("dataset", ""))
    read = files.read(file.read(files.MAX_BYTES + 1), dataset)
    named = file.name or ""
    name = request.POST.get("name", "").strip() or read.name or named
    form = ConceptForm({"name": name[:120], "description": read.description[:2_000]})
    check(form)
    how = {"file": named[:200]}
    by = {"model": read.model, "weights": read.weights}
    concept = services.new(request.user, form, read.vector, made_of=how, **by)
    text = f"“{concept.name}” is among your concepts."
    return success(request, text, concept.get_absolute_url())


@require_POST
@errors_as_messages
def edit(request: HttpRequest, concept_id: UUID) -> HttpResponse:
    """Gives it another name and description."""
    concept = find_owned(request.user, concept_id)
    check(ConceptForm(request.POST, instance=concept))
    services.rename(concept)
    return success(request, "Saved.", concept.get_absolute_url(), name=concept.name)


@require_POST
@errors_as_messages
def restore(request: HttpRequest, concept_id: UUID) -> HttpResponse:
    """Makes an older version the current one again."""
    find_owned(request.user, concept_id)
    try:
        number = int(request.POST.get("version", ""))
    except ValueError:
        raise InvalidQuery("Choose the version to go back to.") from None
    concept = services.restore(request.user, concept_id, number)
    text = f"Version {concept.version} is what version {number} was."
    return success(request, text, concept.get_absolute_url() + "#versions")


@require_POST
@errors_as_messages
def delete(request: HttpRequest, concept_id: UUID) -> HttpResponse:
    concept = find_owned(request.user, concept_id)
    sharing.delete(concept)
    undo = {"url": reverse("concept-undelete", args=[concept_id]), "data": {}}
    return success(request, f"Deleted “{concept.name}”.", reverse("concepts"), undo)


@require_POST
@errors_as_messages
def restore_deleted(request: HttpRequest, concept_id: UUID) -> HttpResponse:
    concept = sharing.undelete(request.user, Concept, concept_id)
    if concept is None:
        raise NotFound(services.NONE)
    return success(request, f"“{concept.name}” is back.", concept.get_absolute_url())


@require_POST
@errors_as_messages
def change_visibility(request: HttpRequest, concept_id: UUID) -> HttpResponse:
    """Decides who may see it. Once private again, a link given away leads nowhere."""
    form = VisibilityForm(request.POST, instance=find_owned(request.user, concept_id))
    check(form)
    concept: Concept = form.instance
    sharing.set_visibility(concept, form.cleaned_data["visibility"])
    to = concept.get_absolute_url() + "#share"
    return success(request, TOLD[Visibility(concept.visibility)], to)


@require_POST
@errors_as_messages
def renew_link(request: HttpRequest, concept_id: UUID) -> HttpResponse:
    """Revokes the link that was given away."""
    concept = find_owned(request.user, concept_id)
    sharing.renew_link(concept)
    to = concept.get_absolute_url() + "#share"
    return success(request, "There is a new link; the old one leads nowhere.", to)


@login_required
@require_POST
@errors_as_messages
@limited("copy")
def copy(
    request: HttpRequest, concept_id: UUID | None = None, token: str = ""
) -> HttpResponse:
    """Anyone may copy what they may see to a concept of their own."""
    concept = services.copy(
        request.user, find_readable(request.user, concept_id, token).concept
    )
    undo = {"url": reverse("concept-delete", args=[concept.pk]), "data": {}}
    text = f"“{concept.name}” is among your concepts."
    return success(request, text, concept.get_absolute_url(), undo)


def _uuid(request: HttpRequest, name: str) -> UUID:
    try:
        return UUID(request.POST.get(name, ""))
    except ValueError:
        raise NotFound(f"That is not the id of a {name}.") from None
