"""Liveness, readiness and metrics endpoints.

None of them waits long: a part that hangs is reported as down.
"""

import ipaddress
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

from celery import current_app
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache as shared_cache
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from laionweb.version import VERSION
from search.clickhouse import client
from search.encoder import uncached_encoder_for
from search.ingestion import integrity
from search.models import Dataset

from .metrics import render_metrics

TIMEOUT_S = 3.5  # longer than a query waits for an encode worker
RESULT_S = 1.0  # a result is reused for as long, so that probes keep no part busy

_threads = ThreadPoolExecutor(8, "ready")
_checked: dict[str, tuple[float, Future]] = {}


@login_not_required
@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Report that the process serves, and its version; check nothing else."""
    return JsonResponse({"up": True, "version": VERSION})


@login_not_required
@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Report whether each part answers; 503 until all do."""
    deadline = time.monotonic() + TIMEOUT_S
    jobs = {name: _start(name, check) for name, check in _checks().items()}
    parts = {name: _result(job, deadline) for name, job in jobs.items()}
    # Lost rows are shown, but are no reason to take this server out of service.
    ready = all(up for name, up in parts.items() if name != "items")
    status = 200 if ready else 503
    response = JsonResponse({"ready": ready, "parts": parts}, status=status)
    if not ready:
        response["Retry-After"] = "5"
    return response


@login_not_required
@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Render the metrics for staff, and for clients in METRICS_ALLOWED."""
    if not (_is_metrics_client(request) or request.user.is_staff):
        raise Http404
    return HttpResponse(render_metrics(), content_type=CONTENT_TYPE_LATEST)


def _is_metrics_client(request: HttpRequest) -> bool:
    try:
        address = ipaddress.ip_address(request.META["REMOTE_ADDR"])
    except (KeyError, ValueError):
        return False  # from a proxy, over a Unix socket
    return any(
        address in ipaddress.ip_network(network) for network in settings.METRICS_ALLOWED
    )


def _checks() -> dict[str, Callable[[], object]]:
    """Return a check for each part; it raises any exception if the part is down."""
    checks = {
        "database": _database,
        "cache": lambda: shared_cache.get("ready"),
        "engine": client.ping,
        "encoder": _encoder,
        "items": _items,
    }
    if not settings.CELERY_BROKER_URL.startswith("memory"):
        checks["broker"] = _broker
    return checks


def _start(name: str, check: Callable[[], object]) -> Future:
    """Start a check, unless it still hangs: threads must not pile up."""
    started, job = _checked.get(name, (0.0, None))
    if job is None or (job.done() and time.monotonic() > started + RESULT_S):
        job = _threads.submit(check)
        _checked[name] = time.monotonic(), job
    return job


def _result(job: Future, deadline: float) -> bool:
    try:
        return job.exception(max(deadline - time.monotonic(), 0)) is None
    except TimeoutError:
        return False


class NotReady(Exception):
    """A part that answers, and is not as it should be."""


@cache
def _is_migrated() -> bool:
    """Return True once no migration is pending: this process has no others."""
    plan = MigrationExecutor(connection)
    if plan.migration_plan(plan.loader.graph.leaf_nodes()):
        raise NotReady("A migration is pending.")
    return True


def _items() -> None:
    """Compare the rows of the engine with those of the ledger."""
    try:
        integrity.check()
        if Dataset.objects.exclude(missing={}).exists():
            raise NotReady("Rows are missing.")
    finally:
        connection.close()


def _database() -> None:
    try:
        _is_migrated()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()  # that of this thread


def _broker() -> None:
    with current_app.connection_for_write(settings.CELERY_BROKER_URL) as broker:
        broker.ensure_connection(max_retries=1, timeout=1)


def _encoder() -> None:
    """Encode with the models of datasets that have items, past the cache.

    A model that this process has not loaded is not asked: a probe loads nothing.
    """
    try:
        filled = Dataset.objects.filter(shards__rows_visible__gt=0)
        models = list(filled.values_list("model", "weights").distinct().order_by())
    finally:
        connection.close()
    for model, weights in models:
        encoder = uncached_encoder_for(model, weights)
        if getattr(encoder, "is_loaded", True):
            encoder.encode_texts(["ready?"])
