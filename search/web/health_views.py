"""For those who watch the site: is it up, can it serve, and how does it do?

None of it waits long: a part that hangs is told as one that does not answer.
"""

import ipaddress
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from celery import current_app
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from laionweb.version import VERSION
from search.clickhouse import client
from search.encoder import uncached_encoder_for
from search.models import Dataset

from .metrics_views import render_metrics

ANSWER_S = 3.5  # longer than a query waits for an encode worker
KEPT_S = 1.0  # so that whoever asks too often does not keep all parts busy

_threads = ThreadPoolExecutor(8, "ready")
_asked: dict[str, tuple[float, Future]] = {}


@login_not_required
@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Say that the process serves, and which version; look at nothing else."""
    return JsonResponse({"up": True, "version": VERSION})


@login_not_required
@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """503 until all parts answer; of each, whether it does."""
    deadline = time.monotonic() + ANSWER_S
    jobs = {name: _start(name, check) for name, check in _checks().items()}
    parts = {name: _result(job, deadline) for name, job in jobs.items()}
    fine = all(parts.values())
    answer = JsonResponse({"ready": fine, "parts": parts}, status=200 if fine else 503)
    if not fine:
        answer["Retry-After"] = "5"
    return answer


@login_not_required
@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """For staff, and for Prometheus at the addresses of METRICS_ALLOWED."""
    if not (_may_measure(request) or request.user.is_staff):
        raise Http404
    return HttpResponse(render_metrics(), content_type=CONTENT_TYPE_LATEST)


def _may_measure(request: HttpRequest) -> bool:
    try:
        address = ipaddress.ip_address(request.META["REMOTE_ADDR"])
    except (KeyError, ValueError):
        return False  # it comes over a socket of this machine, from a proxy
    return any(
        address in ipaddress.ip_network(network) for network in settings.METRICS_ALLOWED
    )


def _checks() -> dict[str, Callable[[], object]]:
    """Each returns when its part is there, or raises whatever its library does."""
    checks = {
        "database": _database,
        "cache": lambda: cache.get("ready"),
        "engine": client.ping,
        "encoder": _encoder,
    }
    if not settings.CELERY_BROKER_URL.startswith("memory"):
        checks["broker"] = _broker
    return checks


def _start(name: str, check: Callable[[], object]) -> Future:
    """One that hangs is not begun again, so that threads do not pile up."""
    started, job = _asked.get(name, (0.0, None))
    if job is None or (job.done() and time.monotonic() > started + KEPT_S):
        job = _threads.submit(check)
        _asked[name] = time.monotonic(), job
    return job


def _result(job: Future, deadline: float) -> bool:
    try:
        return job.exception(max(deadline - time.monotonic(), 0)) is None
    except TimeoutError:
        return False


def _database() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()  # this thread's


def _broker() -> None:
    with current_app.connection_for_write(settings.CELERY_BROKER_URL) as broker:
        broker.ensure_connection(max_retries=1, timeout=1)


def _encoder() -> None:
    """Have the models of all datasets compute; a remembered answer tells nothing."""
    try:
        models = list(Dataset.objects.values_list("model", "weights").distinct())
    finally:
        connection.close()
    for model, weights in models:
        uncached_encoder_for(model, weights).encode_texts(["ready?"])
