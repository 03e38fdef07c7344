"""The page of a user's exports, and what can be done with each of them."""

import json
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from search.errors import InvalidQuery, NotFound
from search.rate_limits import limited
from search.web.middleware import HtmxRequest

from ..models import Export
from . import files, steering
from .standing import Standing, standing

ENDED = {
    Export.State.DONE: "“{}” is done.",
    Export.State.FAILED: "“{}” could not be made.",
}


@login_required
@require_safe
@never_cache
def mine(request: HttpRequest) -> HttpResponse:
    context = {"exports": standing(list(steering.of(request.user)))}
    return render(request, "exporting/page.html", context)


@login_required
@require_safe
@limited("item")
@never_cache
def one(request: HtmxRequest, export_id: UUID) -> HttpResponse:
    """For htmx the export as it stands in the list; the address leads to the list."""
    export = steering.own(request.user, export_id)
    if not request.htmx:
        return HttpResponseRedirect(f"{reverse('exports')}#export-{export.pk}")
    response = render(request, "exporting/_export.html", {"each": _standing(export)})
    if sentence := ENDED.get(Export.State(export.state)):
        text = sentence.format(export.name)
        response["HX-Trigger"] = json.dumps({"laionweb:toast": {"text": text}})
    return response


def _standing(export: Export) -> Standing:
    return standing([export])[0]


@login_required
@require_safe
@limited("item")
def file(request: HttpRequest, export_id: UUID, name: str) -> HttpResponseBase:
    export = steering.own(request.user, export_id)
    return files.answer(export, name, request.headers.get("Range", ""))


@login_required
@require_POST
def cancel(request: HttpRequest, export_id: UUID) -> HttpResponse:
    export = steering.own(request.user, export_id)
    try:
        steering.cancel(request.user, export_id)
    except InvalidQuery as error:  # it was done before the button was pressed
        return back_to_all(request, error.message, messages.ERROR)
    return back_to_all(request, f"“{export.name}” is cancelled.")


@login_required
@require_POST
@limited("export")
def again(request: HttpRequest, export_id: UUID) -> HttpResponse:
    export = steering.own(request.user, export_id)
    try:
        export = steering.again(request.user, export_id)
    except (InvalidQuery, NotFound) as error:
        return back_to_all(request, error.message, messages.ERROR)
    return back_to_all(request, *outcome(export))


@login_required
@require_POST
def delete(request: HttpRequest, export_id: UUID) -> HttpResponse:
    export = steering.own(request.user, export_id)
    steering.delete(request.user, export_id)
    return back_to_all(request, f"“{export.name}” is deleted, with its files.")


def outcome(export: Export) -> tuple[str, int]:
    """What has come of an export that was just asked for, and how that is said."""
    if export.state in ENDED:
        level = messages.SUCCESS
        if export.state == Export.State.FAILED:
            level = messages.ERROR
        return ENDED[Export.State(export.state)].format(export.name), level
    return f"“{export.name}” is being made. You can leave this page.", messages.SUCCESS


def back_to_all(
    request: HttpRequest, sentence: str, level: int = messages.SUCCESS
) -> HttpResponse:
    messages.add_message(request, level, sentence)
    return HttpResponseRedirect(reverse("exports"))
