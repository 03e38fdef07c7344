"""The staff's page of a dataset's import: its progress, and buttons to control it.

The page works without JavaScript. With it, htmx polls every two seconds for changes,
until no shard is in progress.
"""

import re
from collections.abc import Iterator
from functools import wraps
from itertools import chain, groupby
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    QueryDict,
)
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRefresh

from search.clickhouse.schema import SHARD_BITS
from search.csv_output import csv_heading, csv_lines, streamed_file
from search.errors import InvalidQuery, NotFound, SearchError
from search.ingestion import control, notices
from search.ingestion.progress import ImportProgress, pace, reasons, spans
from search.ingestion.setup import creation, previews
from search.ingestion.setup.model_choices import model_choices
from search.ingestion.sources.protocol import parse_range
from search.ingestion.status import Remedy, status_of
from search.models import Dataset, Reject, Removal, Shard
from search.removals import restoring, takedowns
from search.removals.forms import TakeDownForm
from search.retrieval import service

from .draft_form import SEPARATOR
from .middleware import HtmxRequest
from .staff import View, login_redirect, may

State = Shard.State
REJECT_COLUMNS = ("shard", "row", "item", "url", "file", "reason")
TAKEN_DOWN_SHOWN = 10
SHARDS_PER_PAGE = 800  # Django accepts a thousand form fields
STATE_LETTERS: dict[str, str] = {
    State.PENDING: "p",
    State.QUEUED: "q",
    State.INGESTING: "i",
    State.PAUSED: "u",
    State.ARRIVED: "a",
    State.INGESTED: "d",
    State.FAILED: "f",
    State.REMOVING: "r",
}
TRANSPARENT = bytes.fromhex(  # a GIF of one pixel
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)
SEEN = re.compile(r"(?:\d{1,3}[a-z])*", re.ASCII)
SUCCESS_MESSAGES = {
    "start": ("%d shard is queued", "%d shards are queued"),
    "pause": ("%d shard is paused", "%d shards are paused"),
    "resume": ("%d shard continues", "%d shards continue"),
    "cancel": ("%d shard is cancelled", "%d shards are cancelled"),
    "retry": ("%d shard is tried again", "%d shards are tried again"),
    "replace": ("%d shard is being replaced", "%d shards are being replaced"),
    "drop": ("%d shard is hidden now", "%d shards are hidden now"),
}


def for_staff(view: View) -> View:
    """Redirect anonymous users to the login; answer 404 without the permission."""

    @wraps(view)
    def wrapped(request: HtmxRequest, slug: str, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return login_redirect(request, reverse("ingestion", args=[slug]))
        if not may(request.user, "change"):
            raise Http404
        return view(request, get_object_or_404(Dataset, slug=slug), **kwargs)

    return wrapped


@require_safe
@for_staff
def ingestion(request: HttpRequest, dataset: Dataset) -> HttpResponse:
    context = _context(request, dataset) | {
        "reasons": reasons(dataset),
        "taken_down": taken_down(dataset)[:TAKEN_DOWN_SHOWN],
    }
    notices.mark_seen(dataset, request.user, context["status"])
    return render(request, "search/ingestion.html", context)


@require_safe
@for_staff
def progress(request: HttpRequest, dataset: Dataset) -> HttpResponse:
    """Render the figures, and what differs from the page as its URL describes it.

    `seen` has the states of its cells, `was` the phase of the import, and `can` the
    actions that it offers.
    """
    context = _context(request, dataset)
    status = context["status"]
    notices.mark_seen(dataset, request.user, status)
    context["announces"] = request.GET.get("was") != status.phase
    context["acts"] = request.GET.get("can") != ",".join(status.actions)
    seen = _decode_runs(request.GET.get("seen", ""))
    shown = [STATE_LETTERS[shard.state] for shard in context["cells"]]
    if len(seen) != len(shown):
        return HttpResponseClientRefresh()  # the page lacks cells of new shards
    context["changed"] = [
        shard
        for shard, letter in zip(context["cells"], seen, strict=True)
        if STATE_LETTERS[shard.state] != letter or shard.state == State.INGESTING
    ]
    if not context["progress"].moving:
        # There may be many rejects, which are not counted while they change.
        context["reasons"] = reasons(dataset)
    return render(request, "search/_ingestion_live.html", context)


@require_POST
@for_staff
def control_shards(request: HttpRequest, dataset: Dataset) -> HttpResponse:
    action = request.POST.get("action", "")
    try:
        if action not in SUCCESS_MESSAGES:
            raise InvalidQuery("There is no such action.")
        if action == "start":
            control.discover_shards(dataset)
        shards = _selected_shards(dataset, request.POST)
        if action == "drop" and "sure" not in request.POST:
            return _confirm(request, dataset, shards)
        count = control.apply_action(dataset, shards, action)
        _add_message(request, action, count)
        if count and action in control.STARTED_FROM:
            notices.subscribe(dataset, request.user)
    except SearchError as error:
        messages.error(request, error.message)
    return redirect("ingestion", slug=dataset.slug)


@require_POST
@for_staff
def take_down(request: HttpRequest, dataset: Dataset) -> HttpResponse:
    """Hide an item, after a page that shows it."""
    form = TakeDownForm(request.POST)
    try:
        form.check()
        item, reason = form.cleaned_data["item"], form.cleaned_data["reason"]
        found = service.item(dataset.slug, item, request.user)
        if "sure" not in request.POST:
            context = {"dataset": dataset, "item": found, "reason": reason}
            return render(request, "search/ingestion_take_down.html", context)
        takedowns.take_down(dataset, item, reason)
        messages.success(request, f"Item {item} is hidden, and does not come in again.")
    except SearchError as error:
        messages.error(request, error.message)
    return redirect("ingestion", slug=dataset.slug)


@require_POST
@for_staff
def restore(request: HttpRequest, dataset: Dataset) -> HttpResponse:
    """Undo the takedown of an item."""
    number = request.POST.get("removal", "")
    key = int(number) if number.isascii() and number.isdigit() else 0
    removals = taken_down(dataset).filter(pk=key)
    try:
        if not (removal := removals.first()):
            raise NotFound("This item is not taken down any more.")
        shown = restoring.restore(removals)
        sentence = "is shown again" if shown else "may come in again"
        messages.success(request, f"Item {removal.value} {sentence}.")
    except SearchError as error:
        messages.error(request, error.message)
    return redirect("ingestion", slug=dataset.slug)


def taken_down(dataset: Dataset) -> QuerySet[Removal]:
    """Return the takedowns of items, the last first."""
    return dataset.removals.filter(kind=Removal.Kind.ITEM).order_by("-pk")


@require_POST
@for_staff
def change_model(request: HttpRequest, dataset: Dataset) -> HttpResponse:
    """Give a dataset without items another model, and import it by that."""
    model, _, weights = request.POST.get("model", "").partition(SEPARATOR)
    try:
        creation.change_model(dataset, model, weights)
        notices.subscribe(dataset, request.user)
        messages.success(request, f"The model is {model} now; the import starts anew.")
    except SearchError as error:
        messages.error(request, error.message)
    return redirect("ingestion", slug=dataset.slug)


@require_POST
@for_staff
def dismiss(request: HttpRequest, dataset: Dataset) -> HttpResponse:
    """Dismiss the notice on an import, and go back to the page that showed it."""
    notices.mark_seen(dataset, request.user, status_of(dataset))
    back = request.POST.get("back", "")
    is_own = url_has_allowed_host_and_scheme(back, {request.get_host()})
    return redirect(back if is_own else "datasets")


@require_POST
@for_staff
def reindex(request: HttpRequest, dataset: Dataset) -> HttpResponse:
    control.reindex(dataset)
    return redirect("dataset", slug=dataset.slug)


@require_safe
@for_staff
def rejects(request: HttpRequest, dataset: Dataset) -> HttpResponseBase:
    """Return all rejected rows as CSV."""
    lines = chain([csv_heading(REJECT_COLUMNS)], csv_lines(_reject_rows(dataset)))
    return streamed_file(lines, f"{dataset.slug}-rejects.csv")


@require_safe
@for_staff
def reject_image(request: HttpRequest, dataset: Dataset, reject: int) -> HttpResponse:
    """Return a small copy of a rejected image; without colours if it is unreadable."""
    row = get_object_or_404(Reject, pk=reject, shard__dataset=dataset)
    try:
        content = previews.reject_preview(dataset, row)
    except NotFound:
        return HttpResponse(TRANSPARENT, content_type="image/gif")
    response = HttpResponse(content, content_type="image/webp")
    response["Cache-Control"] = "private, max-age=600"
    return response


def _context(request: HttpRequest, dataset: Dataset) -> dict[str, Any]:
    progress = ImportProgress.of(dataset)
    pages = Paginator(progress.shards, SHARDS_PER_PAGE)
    cells = pages.get_page(request.GET.get("page"))
    speed = pace(dataset, progress.rows_done) if progress.moving else None
    status = status_of(dataset, progress)
    choices = model_choices() if status.remedy == Remedy.MODEL else []
    return {
        "status": status,
        "can": ",".join(status.actions),
        "models": [(SEPARATOR.join(each.key), each) for each in choices],
        "dataset": dataset,
        "progress": progress,
        "cells": cells,
        "seen": _encode_runs(STATE_LETTERS[shard.state] for shard in cells),
        "states": [
            {"value": state, "name": State(state).label, "count": count}
            for state, count in progress.counts.items()
        ],
        "errors": [
            {"sentence": error, "shards": spans(numbers), "count": len(numbers)}
            for error, numbers in progress.errors
        ],
        "speed": speed,
        "seconds_left": progress.seconds_left(speed),
    }


def _encode_runs(letters: Iterator[str]) -> str:
    """Encode the lengths of runs of letters: dddq as 3d1q."""
    return "".join(f"{len(list(same))}{letter}" for letter, same in groupby(letters))


def _decode_runs(text: str) -> str:
    """Decode `_encode_runs`; return "" for invalid text."""
    if len(text) > 4 * SHARDS_PER_PAGE or not SEEN.fullmatch(text):
        return ""
    runs = re.findall(r"(\d+)([a-z])", text)
    return "".join(letter * int(count) for count, letter in runs)[: SHARDS_PER_PAGE + 1]


def _selected_shards(dataset: Dataset, data: QueryDict) -> QuerySet[Shard]:
    """Return the shards selected by cell, range or state; all without a selection."""
    ticked, states = data.getlist("shard"), data.getlist("state")
    if not all(number.isascii() and number.isdigit() for number in ticked):
        raise InvalidQuery("That is not the number of a shard.")
    shard_range = data.get("range", "").strip()
    ranges = [*ticked, shard_range]
    numbers = parse_range(",".join(ranges)) if any(ranges) else []
    if not (numbers or states):
        return dataset.shards.all()
    return dataset.shards.filter(Q(number__in=numbers) | Q(state__in=states))


def _add_message(request: HttpRequest, action: str, count: int) -> None:
    if not count:
        messages.warning(request, f"Nothing to {action}.")
        return
    messages.success(request, f"{ngettext(*SUCCESS_MESSAGES[action], count) % count}.")


def _confirm(
    request: HttpRequest, dataset: Dataset, shards: QuerySet[Shard]
) -> HttpResponse:
    """Ask for confirmation, on a page that shows the selection."""
    visible = list(control.droppable(shards).values_list("number", "rows_visible"))
    if not visible:
        raise InvalidQuery("Nothing to delete.")
    context = {
        "dataset": dataset,
        "numbers": spans(number for number, _ in visible),
        "shards": len(visible),
        "rows": sum(rows for _, rows in visible),
    }
    return render(request, "search/ingestion_drop.html", context)


def _reject_rows(dataset: Dataset) -> Iterator[list[Any]]:
    rejected = Reject.objects.filter(shard__dataset=dataset)
    rows = rejected.order_by("shard__number", "row").values_list(
        "shard__number", "row", "url", "file", "reason"
    )
    for shard, row, *cells in rows.iterator(chunk_size=2_000):
        item = (shard << SHARD_BITS) + row
        yield [shard, row, item, *cells]
