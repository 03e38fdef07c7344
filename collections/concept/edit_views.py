"""What is done with concepts: saved, brought in, changed, copied, deleted, shared."""

from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from search.errors import InvalidQuery, NotFound
from search.rate_limits import limited
from search.retrieval.service import dataset_named

from .. import sharing
from ..collection.forms import check
from ..models import Concept
from ..responses import done, told
from . import files, rounds, services
from .services import ConceptForm, own, reached
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
@told
def save(request: HttpRequest) -> HttpResponse:
    """Keeps a round of the user's under a name, or as a concept's next version."""
    found = rounds.own(visitor(request), _uuid(request, "round"))
    if request.POST.get("concept"):
        concept = services.next_version(request.user, _uuid(request, "concept"), found)
        text = f"“{concept.name}” has a version {concept.version}."
        return done(request, text, concept.get_absolute_url())
    form = ConceptForm(request.POST)
    check(form)
    concept = services.of_round(request.user, form, found)
    undo = {"url": reverse("concept-delete", args=[concept.pk]), "data": {}}
    return done(
        request, f"Saved as “{concept.name}”.", concept.get_absolute_url(), undo
    )


@login_required
@require_POST
@told
def bring_in(request: HttpRequest) -> HttpResponse:
    """Makes a concept of a file, for searches of a dataset's model."""
    file = request.FILES.get("file")
    if file is None:
        raise InvalidQuery("Choose a .npy or a .json file first.")
    dataset = dataset_named(request.POST.get("dataset", ""))
    read = files.read(file.read(files.MOST_BYTES + 1), dataset)
    named = file.name or ""
    name = request.POST.get("name", "").strip() or read.name or named
    form = ConceptForm({"name": name[:120], "description": read.description[:2_000]})
    check(form)
    how = {"file": named[:200]}
    by = {"model": read.model, "weights": read.weights}
    concept = services.new(request.user, form, read.vector, made_of=how, **by)
    text = f"“{concept.name}” is among your concepts."
    return done(request, text, concept.get_absolute_url())


@require_POST
@told
def edit(request: HttpRequest, concept_id: UUID) -> HttpResponse:
    """Gives it another name and description."""
    concept = own(request.user, concept_id)
    check(ConceptForm(request.POST, instance=concept))
    services.rename(concept)
    return done(request, "Saved.", concept.get_absolute_url(), name=concept.name)


@require_POST
@told
def restore(request: HttpRequest, concept_id: UUID) -> HttpResponse:
    """Makes an older version the current one again."""
    own(request.user, concept_id)
    try:
        number = int(request.POST.get("version", ""))
    except ValueError:
        raise InvalidQuery("Choose the version to go back to.") from None
    concept = services.restore(request.user, concept_id, number)
    text = f"Version {concept.version} is what version {number} was."
    return done(request, text, concept.get_absolute_url() + "#versions")


@require_POST
@told
def delete(request: HttpRequest, concept_id: UUID) -> HttpResponse:
    concept = own(request.user, concept_id)
    sharing.delete(concept)
    undo = {"url": reverse("concept-undelete", args=[concept_id]), "data": {}}
    return done(request, f"Deleted “{concept.name}”.", reverse("concepts"), undo)


@require_POST
@told
def undelete(request: HttpRequest, concept_id: UUID) -> HttpResponse:
    concept = sharing.bring_back(request.user, Concept, concept_id)
    if concept is None:
        raise NotFound(services.NONE)
    return done(request, f"“{concept.name}” is back.", concept.get_absolute_url())


@require_POST
@told
def show_to(request: HttpRequest, concept_id: UUID) -> HttpResponse:
    """Decides who may see it. Once private again, a link given away leads nowhere."""
    form = VisibilityForm(request.POST, instance=own(request.user, concept_id))
    check(form)
    concept: Concept = form.instance
    sharing.show_to(concept, form.cleaned_data["visibility"])
    to = concept.get_absolute_url() + "#share"
    return done(request, TOLD[Visibility(concept.visibility)], to)


@require_POST
@told
def renew_link(request: HttpRequest, concept_id: UUID) -> HttpResponse:
    """Revokes the link that was given away."""
    concept = own(request.user, concept_id)
    sharing.renew_link(concept)
    to = concept.get_absolute_url() + "#share"
    return done(request, "There is a new link; the old one leads nowhere.", to)


@login_required
@require_POST
@told
@limited("copy")
def copy(
    request: HttpRequest, concept_id: UUID | None = None, token: str = ""
) -> HttpResponse:
    """Anyone may copy what they may see to a concept of their own."""
    concept = services.copy(
        request.user, reached(request.user, concept_id, token).concept
    )
    undo = {"url": reverse("concept-delete", args=[concept.pk]), "data": {}}
    text = f"“{concept.name}” is among your concepts."
    return done(request, text, concept.get_absolute_url(), undo)


def _uuid(request: HttpRequest, name: str) -> UUID:
    try:
        return UUID(request.POST.get(name, ""))
    except ValueError:
        raise NotFound(f"That is not the id of a {name}.") from None
